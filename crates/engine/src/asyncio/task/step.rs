//! One step of a task: resume its coroutine, and see to what it waits for.

use super::{Task, current, wrapper};
use crate::asyncio::future::{Future, Observer, Phase, cancelled_error};
use crate::asyncio::looping::LoopCore;
use crate::held::Held;
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{ffi, intern};

impl Task {
    /// One step, from the ready queue of its loop.
    ///
    /// # Errors
    /// `KeyboardInterrupt` and `SystemExit` out of the coroutine.
    pub fn step(slf: &Bound<'_, Self>, _core: &Bound<'_, LoopCore>) -> PyResult<()> {
        let context = slf.get().context(slf.py());
        // SAFETY: a task's context is one, or the interpreter says so.
        unsafe {
            if ffi::PyContext_Enter(context.as_ptr()) != 0 {
                return Err(PyErr::fetch(slf.py()));
            }
            let result = Self::step_anywhere(slf);
            if ffi::PyContext_Exit(context.as_ptr()) != 0 {
                return Err(PyErr::fetch(slf.py()));
            }
            result
        }
    }

    /// One step, in its context already.
    pub(super) fn step_anywhere(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let future = slf.as_super();
        if future.get().is_done() {
            let text = format!("__step(): already done: {}", slf.repr()?);
            return Err(crate::asyncio::future::invalid_state(py, text));
        }
        let mut state = slf.get().state.lock();
        let waited_for = state.waits_for.take();
        let mut thrown = state.thrown.take();
        let must_cancel = std::mem::take(&mut state.must_cancel);
        let coro = state.coro.as_ref().map(|coro| coro.clone_ref(py));
        drop(state);
        let Some(coro) = coro else {
            return Err(PyRuntimeError::new_err("Task object is not initialized."));
        };
        let coro = coro.into_bound(py);
        if let (None, Some(waited_for)) = (&thrown, waited_for) {
            thrown = failure(&waited_for.into_bound(py))?;
        }
        if must_cancel {
            let cancelled = cancelled_error(py)?;
            let is_one = match &thrown {
                Some(thrown) => thrown.bind(py).is_instance(cancelled)?,
                None => false,
            };
            if !is_one {
                thrown = Some(
                    Future::make_cancelled(future)?
                        .into_value(py)
                        .into_bound(py)
                        .into_any()
                        .into(),
                );
            }
        }
        let event_loop = future.get().event_loop(py)?;
        current::enter(&event_loop, slf)?;
        let resumed = resume(&coro, thrown);
        let result = match resumed {
            Ok(Ok(yielded)) => Self::wait_for(slf, &yielded),
            Ok(Err(value)) => {
                if std::mem::take(&mut slf.get().state.lock().must_cancel) {
                    Future::end(future, Phase::Cancelled, None, false)
                } else {
                    Future::finish(future, value.unbind())
                }
            }
            Err(error) => Self::failed(slf, error),
        };
        current::leave(&event_loop, slf)?;
        result
    }

    /// The coroutine raised.
    fn failed(slf: &Bound<'_, Self>, error: PyErr) -> PyResult<()> {
        let py = slf.py();
        let future = slf.as_super();
        if error.matches(py, cancelled_error(py)?)? {
            let value = error.into_value(py).into_bound(py).into_any();
            let mut state = future.get().state.lock();
            let old = state.rare.get_or_insert_default().cancelled.replace(value.into());
            drop(state);
            drop(old);
            return Future::end(future, Phase::Cancelled, None, false);
        }
        let fatal =
            error.is_instance_of::<PyKeyboardInterrupt>(py) || error.is_instance_of::<PySystemExit>(py);
        let value = error.clone_ref(py).into_value(py).into_bound(py).into_any();
        Future::fail_with(future, value)?;
        if fatal { Err(error) } else { Ok(()) }
    }

