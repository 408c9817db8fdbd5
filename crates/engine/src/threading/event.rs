//! `Event`, as `threading.Event`.

use crate::asyncio::await_::Await;
use crate::deadlock::Anyone;
use crate::door;
use crate::held::Held;
use crate::hot::{self, Args};
use crate::limit::Limit;
use crate::task::{SiteOp, TaskWait, ready};
use plait_core::EventWord;
use pyo3::exceptions::PyDeprecationWarning;
use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// A flag to wait for. `set()` wakes all that wait, `clear()` lowers it, `wait(timeout=None)` returns whether it was set.
/// Can be awaited in a task of any running event loop.
#[pyclass(frozen, subclass, dict, weakref, module = "threading")]
#[derive(Debug, Default)]
pub struct Event {
    pub word: EventWord,
}

impl Event {
    fn wait_with(&self, py: Python<'_>, object: *mut PyObject, args: Args) -> PyResult<bool> {
        let [timeout] = args.bind(py, "Event.wait", ["timeout"], 0)?;
        if self.word.is_set() {
            return Ok(true);
        }
        // SAFETY: a bound argument is borrowed from the caller.
        let timeout = unsafe { Bound::from_borrowed_ptr_or_opt(py, timeout) };
        match Limit::from_timeout(timeout.as_ref())? {
            Limit::Now => Ok(self.word.is_set()),
            limit => door::wait(
                py,
                &self.word,
                limit,
                &Anyone {
                    object,
                    action: "wait for",
                },
            ),
        }
    }
}

unsafe extern "C" fn set(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on an Event, attached.
    unsafe { hot::this::<Event>(slf) }.word.set();
    hot::none()
}

unsafe extern "C" fn clear(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on an Event, attached.
    unsafe { hot::this::<Event>(slf) }.word.clear();
    hot::none()
}

unsafe extern "C" fn is_set(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on an Event, attached.
    hot::truth(unsafe { hot::this::<Event>(slf) }.word.is_set())
}

unsafe extern "C" fn wait(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on an Event, attached.
    unsafe {
        let this: &Event = hot::this(slf);
        let args = Args::new(args, count, names);
        if args.none() && this.word.is_set() {
            return hot::truth(true);
        }
        hot::slow(|py| this.wait_with(py, slf, args).map(hot::truth))
    }
}

fn awaitable(py: Python<'_>, event: Held) -> PyResult<Bound<'_, Await>> {
    let site = |object| {
        // SAFETY: `object` is the Event that the awaitable keeps alive.
        &unsafe { hot::this::<Event>(object) }.word
    };
    // SAFETY: as above.
    let try_now = |object| unsafe { hot::this::<Event>(object) }.word.is_set();
    TaskWait::create(
        py,
        SiteOp {
            object: event,
            try_now,
            site,
        },
    )
}

unsafe extern "C" fn wait_async(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on an Event, attached.
    unsafe {
        if hot::this::<Event>(slf).word.is_set() {
            return ready::already();
        }
        hot::slow(|py| Ok(awaitable(py, Held::new(slf))?.into_ptr()))
    }
}

#[pymethods]
impl Event {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "()")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyAny>>) -> Self {
        Self::default()
    }

    fn __init__(slf: &Bound<'_, Self>) {
        hot::defer_refcount(slf.as_ptr());
    }

    /// The old name of is_set().
    #[expect(non_snake_case, reason = "the standard library's name")]
    fn isSet(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let category = slf.py().get_type::<PyDeprecationWarning>();
        PyErr::warn(
            slf.py(),
            &category,
            c"isSet() is deprecated, use is_set() instead",
            1,
        )?;
        Ok(slf.get().word.is_set())
    }

    /// `await event` is `await event.wait_async()`.
    fn __await__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Await>> {
        awaitable(slf.py(), slf.as_any().clone().into())
    }

    #[getter]
    fn _flag(&self) -> bool {
        self.word.is_set()
    }

    /// Forgets those that waited, in a child after a fork.
    fn _at_fork_reinit(&self) {
        self.word.reset();
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        super::repr(slf, if slf.get().word.is_set() { "set" } else { "unset" })
    }
}

/// Puts the raw methods over the class.
///
/// # Errors
/// As [`hot::install`].
pub fn init(py: Python<'_>) -> PyResult<()> {
    hot::install(
        &py.get_type::<Event>(),
        vec![
            hot::no_args(c"set", c"set($self, /)\n--\n\nRaises the flag and wakes all that wait.", set),
            hot::no_args(
                c"wait_async",
                c"wait_async($self, /)\n--\n\nWaits for the flag in a task: `await event.wait_async()` is True. A flag that is up is seen at the call.",
                wait_async,
            ),
            hot::no_args(c"clear", c"clear($self, /)\n--\n\nLowers the flag.", clear),
            hot::no_args(c"is_set", c"is_set($self, /)\n--\n\nWhether the flag is up.", is_set),
            hot::fast(
                c"wait",
                c"wait($self, /, timeout=None)\n--\n\nWaits for the flag, for timeout seconds at most. Whether it was set.",
                wait,
            ),
        ],
    )
}
