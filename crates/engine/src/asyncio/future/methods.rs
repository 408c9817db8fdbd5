//! The methods and attributes of a future, as Python sees them; those that are called for each one are in [`raw`](super::raw).

#[cfg(Py_3_14)]
use super::awaited;
use super::{Future, Observer, Phase, invalid_state, iter, object};
use crate::asyncio::task::wrapper;
use crate::held::Held;
use pyo3::exceptions::{PyRuntimeError, PyStopIteration, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple, PyType};
use pyo3::{ffi, intern};

/// A function of a module of the standard library, looked up once.
macro_rules! stdlib {
    ($py:expr, $module:literal, $name:literal) => {{
        static PLACE: pyo3::sync::PyOnceLock<pyo3::Py<pyo3::PyAny>> = pyo3::sync::PyOnceLock::new();
        PLACE.import($py, $module, $name)
    }};
}
pub(crate) use stdlib;

/// The caller's stack, as `asyncio.format_helpers.extract_stack` has it.
pub(super) fn extract_stack(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    stdlib!(py, "traceback", "extract_stack")?.call0()
}

/// The exception of a cancelled future.
pub(super) fn make_cancelled(slf: &Bound<'_, Future>) -> PyResult<PyErr> {
    let py = slf.py();
    let mut state = slf.get().state.lock();
    state.log_traceback = false;
    let made = state.rare.as_mut().and_then(|rare| rare.cancelled.take());
    let message = state.message.as_ref().map(|message| message.clone_ref(py));
    drop(state);
    if let Some(made) = made {
        return Ok(PyErr::from_value(made.into_bound(py)));
    }
    let class = super::cancelled_error(py)?;
    let error = match message {
        Some(message) if !message.bind(py).is_none() => class.call1((message.bind(py),))?,
        _ => class.call0()?,
    };
    Ok(PyErr::from_value(error))
}

#[pymethods]
impl Future {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn __new__(
        _class: &Bound<'_, PyType>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> Self {
        Self::default()
    }

