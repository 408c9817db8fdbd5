//! One step of a task: resume its coroutine, and see to what it waits for.
//!
//! Long because a step is one thing: what may follow from it is decided in one place.

use super::{Task, current, registry, wrapper};
use crate::asyncio::await_::stop;
use crate::asyncio::future::{Future, Observer, Phase, cancelled_error, invalid_state, object};
use crate::asyncio::looping::LoopCore;
use crate::held::Held;
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PySystemExit};
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple};

/// What a coroutine did when it was resumed.
enum Resumed<'py> {
    Yielded(Bound<'py, PyAny>),
    Returned(Bound<'py, PyAny>),
    Raised(PyErr),
}

impl Task {
    /// One step, from the ready queue of its loop.
    ///
    /// # Errors
    /// `KeyboardInterrupt` and `SystemExit` out of the coroutine; the loop's exception handler gets the rest.
    #[inline]
    pub fn step(slf: &Bound<'_, Self>, core: &Bound<'_, LoopCore>) -> PyResult<()> {
        let context = slf.get().state.lock().context.as_ref().map(Held::as_ptr);
        let Some(context) = context else {
            return Err(PyRuntimeError::new_err("Task object is not initialized."));
        };
        // SAFETY: a task's context is one, or the interpreter says so; only the collector takes it from an unreachable task.
        let result = unsafe {
            if ffi::PyContext_Enter(context) != 0 {
                Err(PyErr::fetch(slf.py()))
            } else {
                let result = Self::step_in_context(slf);
                if ffi::PyContext_Exit(context) != 0 {
                    result.and(Err(PyErr::fetch(slf.py())))
                } else {
                    result
                }
            }
        };
        match result {
            Ok(()) => Ok(()),
            Err(error) => report(slf, core, error),
        }
    }

    /// One step, in its context already.
    ///
    /// # Errors
    /// `KeyboardInterrupt` and `SystemExit` out of the coroutine; `RuntimeError` if another task runs; `InvalidStateError`
    /// if it has ended.
    pub(super) fn step_in_context(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let event_loop = slf.as_super().get().event_loop(py)?;
        current::enter(event_loop.as_ptr(), slf)?;
        stop::begin();
        let result = Self::advance(slf, &event_loop);
        // SAFETY: attached.
        unsafe { stop::forget() };
        let left = current::leave(event_loop.as_ptr(), slf);
        result.and(left)
    }

    /// The first step, now, in the middle of another task.
    pub(super) fn begin_now(slf: &Bound<'_, Self>, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let before = current::swap(py, event_loop.as_ptr(), slf.as_ptr())?;
        registry::link(slf);
        let context = slf.get().context(py);
        // SAFETY: as in `step`.
        let result = unsafe {
            if ffi::PyContext_Enter(context.as_ptr()) != 0 {
                Err(PyErr::fetch(py))
            } else {
                let result = Self::advance(slf, event_loop);
                if ffi::PyContext_Exit(context.as_ptr()) != 0 {
                    result.and(Err(PyErr::fetch(py)))
                } else {
                    result
                }
            }
        };
        current::swap(py, event_loop.as_ptr(), before.as_ptr())?;
        if slf.as_super().get().is_done() {
            let coro = slf.get().state.lock().coro.take();
            drop(coro);
        }
        result
    }

    /// Resumes the coroutine, as the current task.
    fn advance(slf: &Bound<'_, Self>, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let future = slf.as_super();
        if future.get().is_done() {
            let text = format!("__step(): already done: {}", slf.repr()?);
            return Err(invalid_state(py, text));
        }
        let mut state = slf.get().state.lock();
        let waited_for = state.waits_for.take();
        let mut thrown = state.thrown.take();
        let must_cancel = std::mem::take(&mut state.must_cancel);
        // A reference of our own: `__init__` may be called again by the coroutine itself.
        let coro = state.coro.as_ref().map(|coro| coro.clone_ref(py));
        drop(state);
        let Some(coro) = coro else {
            return Err(PyRuntimeError::new_err("Task object is not initialized."));
        };
        if let Some(waited_for) = waited_for {
            if thrown.is_none() {
                thrown = failure(waited_for.bind(py).as_any())?;
            }
            drop(waited_for);
        }
        if must_cancel {
            let cancelled = cancelled_error(py)?;
            let is_one = match &thrown {
                Some(thrown) => thrown.bind(py).is_instance(cancelled)?,
                None => false,
            };
            if !is_one {
                thrown = Some(value(py, Future::make_cancelled(future)?));
            }
        }
        let resumed = match thrown {
            None => send(py, coro.as_ptr()),
            Some(thrown) => throw(coro.bind(py).as_any(), &thrown),
        };
        match resumed {
            Resumed::Yielded(yielded) => Self::wait_for(slf, event_loop, yielded),
            Resumed::Returned(result) => Self::returned(slf, result),
            Resumed::Raised(error) => Self::raised(slf, error),
        }
    }

    #[inline]
    fn returned(slf: &Bound<'_, Self>, result: Bound<'_, PyAny>) -> PyResult<()> {
        registry::unlink(slf.get());
        let future = slf.as_super();
        if std::mem::take(&mut slf.get().state.lock().must_cancel) {
            // Cancelled just before it came to its end.
            return Future::end(future, Phase::Cancelled, None, false);
        }
        Future::end(future, Phase::Finished, Some(result.into()), false)
    }

    #[cold]
    fn raised(slf: &Bound<'_, Self>, error: PyErr) -> PyResult<()> {
        let py = slf.py();
        registry::unlink(slf.get());
        let future = slf.as_super();
        if error.matches(py, cancelled_error(py)?)? {
            future.get().keep_cancelled(value(py, error));
            // The message was for that exception; whoever asks again gets one without.
            let message = future.get().state.lock().message.take();
            drop(message);
            return Future::end(future, Phase::Cancelled, None, false);
        }
        let fatal = is_fatal(py, &error);
        let exception = error.clone_ref(py).into_value(py).into_bound(py).into_any();
        Future::fail_with(future, exception)?;
        if fatal { Err(error) } else { Ok(()) }
    }

    /// The coroutine yielded.
    #[inline]
    fn wait_for(
        slf: &Bound<'_, Self>,
        event_loop: &Bound<'_, PyAny>,
        yielded: Bound<'_, PyAny>,
    ) -> PyResult<()> {
        if yielded.is_none() {
            return Self::schedule(slf);
        }
        if !object::is_native(&yielded) {
            return Self::wait_for_foreign(slf, event_loop, yielded);
        }
        // SAFETY: a native future is one.
        let awaited = unsafe { yielded.cast_unchecked::<Future>() };
        let mut state = awaited.get().state.lock();
        let same = state
            .event_loop
            .as_ref()
            .is_some_and(|its| its.as_ptr() == event_loop.as_ptr());
        if !same || !state.blocking || yielded.as_ptr() == slf.as_ptr() {
            let blocking = state.blocking;
            drop(state);
            return Self::refuse(slf, &yielded, same, blocking);
        }
        state.blocking = false;
        drop(state);
        // `observe` comes first, as what it can raise leaves the task without anything to wait for.
        Future::observe(awaited, Observer::Task(slf.clone().unbind()))?;
        let mut state = slf.get().state.lock();
        let must_cancel = state.must_cancel;
        let old = state.waits_for.replace(yielded.clone().into());
        drop(state);
        drop(old);
        if must_cancel {
            return Self::cancel_what_it_waits_for(slf, &yielded);
        }
        Ok(())
    }

    /// It yielded what is no future of ours, or one whose class Python code derives.
    fn wait_for_foreign(
        slf: &Bound<'_, Self>,
        event_loop: &Bound<'_, PyAny>,
        yielded: Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = slf.py();
        let name = intern!(py, "_asyncio_future_blocking");
        let blocking = yielded.getattr_opt(name)?.filter(|blocking| !blocking.is_none());
        let Some(blocking) = blocking else {
            return Self::refuse_foreign(slf, &yielded);
        };
        let blocking = blocking.is_truthy()?;
        // As asyncio asks: futures of old have the attribute only.
        let its = match yielded.getattr_opt(intern!(py, "get_loop"))? {
            Some(get_loop) => get_loop.call0()?,
            None => yielded.getattr(intern!(py, "_loop"))?,
        };
        let same = its.is(event_loop);
        if !same || !blocking || yielded.is(slf) {
            return Self::refuse(slf, &yielded, same, blocking);
        }
        yielded.setattr(name, false)?;
        call_with_context(
            &yielded,
            intern!(py, "add_done_callback"),
            &wrapper::wakeup(slf)?,
            &slf.get().context(py),
        )?;
        let mut state = slf.get().state.lock();
        let must_cancel = state.must_cancel;
        let old = state.waits_for.replace(yielded.clone().into());
        drop(state);
        drop(old);
        if must_cancel {
            return Self::cancel_what_it_waits_for(slf, &yielded);
        }
        Ok(())
    }

    /// It was cancelled while it ran: so is what it waits for.
    #[cold]
    fn cancel_what_it_waits_for(slf: &Bound<'_, Self>, waits_for: &Bound<'_, PyAny>) -> PyResult<()> {
        let message = slf.as_super().get().message(slf.py());
        if pass_cancel(waits_for, message.as_ref())? {
            slf.get().state.lock().must_cancel = false;
        }
        Ok(())
    }

    /// It cannot wait for that future.
    #[cold]
    fn refuse(slf: &Bound<'_, Self>, yielded: &Bound<'_, PyAny>, same: bool, blocking: bool) -> PyResult<()> {
        let text = if yielded.is(slf) {
            format!("Task cannot await on itself: {}", slf.repr()?)
        } else if same {
            debug_assert!(!blocking, "there has to be a reason");
            format!(
                "yield was used instead of yield from in task {} with {}",
                slf.repr()?,
                yielded.repr()?
            )
        } else {
            format!(
                "Task {} got Future {} attached to a different loop",
                slf.repr()?,
                yielded.repr()?
            )
        };
        Self::throw_soon(slf, text)
    }

    /// It cannot wait for such a thing.
    #[cold]
    fn refuse_foreign(slf: &Bound<'_, Self>, yielded: &Bound<'_, PyAny>) -> PyResult<()> {
        // SAFETY: the object is alive.
        let generator = unsafe { ffi::PyGen_CheckExact(yielded.as_ptr()) } != 0;
        let text = if generator {
            format!(
                "yield was used instead of yield from for generator in task {} with {}",
                slf.repr()?,
                yielded.repr()?
            )
        } else {
            format!("Task got bad yield: {}", yielded.repr()?)
        };
        Self::throw_soon(slf, text)
    }

    fn throw_soon(slf: &Bound<'_, Self>, text: String) -> PyResult<()> {
        let error = value(slf.py(), PyRuntimeError::new_err(text));
        let old = slf.get().state.lock().thrown.replace(error);
        drop(old);
        Self::schedule(slf)
    }
}

/// The exception of an error.
fn value(py: Python<'_>, error: PyErr) -> Held {
    error.into_value(py).into_bound(py).into_any().into()
}

fn is_fatal(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyKeyboardInterrupt>(py) || error.is_instance_of::<PySystemExit>(py)
}

/// A step raised: that is the loop's.
#[cold]
fn report(task: &Bound<'_, Task>, core: &Bound<'_, LoopCore>, error: PyErr) -> PyResult<()> {
    let py = task.py();
    if is_fatal(py, &error) {
        return Err(error);
    }
    core.call_method1(
        intern!(py, "_native_callback_failed"),
        (task, error.into_value(py)),
    )?;
    Ok(())
}

/// The name of the one keyword.
pub(crate) fn context_name(py: Python<'_>) -> PyResult<&Bound<'_, PyTuple>> {
    static NAMES: PyOnceLock<Py<PyTuple>> = PyOnceLock::new();
    let names = NAMES.get_or_try_init(py, || {
        PyTuple::new(py, [intern!(py, "context")]).map(Bound::unbind)
    })?;
    Ok(names.bind(py))
}

/// `method(callback, context=context)` of `object`.
pub(crate) fn call_with_context<'py>(
    object: &Bound<'py, PyAny>,
    method: &Bound<'py, PyString>,
    callback: &Bound<'py, PyAny>,
    context: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = object.py();
    let args = [object.as_ptr(), callback.as_ptr(), context.as_ptr()];
    let names = context_name(py)?;
    // SAFETY: two positional arguments (the object among them) and one by name; all are alive.
    unsafe {
        let result = ffi::PyObject_VectorcallMethod(method.as_ptr(), args.as_ptr(), 2, names.as_ptr());
        Bound::from_owned_ptr_or_err(py, result)
    }
}

/// Cancels what a task waits for; whether that did anything.
pub(super) fn pass_cancel(waits_for: &Bound<'_, PyAny>, message: Option<&Py<PyAny>>) -> PyResult<bool> {
    let py = waits_for.py();
    if object::is_exact(waits_for.as_ptr()) {
        // SAFETY: it is one of ours.
        let future = unsafe { waits_for.cast_unchecked::<Future>() };
        return Future::cancel(future, message.map(|message| message.clone_ref(py)));
    }
    let keywords = PyDict::new(py);
    keywords.set_item(intern!(py, "msg"), message)?;
    waits_for
        .call_method(intern!(py, "cancel"), (), Some(&keywords))?
        .is_truthy()
}

/// What a future that has ended raises in who waited for it.
#[inline]
fn failure(waited_for: &Bound<'_, PyAny>) -> PyResult<Option<Held>> {
    let py = waited_for.py();
    let error = if object::is_native(waited_for) {
        // SAFETY: a native future is one.
        let future = unsafe { waited_for.cast_unchecked::<Future>() };
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
    Ok(error.map(|error| value(py, error)))
}

/// Resumes a coroutine.
#[inline]
fn send(py: Python<'_>, coro: *mut PyObject) -> Resumed<'_> {
    let mut result = std::ptr::null_mut();
    // SAFETY: attached, and the coroutine is alive; the result is owned; no exception is set at the end.
    unsafe {
        let resumed = match ffi::PyIter_Send(coro, ffi::Py_None(), &raw mut result) {
            ffi::PySendResult::PYGEN_NEXT => Resumed::Yielded(Bound::from_owned_ptr(py, result)),
            ffi::PySendResult::PYGEN_RETURN => Resumed::Returned(Bound::from_owned_ptr(py, result)),
            ffi::PySendResult::PYGEN_ERROR => Resumed::Raised(PyErr::fetch(py)),
        };
        stop::forget();
        resumed
    }
}

/// Raises in a coroutine.
#[cold]
fn throw<'py>(coro: &Bound<'py, PyAny>, thrown: &Held) -> Resumed<'py> {
    let py = coro.py();
    match coro.call_method1(intern!(py, "throw"), (thrown.bind(py),)) {
        Ok(yielded) => Resumed::Yielded(yielded),
        Err(error) if error.is_instance_of::<pyo3::exceptions::PyStopIteration>(py) => {
            match error.value(py).getattr(intern!(py, "value")) {
                Ok(value) => Resumed::Returned(value),
                Err(error) => Resumed::Raised(error),
            }
        }
        Err(error) => Resumed::Raised(error),
    }
}
