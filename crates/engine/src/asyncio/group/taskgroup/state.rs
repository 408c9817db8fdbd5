//! What a group knows, and what its tasks tell it.

use super::line::{Line, Place};
use crate::asyncio::future::{Future, object};
use crate::asyncio::group::child::{self, Outcome};
use crate::asyncio::group::gather::ByAddress;
use crate::asyncio::group::{ensure, graph};
use crate::guarded::Guarded;
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PySystemExit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::collections::HashMap;

/// A task of the group.
#[derive(Debug)]
pub struct Member {
    pub task: Py<PyAny>,
    /// The order in which they were made.
    pub number: usize,
    /// It takes up one of the places of a limited group.
    pub placed: bool,
}

/// What changes.
#[derive(Debug, Default)]
pub struct State {
    pub entered: bool,
    /// `cancel()` was called before.
    pub cancel_on_enter: bool,
    pub exiting: bool,
    pub aborting: bool,
    pub parent_cancel_requested: bool,
    /// `ensure::is_plain` of the loop.
    pub plain: bool,
    pub event_loop: Option<Py<PyAny>>,
    pub parent: Option<Py<PyAny>>,
    pub tasks: HashMap<usize, Member, ByAddress>,
    pub made: usize,
    /// None once the block has been left.
    pub errors: Option<Vec<Py<PyAny>>>,
    pub base_error: Option<Py<PyAny>>,
    /// What the end of the block waits for.
    pub completed: Option<Py<Future>>,
    pub line: Option<Box<Line>>,
}

/// A block that ends when all its tasks have ended: `async with TaskGroup() as group: group.create_task(...)`.
///
/// The first task that fails cancels the others, and the block; what failed is raised as an `ExceptionGroup`. As
/// `asyncio.TaskGroup`. With `limit=N` at most N of its tasks run at a time: further ones wait for their turn.
#[pyclass(subclass, frozen, weakref, dict, module = "plait.asyncio", name = "TaskGroup")]
#[derive(Debug)]
pub struct TaskGroup {
    pub state: Guarded<State>,
    /// True: see `queue::state::Queue::built`.
    pub built: bool,
}

/// Errors that end the program rather than the group.
pub fn is_base_error(error: &Bound<'_, PyAny>) -> bool {
    error.is_instance_of::<PySystemExit>() || error.is_instance_of::<PyKeyboardInterrupt>()
}

/// A task tells that it is done.
pub fn told(group: &Bound<'_, PyAny>, task: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = group.py();
    // SAFETY: observers of members are made by a group, with itself.
    let group = unsafe { group.cast_unchecked::<TaskGroup>() };
    let this = group.get();
    let mut state = this.state.lock();
    let member = state.tasks.remove(&task.as_ptr().addr());
    let placed = state.line.is_some() && member.as_ref().is_some_and(|member| member.placed);
    let completed = match &state.completed {
        Some(completed) if state.tasks.is_empty() => Some(completed.clone_ref(py)),
        _ => None,
    };
    drop(state);
    if cfg!(Py_3_14) && !object::is_native(task) {
        graph::discard(task, this.parent(py).as_ref())?;
    }
    if placed {
        this.leave_place(py)?;
    }
    if let Some(completed) = completed {
        let completed = completed.bind(py);
        if !completed.get().is_done() {
            Future::finish(completed, true.into_pyobject(py)?.to_owned().into_any().unbind())?;
        }
    }
    drop(member);
    match child::failure(task)? {
        Some(Outcome::Error(error)) => this.failed(group, task, error.bind(py)),
        _ => Ok(()),
    }
}

