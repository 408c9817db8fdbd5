//! The methods and attributes of a task, as Python sees them.

use super::{Name, Options, Task};
use crate::asyncio::future::{Future, default_loop, stdlib};
use pyo3::PyClassInitializer;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

#[pymethods]
impl Task {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn __new__(
        _class: &Bound<'_, PyType>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<Self> {
        PyClassInitializer::from(Future::default()).add_subclass(Self::default())
    }

    #[pyo3(signature = (coro, *, r#loop=None, name=None, context=None, eager_start=None))]
    fn __init__(
        slf: &Bound<'_, Self>,
        coro: &Bound<'_, PyAny>,
        r#loop: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
        context: Option<&Bound<'_, PyAny>>,
        eager_start: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        slf.as_super().get().refuse_again(slf)?;
        let eager = match eager_start {
            Some(eager) if cfg!(Py_3_12) => eager.is_truthy()?,
            Some(_) => {
                let text = "Task() got an unexpected keyword argument 'eager_start'";
                return Err(PyTypeError::new_err(text));
            }
            None => false,
        };
        let options = Options {
            shares: false,
            name,
            context,
            eager,
            after: None,
        };
        match r#loop.filter(|event_loop| !event_loop.is_none()) {
            Some(event_loop) => Self::begin(slf, coro, event_loop, options),
            None => Self::begin(slf, coro, &default_loop(slf.py())?, options),
        }
    }

    /// Asks it to end: `CancelledError` is raised in it.
    #[pyo3(name = "cancel", signature = (msg=None))]
    fn py_cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        Self::cancel(slf, msg)
    }

    /// How often it was asked to end, less `uncancel()`.
    fn cancelling(&self) -> usize {
        self.state.lock().cancels
    }

    /// Takes one request to end back.
    fn uncancel(&self) -> usize {
        let mut state = self.state.lock();
        state.cancels = state.cancels.saturating_sub(1);
        if cfg!(Py_3_13) && state.cancels == 0 {
            state.must_cancel = false;
        }
        state.cancels
    }

    /// Its coroutine.
    fn get_coro(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state.lock().coro.as_ref().map(|held| held.share(py))
    }

    /// Its context.
    fn get_context<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.context(py)
    }

    /// Its name.
    fn get_name(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let number = match &self.state.lock().name {
            Name::Given(name) => return Ok(name.share(py)),
            Name::Number(0) => return Ok(py.None()),
            Name::Number(number) => *number,
        };
        let name = format!("Task-{number}").into_pyobject(py)?.into_any();
        let mut state = self.state.lock();
        let old = std::mem::replace(&mut state.name, Name::Given(name.clone().into()));
        drop(state);
        drop(old);
        Ok(name.unbind())
    }

    /// Gives it a name: `str(value)`.
    fn set_name(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let name = Name::Given(value.str()?.into_any().into());
        let old = std::mem::replace(&mut self.state.lock().name, name);
        drop(old);
        Ok(())
    }

    /// The frames of its stack.
    #[pyo3(signature = (*, limit=None))]
    fn get_stack<'py>(
        slf: &Bound<'py, Self>,
        limit: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        stdlib!(slf.py(), "asyncio.base_tasks", "_task_get_stack")?.call1((slf, limit))
    }

    /// Prints its stack.
    #[pyo3(signature = (*, limit=None, file=None))]
    fn print_stack<'py>(
        slf: &Bound<'py, Self>,
        limit: Option<&Bound<'py, PyAny>>,
        file: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        stdlib!(slf.py(), "asyncio.base_tasks", "_task_print_stack")?.call1((slf, limit, file))
    }

    /// Refused: a task sets it.
    fn set_result(&self, _result: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(PyRuntimeError::new_err(
            "Task does not support set_result operation",
        ))
    }

    /// Refused: a task sets it.
    fn set_exception(&self, _exception: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(PyRuntimeError::new_err(
            "Task does not support set_exception operation",
        ))
    }

    #[getter]
    fn _coro(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.get_coro(py)
    }

    #[getter]
    fn _fut_waiter(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state.lock().waits_for.as_ref().map(|held| held.share(py))
    }

    #[getter]
    fn _must_cancel(&self) -> bool {
        self.state.lock().must_cancel
    }

    #[getter]
    fn _log_destroy_pending(&self) -> bool {
        self.state.lock().log_destroy_pending
    }

    #[setter(_log_destroy_pending)]
    fn put_log_destroy_pending(&self, value: bool) {
        self.state.lock().log_destroy_pending = value;
    }

    fn __repr__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        stdlib!(slf.py(), "asyncio.base_tasks", "_task_repr")?.call1((slf,))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.built {
            return Ok(());
        }
        let Some(state) = self.state.try_lock() else {
            return Ok(());
        };
        if let Name::Given(name) = &state.name {
            name.traverse(&visit)?;
        }
        let all = [&state.coro, &state.context, &state.waits_for, &state.thrown];
        for held in all.into_iter().flatten() {
            held.traverse(&visit)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let old = std::mem::take(&mut *self.state.lock());
        drop(old);
    }
}
