//! `Task`: a coroutine that an event loop steps, and the future of its result; as `asyncio.Task`.
//!
//! docs/design/task.md tells who may touch what when, and why no wake-up is lost.

pub mod current;
pub mod functions;
mod methods;
pub mod registry;
mod step;
pub mod wrapper;

pub use current::current;
pub(crate) use registry::unlink;
pub(crate) use step::{call_with_context, context_name};

use super::await_::Await;
use super::future::{Future, Observer, Phase, object, stdlib};
use super::looping::{Entry, LoopCore};
use crate::guarded::Guarded;
use crate::held::Held;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a task is called.
#[derive(Debug)]
pub(super) enum Name {
    /// `Task-N`: made a str when somebody asks.
    Number(u64),
    Given(Held),
}

/// What a task consists of besides its future.
#[derive(Debug)]
pub(super) struct State {
    pub coro: Option<Held>,
    pub context: Option<Held>,
    /// Others run in this very context, too: who asks for it gets a copy, which is the task's from then on.
    pub shares: bool,
    pub name: Name,
    /// What it waits for.
    pub waits_for: Option<Held>,
    /// To be thrown in at the next step.
    pub thrown: Option<Held>,
    pub must_cancel: bool,
    pub log_destroy_pending: bool,
    pub cancels: usize,
}

impl Default for State {
    fn default() -> Self {
        Self {
            coro: None,
            context: None,
            shares: false,
            name: Name::Number(0),
            waits_for: None,
            thrown: None,
            must_cancel: false,
            log_destroy_pending: true,
            cancels: 0,
        }
    }
}

/// A coroutine that an event loop steps; as `asyncio.Task`.
#[pyclass(extends = Future, subclass, frozen, module = "plait.asyncio", name = "Task")]
#[derive(Debug)]
pub struct Task {
    pub(super) state: Guarded<State>,
    links: registry::Links,
    /// True: see `queue::state::Queue::built`.
    pub(super) built: bool,
}

impl Default for Task {
    fn default() -> Self {
        Self {
            state: Guarded::new(State::default()),
            links: registry::Links::default(),
            built: true,
        }
    }
}

/// Numbers for names.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// What a task is begun with, besides its coroutine and its loop.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a, 'py> {
    pub name: Option<&'a Bound<'py, PyAny>>,
    pub context: Option<&'a Bound<'py, PyAny>>,
    /// Others run in this context, too.
    pub shares: bool,
    /// Begin at once, if the loop runs.
    pub eager: bool,
    /// Begin when this is done; if it is cancelled, so is the task, without having begun.
    pub after: Option<&'a Bound<'py, Future>>,
}

