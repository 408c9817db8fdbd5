//! `Future`: one result that will exist, in one event loop; as `asyncio.Future`.
//!
//! Its state is changed by attached threads only, one at a time (`Guarded`). Whoever ends it takes the observers out under the
//! guard and schedules them outside: none is called at once, each is called one turn of the loop later.

#[cfg(Py_3_14)]
pub mod awaited;
mod iter;
mod methods;
pub(crate) mod object;
pub mod observer;
mod raw;
mod spent;
mod state;

pub(crate) use methods::{default_loop, init, stdlib};
pub use object::{Adopted, adopt};
pub use observer::Observer;
pub use state::Phase;
pub(crate) use state::State;

use super::looping::LoopCore;
use super::task::Task;
use crate::guarded::Guarded;
use crate::held::Held;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// One result that will exist; as `asyncio.Future`.
#[pyclass(subclass, frozen, weakref, dict, module = "plait.asyncio", name = "Future")]
#[derive(Debug)]
pub struct Future {
    pub(crate) state: Guarded<State>,
    /// True: see `queue::state::Queue::built`.
    pub(super) built: bool,
}

impl Default for Future {
    fn default() -> Self {
        Self::of(State::default())
    }
}

/// `asyncio.<name>`-like attribute of a module, looked up once.
fn class_of<'py>(
    py: Python<'py>,
    place: &'static PyOnceLock<Py<PyType>>,
    name: &str,
) -> PyResult<&'py Bound<'py, PyType>> {
    place.import(py, "asyncio.exceptions", name)
}

/// `asyncio.CancelledError`.
pub fn cancelled_error(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static PLACE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    class_of(py, &PLACE, "CancelledError")
}

/// `asyncio.InvalidStateError`, with a text.
pub fn invalid_state(py: Python<'_>, text: impl Into<String>) -> PyErr {
    static PLACE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    match class_of(py, &PLACE, "InvalidStateError") {
        Ok(class) => PyErr::from_type(class.clone(), (text.into(),)),
        Err(error) => error,
    }
}

impl Future {
    const fn of(state: State) -> Self {
        Self {
            state: Guarded::new(state),
            built: true,
        }
    }

