//! Entering and leaving the block of a group.

use super::state::{TaskGroup, is_base_error};
use crate::asyncio::await_::{Machine, Resume, Step};
use crate::asyncio::future::{Future, cancelled_error, stdlib};
use crate::asyncio::group::{child, ensure, here};
use pyo3::exceptions::{PyGeneratorExit, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyList;
use pyo3::{PyTraverseError, PyVisit, ffi, intern};

/// `__aenter__`.
pub struct Enter(pub Py<TaskGroup>);

impl Machine for Enter {
    const NAME: &'static str = "TaskGroup.__aenter__";

    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        if let Resume::Throw(error) = resume {
            return Err(error);
        }
        let group = self.0.bind(py);
        let this = group.get();
        if this.state.lock().entered {
            let text = format!("TaskGroup {} has already been entered", group.repr()?);
            return Err(PyRuntimeError::new_err(text));
        }
        let known = this
            .state
            .lock()
            .event_loop
            .as_ref()
            .map(|known| known.clone_ref(py));
        let event_loop = match known {
            Some(known) => known.into_bound(py),
            None => here::needed(py)?,
        };
        let parent = here::current_task(&event_loop)?;
        let plain = ensure::is_plain(&event_loop);
        let mut state = this.state.lock();
        state.plain = plain;
        let old_loop = state.event_loop.replace(event_loop.unbind());
        let Some(parent) = parent else {
            drop(state);
            drop(old_loop);
            let text = format!("TaskGroup {} cannot determine the parent task", group.repr()?);
            return Err(PyRuntimeError::new_err(text));
        };
        let old_parent = state.parent.replace(parent.unbind());
        state.entered = true;
        let cancel = state.cancel_on_enter;
        drop(state);
        drop((old_loop, old_parent));
        if cancel {
            this.cancel_all(py)?;
        }
        Ok(Step::Return(group.clone().into_any().unbind()))
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }
}

/// `__aexit__`.
pub struct Exit {
    pub group: Py<TaskGroup>,
    /// What the block has raised.
    pub error: Option<Py<PyAny>>,
    /// The `CancelledError` that is to be raised if nothing else is.
    pub cancelled: Option<Py<PyAny>>,
    /// The last one that came while the tasks were waited for.
    pub waiting_cancelled: Option<Py<PyAny>>,
    pub begun: bool,
}

/// `error` as a `raise` statement has it: what is being handled is its context.
fn raised(error: &Bound<'_, PyAny>) -> PyErr {
    // SAFETY: attached; the object is an exception, and alive.
    unsafe { ffi::PyErr_SetObject(ffi::Py_TYPE(error.as_ptr()).cast(), error.as_ptr()) };
    PyErr::fetch(error.py())
}

impl Exit {
    /// The block has ended.
    fn begin(&mut self, py: Python<'_>, this: &TaskGroup) -> PyResult<()> {
        self.begun = true;
        let error = self.error.as_ref().map(|error| error.bind(py));
        let base = error.is_some_and(is_base_error);
        if let Some(error) = error
            && error.is_instance(cancelled_error(py)?)?
        {
            self.cancelled = Some(error.clone().unbind());
        }
        let mut state = this.state.lock();
        state.exiting = true;
        if base && state.base_error.is_none() {
            state.base_error = error.map(|error| error.clone().unbind());
        }
        let abort = error.is_some() && !state.aborting;
        drop(state);
        if abort { this.abort(py) } else { Ok(()) }
    }

    /// What to wait for; None when all tasks are done.
    fn pending(py: Python<'_>, this: &TaskGroup) -> PyResult<Option<Py<Future>>> {
        let mut state = this.state.lock();
        let old = state.completed.take();
        let event_loop = if state.tasks.is_empty() {
            None
        } else {
            state
                .event_loop
                .as_ref()
                .map(|event_loop| event_loop.clone_ref(py))
        };
        drop(state);
        drop(old);
        let Some(event_loop) = event_loop else {
            return Ok(None);
        };
        let completed = Future::create(py, event_loop.bind(py))?.unbind();
        let mut state = this.state.lock();
        state.completed = Some(completed.clone_ref(py));
        drop(state);
        Ok(Some(completed))
    }

