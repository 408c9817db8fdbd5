//! `TaskGroup` as Python sees it.

use super::block::{Enter, Exit};
use super::line::{Line, Spawn};
use super::state::{State, TaskGroup};
use crate::asyncio::await_::Await;
use crate::asyncio::future::Future;
use crate::guarded::Guarded;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PySet, PyTuple};
use pyo3::{PyTraverseError, PyVisit};
use std::fmt::Write as _;

/// What `limit` means.
fn limit_of(limit: &Bound<'_, PyAny>) -> PyResult<usize> {
    let limit: isize = limit
        .extract()
        .map_err(|_| PyTypeError::new_err(format!("limit must be an int or None, not {limit:?}")))?;
    match usize::try_from(limit) {
        Ok(limit) if limit > 0 => Ok(limit),
        _ => Err(PyValueError::new_err(format!(
            "limit must be 1 or more, not {limit}"
        ))),
    }
}

impl TaskGroup {
    /// One of the references of the state.
    fn shown<T>(&self, py: Python<'_>, which: impl Fn(&State) -> &Option<Py<T>>) -> Option<Py<T>> {
        let state = self.state.lock();
        which(&state).as_ref().map(|object| object.clone_ref(py))
    }
}

#[pymethods]
impl TaskGroup {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(*, limit=None)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            state: Guarded::new(State {
                errors: Some(Vec::new()),
                ..State::default()
            }),
            built: true,
        }
    }

    #[pyo3(signature = (*, limit=None))]
    fn __init__(&self, limit: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let line = match limit {
            Some(limit) => Some(Box::new(Line::new(limit_of(limit)?))),
            None => None,
        };
        let old = std::mem::replace(&mut self.state.lock().line, line);
        drop(old);
        Ok(())
    }

    /// A new task of this group, with the keywords of `asyncio.create_task`. In a group with a limit that is full, the task is
    /// there at once and begins when its turn comes.
    #[pyo3(signature = (coro, **kwargs))]
    fn create_task<'py>(
        slf: &Bound<'py, Self>,
        coro: &Bound<'py, PyAny>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Self::add(slf, coro, kwargs, false)
    }

    /// As `create_task`, but waits until there is room: `task = await group.spawn(coro)`. A producer that uses it is never ahead of
    /// the group by more than one coroutine.
    #[pyo3(signature = (coro, **kwargs))]
    fn spawn<'py>(
        slf: &Bound<'py, Self>,
        coro: Py<PyAny>,
        kwargs: Option<Py<PyDict>>,
    ) -> PyResult<Bound<'py, Await>> {
        Await::create(
            slf.py(),
            Spawn {
                group: slf.clone().unbind(),
                coro,
                named: kwargs,
                gate: None,
            },
        )
    }

    /// Ends the group: its tasks and its block are cancelled, and the block is left without an exception. Before the block
    /// is entered: it is cancelled as soon as it is. Once it has been left, nothing. As in 3.15, on every version.
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        self.cancel_all(py)
    }

    fn __aenter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Await>> {
        Await::create(slf.py(), Enter(slf.clone().unbind()))
    }

    #[pyo3(signature = (_kind, error, _traceback))]
    fn __aexit__<'py>(
        slf: &Bound<'py, Self>,
        _kind: Option<&Bound<'py, PyAny>>,
        error: Option<Py<PyAny>>,
        _traceback: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Await>> {
        Await::create(
            slf.py(),
            Exit {
                group: slf.clone().unbind(),
                error,
                cancelled: None,
                waiting_cancelled: None,
                begun: false,
            },
        )
    }

    fn __repr__(&self) -> String {
        let state = self.state.lock();
        let mut text = String::from("<TaskGroup");
        // Writing to a string does not fail.
        if !state.tasks.is_empty() {
            let _ = write!(text, " tasks={}", state.tasks.len());
        }
        match &state.errors {
            Some(errors) if !errors.is_empty() => {
                let _ = write!(text, " errors={}", errors.len());
            }
            _ => {}
        }
        if state.aborting {
            text.push_str(" cancelling");
        } else if state.entered {
            text.push_str(" entered");
        }
        text.push('>');
        text
    }

    /// How many of its tasks may run at a time; None: any number.
    #[getter]
    fn limit(&self) -> Option<usize> {
        self.state.lock().line.as_ref().map(|line| line.limit)
    }

    fn _abort(&self, py: Python<'_>) -> PyResult<()> {
        self.abort(py)
    }

    #[getter]
    fn _tasks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PySet>> {
        let state = self.state.lock();
        let tasks: Vec<_> = state
            .tasks
            .values()
            .map(|member| member.task.clone_ref(py))
            .collect();
        drop(state);
        PySet::new(py, tasks)
    }

    #[getter]
    fn _errors<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        let state = self.state.lock();
        let errors: Option<Vec<_>> = state
            .errors
            .as_ref()
            .map(|errors| errors.iter().map(|error| error.clone_ref(py)).collect());
        drop(state);
        errors.map(|errors| PyList::new(py, errors)).transpose()
    }

    #[getter]
    fn _entered(&self) -> bool {
        self.state.lock().entered
    }

    #[getter]
    fn _exiting(&self) -> bool {
        self.state.lock().exiting
    }

    #[getter]
    fn _aborting(&self) -> bool {
        self.state.lock().aborting
    }

    #[getter]
    fn _parent_cancel_requested(&self) -> bool {
        self.state.lock().parent_cancel_requested
    }

    #[getter]
    fn _loop(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.shown(py, |state| &state.event_loop)
    }

    #[getter]
    fn _parent_task(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.shown(py, |state| &state.parent)
    }

    #[getter]
    fn _base_error(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.shown(py, |state| &state.base_error)
    }

    #[getter]
    fn _on_completed_fut(&self, py: Python<'_>) -> Option<Py<Future>> {
        self.shown(py, |state| &state.completed)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.built {
            return Ok(());
        }
        let Some(state) = self.state.try_lock() else {
            return Ok(());
        };
        visit.call(&state.event_loop)?;
        visit.call(&state.parent)?;
        visit.call(&state.base_error)?;
        visit.call(&state.completed)?;
        for member in state.tasks.values() {
            visit.call(&member.task)?;
        }
        for error in state.errors.iter().flatten() {
            visit.call(error)?;
        }
        if let Some(line) = &state.line {
            for waiting in &line.waiting {
                visit.call(&waiting.gate)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let old = std::mem::take(&mut *self.state.lock());
        drop(old);
    }
}
