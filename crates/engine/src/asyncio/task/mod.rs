//! `Task`: a coroutine that an event loop steps, and the future of its result; as `asyncio.Task`.

pub mod current;
mod methods;
mod step;
pub mod wrapper;

pub use current::current;

use super::future::{Future, Phase};
use super::looping::Entry;
use crate::guarded::Guarded;
use crate::held::Held;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyClassInitializer, intern};

/// What a task consists of besides its future.
#[derive(Debug, Default)]
pub(super) struct State {
    pub coro: Option<Held>,
    pub context: Option<Held>,
    /// A str; an int that has not been made a name of yet; or nothing before `__init__`.
    pub name: Option<Held>,
    /// What it waits for.
    pub waits_for: Option<Held>,
    /// To be thrown in at the next step.
    pub thrown: Option<Held>,
    pub must_cancel: bool,
    pub log_destroy_pending: bool,
    pub cancels: usize,
}

/// A coroutine that an event loop steps; as `asyncio.Task`.
#[pyclass(extends = Future, subclass, frozen, module = "plait.asyncio", name = "Task")]
#[derive(Debug)]
pub struct Task {
    pub(super) state: Guarded<State>,
    /// True: see `queue::state::Queue::built`.
    pub(super) built: bool,
}

impl Default for Task {
    fn default() -> Self {
        Self {
            state: Guarded::new(State::default()),
            built: true,
        }
    }
}

impl Task {
    /// A task of the exact type, scheduled; begun at once if it is `eager`.
    ///
    /// # Errors
    /// `TypeError` if `coro` is no coroutine; what a foreign loop raises.
    pub fn create<'py>(
        py: Python<'py>,
        coro: &Bound<'py, PyAny>,
        event_loop: &Bound<'py, PyAny>,
        name: Option<&Bound<'py, PyAny>>,
        context: Option<&Bound<'py, PyAny>>,
        eager: bool,
    ) -> PyResult<Bound<'py, Self>> {
        let initializer = PyClassInitializer::from(Future::default()).add_subclass(Self::default());
        let task = Bound::new(py, initializer)?;
        Self::begin(&task, coro, event_loop, name, context, eager)?;
        Ok(task)
    }

    /// What `__init__` does.
    pub(super) fn begin<'py>(
        slf: &Bound<'py, Self>,
        coro: &Bound<'py, PyAny>,
        event_loop: &Bound<'py, PyAny>,
        name: Option<&Bound<'py, PyAny>>,
        context: Option<&Bound<'py, PyAny>>,
        eager: bool,
    ) -> PyResult<()> {
        let py = slf.py();
        slf.as_super().get().attach(py, event_loop)?;
        if !is_coroutine(coro)? {
            let text = format!("a coroutine was expected, got {}", coro.repr()?);
            return Err(PyTypeError::new_err(text));
        }
        let name = match name {
            None => methods::next_name(py)?,
            Some(name) if name.is_exact_instance_of::<pyo3::types::PyString>() => name.clone(),
            Some(name) => name.str()?.into_any(),
        };
        let context = match context {
            None => wrapper::copy_context(py)?,
            Some(context) => context.clone(),
        };
        let new = State {
            coro: Some(coro.clone().into()),
            context: Some(context.into()),
            name: Some(name.into()),
            log_destroy_pending: true,
            ..State::default()
        };
        let old = std::mem::replace(&mut *slf.get().state.lock(), new);
        drop(old);
        current::register(slf)?;
        let _ = eager;
        Self::schedule(slf)
    }

    /// Has it stepped soon.
    pub(super) fn schedule(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let future = slf.as_super().get();
        if let Some(core) = future.core(py) {
            core.get().push(py, Entry::Task(slf.clone().unbind()));
            return Ok(());
        }
        let keywords = PyDict::new(py);
        keywords.set_item(intern!(py, "context"), slf.get().context(py))?;
        let event_loop = future.event_loop(py)?;
        event_loop.call_method(intern!(py, "call_soon"), (wrapper::step(slf)?,), Some(&keywords))?;
        Ok(())
    }

    /// The context in which it runs.
    pub fn context<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        let state = self.state.lock();
        match &state.context {
            Some(context) => context.bind(py).to_owned(),
            None => py.None().into_bound(py),
        }
    }

    /// Asks it to end: `CancelledError` is raised in it.
    ///
    /// # Errors
    /// What cancelling what it waits for raises.
    pub fn cancel(slf: &Bound<'_, Self>, message: Option<Py<PyAny>>) -> PyResult<bool> {
        let py = slf.py();
        let future = slf.as_super().get();
        {
            let mut state = future.state.lock();
            if state.phase != Phase::Pending {
                return Ok(false);
            }
            state.log_traceback = false;
        }
        let mut state = slf.get().state.lock();
        state.cancels += 1;
        let waits_for = state.waits_for.as_ref().map(|future| future.clone_ref(py));
        drop(state);
        if let Some(waits_for) = waits_for {
            let keywords = PyDict::new(py);
            keywords.set_item(intern!(py, "msg"), &message)?;
            let waits_for = waits_for.into_bound(py);
            let method = intern!(py, "cancel");
            if waits_for.call_method(method, (), Some(&keywords))?.is_truthy()? {
                return Ok(true);
            }
        }
        slf.get().state.lock().must_cancel = true;
        let message = message.map(|message| message.into_bound(py).into());
        let old = std::mem::replace(&mut future.state.lock().message, message);
        drop(old);
        Ok(true)
    }
}

/// `asyncio.iscoroutine`, with its own memory of types.
fn is_coroutine(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    // SAFETY: the object is alive.
    if unsafe { pyo3::ffi::PyCoro_CheckExact(object.as_ptr()) } != 0 {
        return Ok(true);
    }
    super::future::stdlib!(object.py(), "asyncio.coroutines", "iscoroutine")?
        .call1((object,))?
        .is_truthy()
}