    /// All tasks are done: what the block comes to.
    fn end(&mut self, py: Python<'_>, this: &TaskGroup) -> PyResult<Step> {
        let mut state = this.state.lock();
        let base_error = state.base_error.take();
        let parent = state.parent.take();
        let errors = state.errors.take();
        let uncancel = state.parent_cancel_requested;
        drop(state);
        let parent = parent.map(|parent| parent.into_bound(py));
        if let Some(error) = base_error {
            return Err(raised(error.bind(py)));
        }
        let mut cancelled = self.cancelled.take();
        if let (true, Some(parent)) = (uncancel, &parent) {
            let left = parent.call_method0(intern!(py, "uncancel"))?;
            if left.eq(0)? {
                cancelled = None;
            } else if cancelled.is_none() {
                // Somebody else wants the block cancelled as well.
                cancelled = self.waiting_cancelled.take();
            }
        }
        let mut errors = errors.unwrap_or_default();
        if let Some(cancelled) = cancelled
            && errors.is_empty()
        {
            return Err(raised(cancelled.bind(py)));
        }
        let mut leaving = false;
        if let Some(error) = self.error.take()
            && !error.bind(py).is_instance(cancelled_error(py)?)?
        {
            leaving =
                cfg!(Py_3_15) && errors.is_empty() && error.bind(py).is_instance_of::<PyGeneratorExit>();
            errors.push(error);
        }
        if errors.is_empty() {
            // A cancellation of the block that was the group's own ends here.
            return Ok(Step::Return(
                true.into_pyobject(py)?.to_owned().into_any().unbind(),
            ));
        }
        if let Some(parent) = &parent
            && parent.call_method0(intern!(py, "cancelling"))?.is_truthy()?
        {
            // Cancelled from outside as well: it stays so, and the count stays the same.
            parent.call_method0(intern!(py, "uncancel"))?;
            child::cancel(parent, None)?;
        }
        if leaving && let Some(error) = errors.pop() {
            // An async generator is being closed in the block, and nothing else has failed.
            return Err(raised(error.bind(py)));
        }
        let all = stdlib!(py, "builtins", "BaseExceptionGroup")?
            .call1(("unhandled errors in a TaskGroup", PyList::new(py, errors)?))?;
        let error = raised(&all);
        error.set_cause(py, None);
        Err(error)
    }

    fn go(&mut self, py: Python<'_>, this: &TaskGroup, resume: Resume) -> PyResult<Step> {
        if !self.begun {
            if let Resume::Throw(error) = resume {
                return Err(error);
            }
            self.begin(py, this)?;
        } else if let Resume::Throw(error) = resume {
            if !error.matches(py, cancelled_error(py)?)? {
                return Err(error);
            }
            let aborting = this.state.lock().aborting;
            let error = error.into_value(py).into_any();
            if !aborting {
                self.cancelled = Some(error.clone_ref(py));
                this.abort(py)?;
            }
            self.waiting_cancelled = Some(error);
        }
        match Self::pending(py, this)? {
            Some(completed) => Ok(Step::Wait(completed)),
            None => self.end(py, this),
        }
    }
}

impl Machine for Exit {
    const NAME: &'static str = "TaskGroup.__aexit__";

    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        let group = self.group.bind(py).clone();
        let this = group.get();
        let step = self.go(py, this, resume);
        if !matches!(step, Ok(Step::Wait(_))) {
            // Errors hold on to much: nothing of the block is kept.
            self.error = None;
            self.cancelled = None;
            self.waiting_cancelled = None;
            let mut state = this.state.lock();
            let old = (state.parent.take(), state.errors.take(), state.base_error.take());
            drop(state);
            drop(old);
        }
        step
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.group)?;
        visit.call(&self.error)?;
        visit.call(&self.cancelled)?;
        visit.call(&self.waiting_cancelled)
    }
}
