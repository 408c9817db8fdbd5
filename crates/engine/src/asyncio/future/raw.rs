//! The methods that are called for each future, as raw C definitions.
//!
//! What they do themselves drops no `Py<_>` and calls no Python code; all else goes to the methods of PyO3's making.

use super::{Future, Observer, Phase};
use crate::held::Held;
use crate::hot;
use pyo3::ffi::{self, PyMethodDef, PyObject};
use pyo3::prelude::*;

/// `set_result(result)`: of a future of our loop that nobody, or one task, waits for.
unsafe extern "C" fn set_result(slf: *mut PyObject, value: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Future, attached, with a live argument.
    unsafe {
        let state = hot::this::<Future>(slf).state.lock();
        let simple = matches!(state.first, None | Some(Observer::Task(_))) && state.rest.is_empty();
        let simple = simple && state.ours && state.phase == Phase::Pending;
        drop(state);
        if simple {
            let future = Borrowed::from_ptr(Python::assume_attached(), slf).cast_unchecked::<Future>();
            let ended = Future::end(&future, Phase::Finished, Some(Held::new(value)), false);
            return match ended {
                Ok(()) => hot::none(),
                Err(error) => hot::slow(|_| Err(error)),
            };
        }
        hot::slow(|py| {
            let future = Borrowed::from_ptr(py, slf).cast_unchecked::<Future>();
            let value = Borrowed::from_ptr(py, value).to_owned();
            Future::finish(&future, value.unbind()).map(|()| hot::none())
        })
    }
}

/// `result()`.
unsafe extern "C" fn result(slf: *mut PyObject, _none: *mut PyObject) -> *mut PyObject {
    // SAFETY: as above.
    unsafe {
        let state = hot::this::<Future>(slf).state.lock();
        if state.phase == Phase::Finished && !state.failed {
            let result = state.outcome.as_ref().map_or(ffi::Py_None(), Held::as_ptr);
            ffi::Py_INCREF(result);
            return result;
        }
        drop(state);
        hot::slow(|py| {
            let future = Borrowed::from_ptr(py, slf).cast_unchecked::<Future>();
            Future::result(&future).map(Py::into_ptr)
        })
    }
}

/// `done()`.
unsafe extern "C" fn done(slf: *mut PyObject, _none: *mut PyObject) -> *mut PyObject {
    // SAFETY: as above.
    hot::truth(unsafe { hot::this::<Future>(slf) }.is_done())
}

/// `cancelled()`.
unsafe extern "C" fn cancelled(slf: *mut PyObject, _none: *mut PyObject) -> *mut PyObject {
    // SAFETY: as above.
    hot::truth(unsafe { hot::this::<Future>(slf) }.is_cancelled())
}

/// `get_loop()`.
unsafe extern "C" fn get_loop(slf: *mut PyObject, _none: *mut PyObject) -> *mut PyObject {
    // SAFETY: as above.
    unsafe {
        let state = hot::this::<Future>(slf).state.lock();
        if let Some(event_loop) = &state.event_loop {
            ffi::Py_INCREF(event_loop.as_ptr());
            return event_loop.as_ptr();
        }
        drop(state);
        hot::slow(|py| {
            let future = Borrowed::from_ptr(py, slf).cast_unchecked::<Future>();
            future.get().event_loop(py).map(Bound::into_ptr)
        })
    }
}

/// What is put over PyO3's methods.
pub(super) fn methods() -> Vec<PyMethodDef> {
    vec![
        hot::one_arg(
            c"set_result",
            c"set_result($self, result, /)\n--\n\nEnds it with a result.",
            set_result,
        ),
        hot::no_args(
            c"result",
            c"result($self, /)\n--\n\nThe result; raises the exception, `CancelledError`, or `InvalidStateError` while it is pending.",
            result,
        ),
        hot::no_args(c"done", c"done($self, /)\n--\n\nWhether it has ended.", done),
        hot::no_args(c"cancelled", c"cancelled($self, /)\n--\n\nWhether it was cancelled.", cancelled),
        hot::no_args(c"get_loop", c"get_loop($self, /)\n--\n\nIts event loop.", get_loop),
    ]
}