    #[pyo3(signature = (*, r#loop=None))]
    fn __init__(slf: &Bound<'_, Self>, r#loop: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let py = slf.py();
        slf.get().refuse_again(slf)?;
        match r#loop.filter(|event_loop| !event_loop.is_none()) {
            Some(event_loop) => slf.get().attach(py, event_loop),
            None => slf.get().attach(py, &default_loop(py)?),
        }
    }

    /// The exception, or None; raises as `result` does when cancelled or pending.
    fn exception(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let mut state = slf.get().state.lock();
        match state.phase {
            Phase::Pending => {
                drop(state);
                Err(invalid_state(py, "Exception is not set."))
            }
            Phase::Cancelled => {
                drop(state);
                Err(make_cancelled(slf)?)
            }
            Phase::Finished if !state.failed => Ok(py.None()),
            Phase::Finished => {
                state.log_traceback = false;
                let outcome = state.outcome.as_ref().map(|held| held.clone_ref(py));
                drop(state);
                Ok(outcome.map_or_else(|| py.None(), |held| held.into_bound(py).unbind()))
            }
        }
    }

    /// Ends it with an exception.
    fn set_exception(slf: &Bound<'_, Self>, exception: Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        if slf.get().is_done() {
            return Err(invalid_state(py, "invalid state"));
        }
        let exception = if exception.is_instance_of::<PyType>() {
            exception.call0()?
        } else {
            exception
        };
        // SAFETY: the object is alive.
        if unsafe { ffi::PyExceptionInstance_Check(exception.as_ptr()) } == 0 {
            return Err(PyTypeError::new_err("invalid exception object"));
        }
        if exception.is_instance_of::<PyStopIteration>() {
            let text = "StopIteration interacts badly with generators and cannot be raised into a Future";
            let version = py.version_info();
            let version = (version.major, version.minor, version.patch);
            if version < (3, 11, 8) || ((3, 12, 0)..(3, 12, 2)).contains(&version) {
                return Err(PyTypeError::new_err(text));
            }
            let error = PyRuntimeError::new_err(text)
                .into_value(py)
                .into_bound(py)
                .into_any();
            error.setattr(intern!(py, "__cause__"), &exception)?;
            error.setattr(intern!(py, "__context__"), &exception)?;
            return Self::fail_with(slf, error);
        }
        Self::fail_with(slf, exception)
    }

    /// Cancels it; false if it has ended.
    #[pyo3(name = "cancel", signature = (msg=None))]
    fn py_cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        Self::cancel(slf, msg)
    }

    /// Has `callback(future)` called by the loop once it has ended.
    #[pyo3(signature = (callback, /, *, context=None))]
    fn add_done_callback(
        slf: &Bound<'_, Self>,
        callback: Py<PyAny>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        slf.get().event_loop(py)?;
        let context = match context {
            Some(context) => context,
            None => wrapper::copy_context(py)?.unbind(),
        };
        Self::observe(slf, Observer::Python { callback, context })
    }

    /// Takes out a callback; says how often it was there.
    fn remove_done_callback(slf: &Bound<'_, Self>, callback: &Bound<'_, PyAny>) -> PyResult<usize> {
        let py = slf.py();
        slf.get().event_loop(py)?;
        let there = slf.get().python_callbacks(py);
        // Comparing can run anything, so what is equal is taken out by identity, afterwards.
        let mut equal = Vec::new();
        for its in &there {
            if its.bind(py).eq(callback)? {
                equal.push(its.as_ptr());
            }
        }
        let taken = slf
            .get()
            .take_observers(|observer| matches!(observer, Observer::Python { callback, .. } if equal.contains(&callback.as_ptr())));
        Ok(taken.len())
    }

    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> iter::FutureIter {
        iter::FutureIter { future: slf }
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        // The raw slot is put over this one in the types that exist by then.
        iter::step(slf)
    }

    #[getter]
    fn _state(&self) -> &'static str {
        match self.state.lock().phase {
            Phase::Pending => "PENDING",
            Phase::Finished => "FINISHED",
            Phase::Cancelled => "CANCELLED",
        }
    }

    #[getter]
    fn _asyncio_future_blocking(&self) -> bool {
        self.state.lock().blocking
    }

    #[setter(_asyncio_future_blocking)]
    fn put_asyncio_future_blocking(&self, blocking: bool) {
        self.state.lock().blocking = blocking;
    }

    #[getter]
    fn _log_traceback(&self) -> bool {
        self.state.lock().log_traceback
    }

    #[setter(_log_traceback)]
    fn put_log_traceback(&self, value: bool) -> PyResult<()> {
        if value {
            return Err(PyValueError::new_err("_log_traceback can only be set to False"));
        }
        self.state.lock().log_traceback = false;
        Ok(())
    }

    #[getter]
    fn _loop<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.event_loop(py).ok()
    }

    #[getter]
    fn _result(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let state = self.state.lock();
        let outcome = state.outcome.as_ref().filter(|_| !state.failed)?;
        Some(outcome.share(py))
    }

    #[getter]
    fn _exception(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let state = self.state.lock();
        let outcome = state.outcome.as_ref().filter(|_| state.failed)?;
        Some(outcome.share(py))
    }

    #[getter]
    fn _source_traceback(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.source_traceback(py)
    }

    #[getter]
    fn _cancel_message(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.message(py)
    }

    #[setter(_cancel_message)]
    fn put_cancel_message(&self, message: Bound<'_, PyAny>) {
        let old = self.state.lock().message.replace(message.into());
        drop(old);
    }

    fn _make_cancelled_error(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        Ok(make_cancelled(slf)?.into_value(py).into_any())
    }

    /// The callbacks, with their contexts; None if there are none.
    #[getter]
    fn _callbacks(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyList>>> {
        let py = slf.py();
        let state = slf.get().state.lock();
        let all: Vec<Observer> = state
            .first
            .iter()
            .chain(&state.rest)
            .map(|observer| observer.clone_ref(py))
            .collect();
        drop(state);
        if all.is_empty() {
            return Ok(None);
        }
        let list = PyList::empty(py);
        for observer in all {
            list.append(observer.shown(py)?)?;
        }
        Ok(Some(list.unbind()))
    }

    /// Who waits for it, as far as it is known: a set, or None.
    #[cfg(Py_3_14)]
    #[getter]
    fn _asyncio_awaited_by<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        awaited::by(self, py)
    }

    fn __repr__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        stdlib!(slf.py(), "asyncio.base_futures", "_future_repr")?.call1((slf,))
    }

    #[classmethod]
    fn __class_getitem__<'py>(
        class: &Bound<'py, PyType>,
        item: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        stdlib!(class.py(), "types", "GenericAlias")?.call1((class, item))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.built {
            return Ok(());
        }
        let Some(state) = self.state.try_lock() else {
            return Ok(());
        };
        for held in [&state.event_loop, &state.outcome, &state.message]
            .into_iter()
            .flatten()
        {
            held.traverse(&visit)?;
        }
        for observer in state.first.iter().chain(&state.rest) {
            observer.traverse(&visit)?;
        }
        if let Some(rare) = &state.rare {
            let all = [
                &rare.source_traceback,
                &rare.traceback,
                &rare.cancelled,
                &rare.awaited_by,
            ];
            for held in all.into_iter().flatten() {
                held.traverse(&visit)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let old = std::mem::take(&mut *self.state.lock());
        drop(old);
    }
}

/// The loop of a future that was given none.
pub(crate) fn default_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let name = if cfg!(Py_3_12) {
        intern!(py, "get_event_loop")
    } else {
        intern!(py, "_get_event_loop")
    };
    py.import("asyncio.events")?.call_method0(name)
}

/// Puts the raw slots into the types.
///
/// # Errors
/// What the interpreter raises when a type cannot be changed.
pub(crate) fn init(py: Python<'_>) -> PyResult<()> {
    object::init(py)
}

impl Observer {
    fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Task(task) => Self::Task(task.clone_ref(py)),
            Self::Native { run, object } => Self::Native {
                run: *run,
                object: object.clone_ref(py),
            },
            Self::Python { callback, context } => Self::Python {
                callback: callback.clone_ref(py),
                context: context.clone_ref(py),
            },
        }
    }
}

impl Held {
    /// A copy for Python.
    pub fn share(&self, py: Python<'_>) -> Py<PyAny> {
        self.bind(py).to_owned().unbind()
    }
}