    /// The coroutine yielded.
    fn wait_for(slf: &Bound<'_, Self>, yielded: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        if yielded.is_none() {
            return Self::schedule(slf);
        }
        if yielded.is(slf) {
            return Self::bad(slf, format!("Task cannot await on itself: {}", slf.repr()?));
        }
        let event_loop = slf.as_super().get().event_loop(py)?;
        if let Ok(awaited) = yielded.cast::<Future>() {
            let mut state = awaited.get().state.lock();
            let blocking = std::mem::take(&mut state.blocking);
            let same = state
                .event_loop
                .as_ref()
                .is_some_and(|its| its.as_ptr() == event_loop.as_ptr());
            drop(state);
            if !same {
                return Self::bad(
                    slf,
                    format!(
                        "Task {} got Future {} attached to a different loop",
                        slf.repr()?,
                        yielded.repr()?
                    ),
                );
            }
            if !blocking {
                return Self::bad(
                    slf,
                    format!(
                        "yield was used instead of yield from in task {} with {}",
                        slf.repr()?,
                        yielded.repr()?
                    ),
                );
            }
            slf.get().state.lock().waits_for = Some(Held::from(yielded.clone()));
            Future::observe(awaited, Observer::Task(slf.clone().unbind()))?;
            return Self::cancel_if_asked(slf, yielded);
        }
        let name = intern!(py, "_asyncio_future_blocking");
        let blocking = yielded.getattr_opt(name)?.filter(|blocking| !blocking.is_none());
        let Some(blocking) = blocking else {
            let text = if yielded.is_instance_of::<pyo3::types::PyIterator>() {
                format!(
                    "yield was used instead of yield from for generator in task {} with {}",
                    slf.repr()?,
                    yielded.repr()?
                )
            } else {
                format!("Task got bad yield: {}", yielded.repr()?)
            };
            return Self::bad(slf, text);
        };
        let its = crate::asyncio::future::stdlib!(py, "asyncio.futures", "_get_loop")?.call1((yielded,))?;
        if !its.is(&event_loop) {
            return Self::bad(
                slf,
                format!(
                    "Task {} got Future {} attached to a different loop",
                    slf.repr()?,
                    yielded.repr()?
                ),
            );
        }
        if !blocking.is_truthy()? {
            return Self::bad(
                slf,
                format!(
                    "yield was used instead of yield from in task {} with {}",
                    slf.repr()?,
                    yielded.repr()?
                ),
            );
        }
        yielded.setattr(name, false)?;
        let keywords = PyDict::new(py);
        keywords.set_item(intern!(py, "context"), slf.get().context(py))?;
        let method = intern!(py, "add_done_callback");
        yielded.call_method(method, (wrapper::wakeup(slf)?,), Some(&keywords))?;
        slf.get().state.lock().waits_for = Some(Held::from(yielded.clone()));
        Self::cancel_if_asked(slf, yielded)
    }

    /// It was cancelled while it ran: so is what it waits for.
    fn cancel_if_asked(slf: &Bound<'_, Self>, waits_for: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        if !slf.get().state.lock().must_cancel {
            return Ok(());
        }
        let message = slf
            .as_super()
            .get()
            .state
            .lock()
            .message
            .as_ref()
            .map(|message| message.share(py));
        let keywords = PyDict::new(py);
        keywords.set_item(intern!(py, "msg"), message)?;
        let method = intern!(py, "cancel");
        if waits_for.call_method(method, (), Some(&keywords))?.is_truthy()? {
            slf.get().state.lock().must_cancel = false;
        }
        Ok(())
    }

    /// What it yielded is refused: an error is raised in the coroutine.
    fn bad(slf: &Bound<'_, Self>, text: String) -> PyResult<()> {
        let py = slf.py();
        let error = PyRuntimeError::new_err(text)
            .into_value(py)
            .into_bound(py)
            .into_any();
        let old = slf.get().state.lock().thrown.replace(error.into());
        drop(old);
        Self::schedule(slf)
    }
}

/// What a future that has ended raises in who waited for it.
fn failure(waited_for: &Bound<'_, PyAny>) -> PyResult<Option<Held>> {
    let py = waited_for.py();
    let error = if let Ok(future) = waited_for.cast::<Future>() {
        let state = future.get().state.lock();
        let raises = state.phase == Phase::Cancelled || state.failed;
        drop(state);
        if !raises {
            return Ok(None);
        }
        Future::result(future).err()
    } else {
        waited_for.call_method0(intern!(py, "result")).err()
    };
    Ok(error.map(|error| error.into_value(py).into_bound(py).into_any().into()))
}

/// Resumes a coroutine: `Ok(Ok)` is what it yielded, `Ok(Err)` what it returned.
fn resume<'py>(
    coro: &Bound<'py, PyAny>,
    thrown: Option<Held>,
) -> PyResult<Result<Bound<'py, PyAny>, Bound<'py, PyAny>>> {
    let py = coro.py();
    if let Some(thrown) = thrown {
        let method = intern!(py, "throw");
        return match coro.call_method1(method, (thrown.bind(py),)) {
            Ok(yielded) => Ok(Ok(yielded)),
            Err(error) if error.is_instance_of::<pyo3::exceptions::PyStopIteration>(py) => {
                Ok(Err(error.value(py).getattr(intern!(py, "value"))?))
            }
            Err(error) => Err(error),
        };
    }
    let mut result = std::ptr::null_mut();
    // SAFETY: attached; the result is owned.
    unsafe {
        let sent = ffi::PyIter_Send(coro.as_ptr(), ffi::Py_None(), &raw mut result);
        match sent {
            ffi::PySendResult::PYGEN_RETURN => Ok(Err(Bound::from_owned_ptr(py, result))),
            ffi::PySendResult::PYGEN_NEXT => Ok(Ok(Bound::from_owned_ptr(py, result))),
            ffi::PySendResult::PYGEN_ERROR => Err(PyErr::fetch(py)),
        }
    }
}