impl TaskGroup {
    /// The task whose block it is.
    pub fn parent<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let parent = self.state.lock().parent.as_ref().map(|task| task.clone_ref(py));
        parent.map(|task| task.into_bound(py))
    }

    /// One of the tasks has failed.
    #[cold]
    fn failed(
        &self,
        group: &Bound<'_, Self>,
        task: &Bound<'_, PyAny>,
        error: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = group.py();
        let base = is_base_error(error);
        let mut state = self.state.lock();
        state.errors.get_or_insert_default().push(error.clone().unbind());
        if base && state.base_error.is_none() {
            state.base_error = Some(error.clone().unbind());
        }
        let event_loop = state
            .event_loop
            .as_ref()
            .map(|event_loop| event_loop.clone_ref(py));
        drop(state);
        let Some(parent) = self.parent(py) else {
            return Ok(());
        };
        if child::is_done(&parent)? {
            let context = PyDict::new(py);
            let text = format!(
                "Task {} has errored out but its parent task {} is already completed",
                task.repr()?,
                parent.str()?
            );
            context.set_item("message", text)?;
            context.set_item("exception", error)?;
            context.set_item("task", task)?;
            if let Some(event_loop) = event_loop {
                event_loop.call_method1(py, intern!(py, "call_exception_handler"), (context,))?;
            }
            return Ok(());
        }
        let mut state = self.state.lock();
        let first = !state.aborting && !state.parent_cancel_requested;
        if first {
            state.parent_cancel_requested = true;
        }
        drop(state);
        if first {
            self.abort(py)?;
            child::cancel(&parent, None)?;
        }
        Ok(())
    }

    /// Cancels all tasks and the block, which ends without an exception.
    ///
    /// # Errors
    /// What a foreign task raises.
    pub fn cancel_all(&self, py: Python<'_>) -> PyResult<()> {
        let mut state = self.state.lock();
        if !state.entered {
            state.cancel_on_enter = true;
            return Ok(());
        }
        if state.aborting || (state.exiting && state.tasks.is_empty()) {
            return Ok(());
        }
        drop(state);
        self.abort(py)?;
        let Some(parent) = self.parent(py) else {
            return Ok(());
        };
        if std::mem::replace(&mut self.state.lock().parent_cancel_requested, true) {
            return Ok(());
        }
        child::cancel(&parent, None).map(drop)
    }

    /// Cancels all tasks.
    pub fn abort(&self, py: Python<'_>) -> PyResult<()> {
        let mut state = self.state.lock();
        state.aborting = true;
        let mut tasks: Vec<_> = state
            .tasks
            .values()
            .map(|member| (member.number, member.task.clone_ref(py)))
            .collect();
        drop(state);
        tasks.sort_unstable_by_key(|(number, _)| *number);
        for (_, task) in tasks {
            let task = task.into_bound(py);
            if !child::is_done(&task)? {
                child::cancel(&task, None)?;
            }
        }
        self.turn_away(py)
    }

    /// Why no task can be made now.
    fn refusal(slf: &Bound<'_, Self>) -> PyResult<Option<PyErr>> {
        let state = slf.get().state.lock();
        let why = if !state.entered {
            "has not been entered"
        } else if state.exiting && state.tasks.is_empty() {
            "is finished"
        } else if state.aborting {
            "is shutting down"
        } else {
            return Ok(None);
        };
        drop(state);
        let text = format!("TaskGroup {} {why}", slf.repr()?);
        Ok(Some(PyRuntimeError::new_err(text)))
    }

    /// A new task of the group. `has_place`: a place has been kept for it.
    ///
    /// # Errors
    /// `RuntimeError` if the group takes no tasks; what the loop's `create_task` raises.
    pub fn add<'py>(
        slf: &Bound<'py, Self>,
        coro: &Bound<'py, PyAny>,
        named: Option<&Bound<'py, PyDict>>,
        has_place: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        if let Some(refusal) = Self::refusal(slf)? {
            // Before 3.13 it is the caller's to close.
            if cfg!(Py_3_13) {
                coro.call_method0(intern!(py, "close"))?;
            }
            return Err(refusal);
        }
        let mut state = this.state.lock();
        let event_loop = state
            .event_loop
            .as_ref()
            .map(|event_loop| event_loop.clone_ref(py));
        let place = match &mut state.line {
            Some(_) if has_place => Place::Taken,
            Some(line) => line.place(),
            None => Place::Free,
        };
        let plain = state.plain;
        drop(state);
        let Some(event_loop) = event_loop else {
            return Err(PyRuntimeError::new_err("TaskGroup has no event loop"));
        };
        let event_loop = event_loop.bind(py);
        let mut gate = None;
        let made = match place {
            Place::Free | Place::Taken if plain && named.is_none() && ensure::is_async(coro) => {
                ensure::create_plain(event_loop, coro, None)
            }
            Place::Free | Place::Taken => make(event_loop, coro, named),
            Place::None => {
                let closed = Future::create(py, event_loop)?;
                let task = super::line::make_later(event_loop, coro, named, &closed);
                gate = Some(closed);
                task
            }
        };
        let task = match made {
            Ok(task) => task,
            Err(error) => {
                if place == Place::Taken && !has_place {
                    this.leave_place(py)?;
                }
                return Err(error);
            }
        };
        if cfg!(Py_3_14) && !object::is_native(&task) {
            graph::add(&task, this.parent(py).as_ref())?;
        }
        let address = task.as_ptr().addr();
        let mut state = this.state.lock();
        state.made += 1;
        let member = Member {
            task: task.clone().unbind(),
            number: state.made,
            placed: place == Place::Taken,
        };
        let old = state.tasks.insert(address, member);
        if let (Some(gate), Some(line)) = (gate, &mut state.line) {
            line.wait(gate.unbind(), Some(address));
        }
        drop(state);
        drop(old);
        child::observe_any(&task, told, slf)?;
        // An eager task may have cancelled the group before it was one of it.
        if this.state.lock().aborting && !child::is_done(&task)? {
            child::cancel(&task, None)?;
        }
        Ok(task)
    }
}

/// A task, as the loop makes it.
pub fn make<'py>(
    event_loop: &Bound<'py, PyAny>,
    coro: &Bound<'py, PyAny>,
    named: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    match named {
        None => ensure::create_task(event_loop, coro),
        Some(named) => event_loop.call_method(intern!(event_loop.py(), "create_task"), (coro,), Some(named)),
    }
}