    /// A pending future of the exact type.
    ///
    /// # Errors
    /// What the loop raises when it is asked for its mode.
    pub fn create<'py>(py: Python<'py>, event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        object::new_future(py, State::of(py, event_loop)?)
    }

    /// Puts it into its loop, as `__init__` does.
    ///
    /// # Errors
    /// What a foreign loop raises when it is asked for its mode.
    pub fn attach(&self, py: Python<'_>, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        let new = State::of(py, event_loop)?;
        let old = std::mem::replace(&mut *self.state.lock(), new);
        drop(old);
        Ok(())
    }

    /// From 3.15 on `__init__` may be called once.
    ///
    /// # Errors
    /// `RuntimeError` if it has been.
    pub fn refuse_again(&self, object: &Bound<'_, PyAny>) -> PyResult<()> {
        if cfg!(Py_3_15) && self.state.lock().event_loop.is_some() {
            let class = object.get_type().name()?;
            return Err(PyRuntimeError::new_err(format!(
                "{class} object is already initialized"
            )));
        }
        Ok(())
    }

    /// Its loop.
    ///
    /// # Errors
    /// `RuntimeError` if `__init__` was not called.
    pub fn event_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.state
            .lock()
            .event_loop
            .as_ref()
            .map(|held| held.bind(py).to_owned())
            .ok_or_else(|| PyRuntimeError::new_err("Future object is not initialized."))
    }

    /// The message of its cancellation.
    pub(crate) fn message(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state
            .lock()
            .message
            .as_ref()
            .map(|message| message.share(py))
    }

    /// The exception that cancels it, for who asks for its result.
    pub(crate) fn keep_cancelled(&self, error: Held) {
        let old = self
            .state
            .lock()
            .rare
            .get_or_insert_default()
            .cancelled
            .replace(error);
        drop(old);
    }

    /// Where it was made, in debug mode.
    pub(crate) fn source_traceback(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let state = self.state.lock();
        Some(state.rare.as_ref()?.source_traceback.as_ref()?.share(py))
    }

    /// Its loop, if it is ours.
    #[inline]
    pub fn core<'py>(&self, py: Python<'py>) -> Option<Bound<'py, LoopCore>> {
        let state = self.state.lock();
        if !state.ours {
            return None;
        }
        let event_loop = state.event_loop.as_ref()?;
        // SAFETY: `ours` says that `looping::of` found it to be one.
        Some(unsafe { event_loop.bind(py).to_owned().cast_into_unchecked() })
    }

    /// Whether it has ended, in whatever way.
    pub fn is_done(&self) -> bool {
        self.state.lock().phase != Phase::Pending
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.state.lock().phase == Phase::Cancelled
    }

    /// Ends it with a result.
    ///
    /// # Errors
    /// `InvalidStateError` if it has ended, `RuntimeError` without `__init__`; what a foreign loop's `call_soon` raises.
    pub fn finish(slf: &Bound<'_, Self>, value: Py<PyAny>) -> PyResult<()> {
        let value = value.into_bound(slf.py()).into();
        Self::end(slf, Phase::Finished, Some(value), false)
    }

    /// Ends it with an exception.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn fail(slf: &Bound<'_, Self>, error: PyErr) -> PyResult<()> {
        let error = error.into_value(slf.py()).into_bound(slf.py()).into_any();
        Self::fail_with(slf, error)
    }

    pub(crate) fn fail_with(slf: &Bound<'_, Self>, error: Bound<'_, PyAny>) -> PyResult<()> {
        let traceback = error.getattr(pyo3::intern!(slf.py(), "__traceback__"))?;
        let this = slf.get();
        Self::end(slf, Phase::Finished, Some(error.into()), true)?;
        let mut state = this.state.lock();
        state.log_traceback = true;
        if !traceback.is_none() {
            let old = state
                .rare
                .get_or_insert_default()
                .traceback
                .replace(traceback.into());
            drop(state);
            drop(old);
        }
        Ok(())
    }

    /// Ends it as cancelled; false if it has ended before.
    ///
    /// # Errors
    /// As [`finish`](Self::finish), without `InvalidStateError`.
    pub fn cancel(slf: &Bound<'_, Self>, message: Option<Py<PyAny>>) -> PyResult<bool> {
        if let Ok(task) = slf.cast::<Task>() {
            return Task::cancel(task, message);
        }
        let this = slf.get();
        let mut state = this.state.lock();
        state.log_traceback = false;
        if state.phase != Phase::Pending {
            return Ok(false);
        }
        let message = message.map(|message| message.into_bound(slf.py()).into());
        let old = std::mem::replace(&mut state.message, message);
        drop(state);
        drop(old);
        Self::end(slf, Phase::Cancelled, None, false)?;
        Ok(true)
    }

    /// The exception for who asks for the result of a cancelled future.
    pub(crate) fn make_cancelled(slf: &Bound<'_, Self>) -> PyResult<PyErr> {
        methods::make_cancelled(slf)
    }

    /// The one transition out of `Pending`.
    pub(crate) fn end(
        slf: &Bound<'_, Self>,
        phase: Phase,
        outcome: Option<Held>,
        failed: bool,
    ) -> PyResult<()> {
        let this = slf.get();
        let mut state = this.state.lock();
        if state.phase != Phase::Pending {
            drop(state);
            drop(outcome);
            return Err(invalid_state(slf.py(), "invalid state"));
        }
        if state.event_loop.is_none() {
            drop(state);
            drop(outcome);
            return Err(PyRuntimeError::new_err("Future object is not initialized."));
        }
        state.phase = phase;
        state.outcome = outcome;
        state.failed = failed;
        let first = state.first.take();
        let rest = std::mem::take(&mut state.rest);
        drop(state);
        let Some(first) = first else { return Ok(()) };
        first.schedule(slf)?;
        for observer in rest {
            observer.schedule(slf)?;
        }
        Ok(())
    }

    /// Its result; marks an exception as asked for.
    ///
    /// # Errors
    /// Its exception, `CancelledError`, `InvalidStateError` if it has not ended.
    pub fn result(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let mut state = slf.get().state.lock();
        match state.phase {
            Phase::Pending => {
                drop(state);
                Err(invalid_state(py, "Result is not set."))
            }
            Phase::Cancelled => {
                drop(state);
                Err(methods::make_cancelled(slf)?)
            }
            Phase::Finished if !state.failed => {
                let outcome = state.outcome.as_ref().map(|outcome| outcome.share(py));
                drop(state);
                Ok(outcome.unwrap_or_else(|| py.None()))
            }
            Phase::Finished => {
                state.log_traceback = false;
                let outcome = state.outcome.as_ref().map(|outcome| outcome.share(py));
                // What it had when it was set: raising it again and again does not make it longer.
                let traceback = state.rare.as_mut().and_then(|rare| rare.traceback.take());
                drop(state);
                let exception = outcome.unwrap_or_else(|| py.None()).into_bound(py);
                let traceback =
                    traceback.map_or_else(|| py.None(), |traceback| traceback.into_bound(py).unbind());
                exception.setattr(pyo3::intern!(py, "__traceback__"), traceback)?;
                Err(PyErr::from_value(exception))
            }
        }
    }

    /// Has `observer` called one turn after it has ended: soon, if it has.
    ///
    /// # Errors
    /// What a foreign loop's `call_soon` raises.
    pub fn observe(slf: &Bound<'_, Self>, observer: Observer) -> PyResult<()> {
        let mut state = slf.get().state.lock();
        if state.phase != Phase::Pending {
            drop(state);
            return observer.schedule(slf);
        }
        if state.first.is_none() && state.rest.is_empty() {
            state.first = Some(observer);
        } else {
            state.rest.push(observer);
        }
        Ok(())
    }

    /// Takes out the native observers of `object` (a task, or what `Native` carries); says how many.
    pub fn unobserve(slf: &Bound<'_, Self>, object: *mut pyo3::ffi::PyObject) -> usize {
        let taken = slf
            .get()
            .take_observers(|observer| observer.object() == Some(object));
        taken.len()
    }

    /// Takes out those who match; `matches` only looks.
    pub(super) fn take_observers(&self, matches: impl Fn(&Observer) -> bool) -> Vec<Observer> {
        let mut state = self.state.lock();
        if !state.first.iter().chain(&state.rest).any(&matches) {
            return Vec::new();
        }
        let all = state
            .first
            .take()
            .into_iter()
            .chain(std::mem::take(&mut state.rest));
        let (taken, kept): (Vec<_>, Vec<_>) = all.partition(matches);
        let mut kept = kept.into_iter();
        state.first = kept.next();
        state.rest = kept.collect();
        taken
    }

    /// The callbacks of Python code.
    pub(super) fn python_callbacks(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        let state = self.state.lock();
        let all = state.first.iter().chain(&state.rest);
        all.filter_map(|observer| match observer {
            Observer::Python { callback, .. } => Some(callback.clone_ref(py)),
            _ => None,
        })
        .collect()
    }
}