impl Task {
    /// A task of the exact type, scheduled; begun at once if it is `eager` and the loop runs.
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
        let task = object::new_task(py)?;
        let options = Options {
            name,
            context,
            shares: false,
            eager,
            after: None,
        };
        Self::begin(&task, coro, event_loop, options)?;
        Ok(task)
    }

    /// A task of the exact type that begins as `options` say.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_with<'py>(
        coro: &Bound<'py, PyAny>,
        event_loop: &Bound<'py, PyAny>,
        options: Options<'_, 'py>,
    ) -> PyResult<Bound<'py, Self>> {
        let task = object::new_task(coro.py())?;
        Self::begin(&task, coro, event_loop, options)?;
        Ok(task)
    }

    /// What `__init__` does.
    pub(super) fn begin<'py>(
        slf: &Bound<'py, Self>,
        coro: &Bound<'py, PyAny>,
        event_loop: &Bound<'py, PyAny>,
        options: Options<'_, 'py>,
    ) -> PyResult<()> {
        let py = slf.py();
        slf.as_super().get().attach(py, event_loop)?;
        if !is_coroutine(coro)? {
            slf.get().state.lock().log_destroy_pending = false;
            let text = format!("a coroutine was expected, got {}", coro.repr()?);
            return Err(PyTypeError::new_err(text));
        }
        let name = match options.name.filter(|name| !name.is_none()) {
            None => Name::Number(NUMBERS.fetch_add(1, Ordering::Relaxed)),
            Some(name) if name.is_exact_instance_of::<PyString>() => Name::Given(name.clone().into()),
            Some(name) => Name::Given(name.str()?.into_any().into()),
        };
        let context = match options.context.filter(|context| !context.is_none()) {
            None => wrapper::copy_context(py)?,
            // SAFETY: the object is alive.
            Some(context) if unsafe { ffi::PyContext_CheckExact(context.as_ptr()) } != 0 => context.clone(),
            Some(other) => {
                slf.get().state.lock().log_destroy_pending = false;
                let class = other.get_type().name()?;
                let text = format!("a contextvars.Context was expected, got {class}");
                return Err(PyTypeError::new_err(text));
            }
        };
        let new = State {
            coro: Some(coro.clone().into()),
            context: Some(context.into()),
            shares: options.shares,
            name,
            ..State::default()
        };
        let old = std::mem::replace(&mut *slf.get().state.lock(), new);
        drop(old);
        if options.eager && is_running(event_loop)? {
            return Self::begin_now(slf, event_loop);
        }
        match options.after {
            None => Self::schedule(slf)?,
            Some(after) => {
                Future::observe(after, Observer::Task(slf.clone().unbind()))?;
                slf.get().state.lock().waits_for = Some(after.clone().into_any().into());
            }
        }
        registry::link(slf);
        Ok(())
    }

    /// Has it stepped soon.
    pub(super) fn schedule(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let future = slf.as_super().get();
        if let Some(core) = future.core(py)
            && ready(&core)
        {
            core.get().push(py, Entry::Task(slf.clone().unbind()));
            return Ok(());
        }
        let event_loop = future.event_loop(py)?;
        let context = slf.get().context(py);
        call_with_context(
            &event_loop,
            intern!(py, "call_soon"),
            &wrapper::step(slf)?,
            &context,
        )
        .map(drop)
    }

    /// The context in which it runs.
    pub fn context<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        let state = self.state.lock();
        let shares = state.shares;
        let context = state.context.as_ref().map(|context| context.clone_ref(py));
        drop(state);
        let Some(context) = context else {
            return py.None().into_bound(py);
        };
        if shares {
            return self.own_context(py, &context);
        }
        context.into_bound(py)
    }

    /// A copy of the context that it shares, which is its own from now on.
    #[cold]
    fn own_context<'py>(&self, py: Python<'py>, shared: &Held) -> Bound<'py, PyAny> {
        // SAFETY: attached, and a context; the copy is owned, or null with the error set.
        let copy = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_Copy(shared.as_ptr())) };
        let copy = copy.unwrap_or_else(|_no_memory| shared.bind(py).to_owned());
        let mut state = self.state.lock();
        let old = state.context.replace(copy.clone().into());
        state.shares = false;
        drop(state);
        drop(old);
        copy
    }

    /// Asks it to end: `CancelledError` is raised in it. False if it has ended.
    ///
    /// # Errors
    /// What cancelling what it waits for raises.
    pub fn cancel(slf: &Bound<'_, Self>, message: Option<Py<PyAny>>) -> PyResult<bool> {
        let py = slf.py();
        let future = slf.as_super().get();
        {
            let mut state = future.state.lock();
            state.log_traceback = false;
            if state.phase != Phase::Pending {
                return Ok(false);
            }
        }
        let mut state = slf.get().state.lock();
        state.cancels += 1;
        let waits_for = state.waits_for.as_ref().map(|future| future.share(py));
        drop(state);
        if let Some(waits_for) = waits_for
            && step::pass_cancel(waits_for.bind(py), message.as_ref())?
        {
            return Ok(true);
        }
        slf.get().state.lock().must_cancel = true;
        let message = message.map(|message| message.into_bound(py).into());
        let old = std::mem::replace(&mut future.state.lock().message, message);
        drop(old);
        Ok(true)
    }
}

/// Whether entries can be pushed without asking: not where the mode or the state wants a check, which `call_soon` makes.
#[inline]
pub(crate) fn ready(core: &Bound<'_, LoopCore>) -> bool {
    !core.get().is_debug() && !core.get().is_closed()
}

/// Whether the end of this task would be reported: it is pending, and nobody has said that this does not matter.
#[inline]
pub(crate) fn is_lost(task: &Task, future: &Future) -> bool {
    if future.is_done() {
        return false;
    }
    let state = task.state.lock();
    state.log_destroy_pending && state.coro.is_some()
}

/// Whether a loop runs.
fn is_running(event_loop: &Bound<'_, PyAny>) -> PyResult<bool> {
    event_loop
        .call_method0(intern!(event_loop.py(), "is_running"))?
        .is_truthy()
}

/// `asyncio.iscoroutine`.
#[inline]
pub(super) fn is_coroutine(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    // SAFETY: the object is alive.
    if unsafe { ffi::PyCoro_CheckExact(object.as_ptr()) } != 0 || Await::is(object) {
        return Ok(true);
    }
    stdlib!(object.py(), "asyncio.coroutines", "iscoroutine")?
        .call1((object,))?
        .is_truthy()
}
