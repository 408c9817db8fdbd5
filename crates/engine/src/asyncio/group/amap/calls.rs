//! Calls: when one is begun, and what it tells when it is done.

use super::work::{State, Work};
use crate::asyncio::future::{Future, cancelled_error};
use crate::asyncio::group::child::{self, Outcome};
use crate::asyncio::group::{ensure, here};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{ffi, intern};

impl Work {
    /// Whether one more call may begin.
    pub(super) fn has_room(&self, state: &State) -> bool {
        let running = state.running.len();
        !state.ending && running < self.limit && running + state.finished < self.limit + self.buffer
    }

    /// Begins calls while there is room.
    pub(super) fn pull(slf: &Bound<'_, Self>) {
        let (py, this) = (slf.py(), slf.get());
        let mut state = this.state.lock();
        if state.pulling {
            return;
        }
        if this.asynchronous {
            let gate = if this.has_room(&state) {
                state.gate.take()
            } else {
                None
            };
            drop(state);
            if let Some(gate) = gate {
                open(py, gate);
            }
            return;
        }
        state.pulling = true;
        drop(state);
        loop {
            let state = this.state.lock();
            let source = match &state.source {
                Some(source) if this.has_room(&state) => source.clone_ref(py),
                _ => break,
            };
            drop(state);
            // SAFETY: attached; the source is an iterator.
            let item = unsafe {
                let item = ffi::PyIter_Next(source.as_ptr());
                Bound::from_owned_ptr_or_opt(py, item)
            };
            match item {
                Some(item) => {
                    if let Err(error) = Self::start(slf, &item) {
                        this.fail(py, error);
                    }
                }
                None => {
                    let source = this.state.lock().source.take();
                    drop(source);
                    if let Some(error) = PyErr::take(py) {
                        this.fail(py, error);
                    }
                }
            }
        }
        this.state.lock().pulling = false;
    }

    /// Begins one call.
    pub(super) fn start(slf: &Bound<'_, Self>, item: &Bound<'_, PyAny>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let state = this.state.lock();
        let context = state.context.as_ref().map(|context| context.clone_ref(py));
        let event_loop = state
            .event_loop
            .as_ref()
            .map(|event_loop| event_loop.clone_ref(py));
        drop(state);
        let (Some(context), Some(event_loop)) = (context, event_loop) else {
            return Ok(());
        };
        let event_loop = event_loop.bind(py);
        let context = context.call_method0(py, intern!(py, "copy"))?;
        let context = context.bind(py);
        let made = context.call_method1(intern!(py, "run"), (&this.function, item))?;
        let future = if child::is_future(&made)? {
            made
        } else if here::is_coroutine(&made)? {
            let named = PyDict::new(py);
            named.set_item(intern!(py, "context"), context)?;
            event_loop.call_method(intern!(py, "create_task"), (made,), Some(&named))?
        } else {
            ensure::ensure(&made, Some(event_loop)).map_err(|error| {
                if error.is_instance_of::<PyTypeError>(py) {
                    let kind = made.get_type();
                    let kind = kind
                        .name()
                        .map_or_else(|_| String::new(), |name| name.to_string());
                    PyTypeError::new_err(format!(
                        "amap() needs a function that returns an awaitable, not {kind}"
                    ))
                } else {
                    error
                }
            })?
        };
        let mut state = this.state.lock();
        let place = state.begun;
        state.begun += 1;
        if this.ordered {
            state.results.push_back(None);
        }
        let call = (place, future.clone().unbind());
        let old = state.running.insert(future.as_ptr().addr(), call);
        let ending = state.ending;
        drop(state);
        drop(old);
        if ending {
            child::cancel(&future, None)?;
        }
        child::observe_any(&future, told, slf)
    }
}

/// Completes a future unless it is done.
pub(super) fn open(py: Python<'_>, future: Py<Future>) {
    let future = future.bind(py);
    if !future.get().is_done()
        && let Err(error) = Future::finish(future, py.None())
    {
        error.write_unraisable(py, Some(future));
    }
}

/// A call tells that it is done.
fn told(work: &Bound<'_, PyAny>, future: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = work.py();
    // SAFETY: the observer was made with a work.
    let work = unsafe { work.cast_unchecked::<Work>() };
    let this = work.get();
    let outcome = child::outcome(future)?;
    let mut state = this.state.lock();
    let call = state.running.remove(&future.as_ptr().addr());
    let ending = state.ending;
    let idle = state.running.is_empty() && state.feeder.is_none();
    drop(state);
    let Some((place, call)) = call else { return Ok(()) };
    drop(call);
    if ending {
        if idle {
            this.tell(py, true);
        }
        return Ok(());
    }
    let result = match outcome {
        Outcome::Value(value) => value,
        Outcome::Error(error) if this.return_exceptions => error,
        Outcome::Error(error) => {
            this.fail(py, PyErr::from_value(error.into_bound(py)));
            return Ok(());
        }
        Outcome::Cancelled if this.return_exceptions => cancelled_error(py)?.call0()?.unbind(),
        Outcome::Cancelled => {
            this.fail(py, child::cancelled_error(future)?);
            return Ok(());
        }
    };
    this.advance_bar(py);
    let mut state = this.state.lock();
    state.finished += 1;
    let head = if this.ordered {
        let at = place - state.taken;
        if let Some(slot) = state.results.get_mut(at) {
            *slot = Some(result);
        }
        at == 0
    } else {
        state.results.push_back(Some(result));
        true
    };
    drop(state);
    Work::pull(work);
    if head {
        this.tell(py, false);
    }
    Ok(())
}

/// The feeder is done.
pub(super) fn fed(work: &Bound<'_, PyAny>, feeder: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = work.py();
    // SAFETY: the observer was made with a work.
    let this = unsafe { work.cast_unchecked::<Work>() }.get();
    let mut state = this.state.lock();
    let old = state.feeder.take();
    drop(state);
    drop(old);
    match child::failure(feeder)? {
        Some(Outcome::Error(error)) => this.fail(py, PyErr::from_value(error.into_bound(py))),
        Some(Outcome::Cancelled) => this.fail(py, child::cancelled_error(feeder)?),
        _ => {}
    }
    if this.is_idle() {
        this.tell(py, true);
    }
    Ok(())
}
