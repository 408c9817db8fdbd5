//! The raw methods: the fast path first, then the operation.

use super::hooks::Hooks;
use super::state::Queue;
use super::when::When;
use crate::hot::{self, Args};
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::IntoPyDict;

/// A borrowed argument, which may be null.
///
/// # Safety
/// `object` is null, or alive as long as the call; the thread is attached.
unsafe fn argument(py: Python<'_>, object: *mut PyObject) -> Option<Bound<'_, PyAny>> {
    // SAFETY: the caller's promise.
    unsafe { Bound::from_borrowed_ptr_or_opt(py, object) }
}

/// `self`, as PyO3 knows it.
///
/// # Safety
/// `slf` is a Queue, alive as long as the call; the thread is attached.
unsafe fn queue(py: Python<'_>, slf: *mut PyObject) -> Bound<'_, Queue> {
    // SAFETY: the caller's promise.
    unsafe { Bound::from_borrowed_ptr(py, slf).cast_into_unchecked() }
}

unsafe extern "C" fn put(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Queue, attached.
    unsafe {
        let args = Args::new(args, count, names);
        if let Some(item) = args.only()
            && hot::this::<Queue>(slf).put_at_once(item)
        {
            return hot::none();
        }
        hot::slow(|py| {
            let [item, block, timeout] = args.bind(py, "Queue.put", ["item", "block", "timeout"], 1)?;
            let (block, timeout) = (argument(py, block), argument(py, timeout));
            let (block, timeout) = (block.as_ref(), timeout.as_ref());
            if When::is_plain(block, timeout) && hot::this::<Queue>(slf).put_at_once(item) {
                return Ok(hot::none());
            }
            let item = Bound::from_borrowed_ptr(py, item);
            Queue::put(&queue(py, slf), &item, When::new(block, timeout))?;
            Ok(hot::none())
        })
    }
}

unsafe extern "C" fn put_nowait(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Queue, attached.
    unsafe {
        let this: &Queue = hot::this(slf);
        let args = Args::new(args, count, names);
        if let Some(item) = args.only()
            && !this.overridden().has(Hooks::PUT)
            && this.put_at_once(item)
        {
            return hot::none();
        }
        hot::slow(|py| {
            let [item] = args.bind(py, "Queue.put_nowait", ["item"], 1)?;
            let (slf, item) = (queue(py, slf), Bound::from_borrowed_ptr(py, item));
            if this.overridden().has(Hooks::PUT) {
                let no = [(intern!(py, "block"), false)].into_py_dict(py)?;
                return Ok(slf.call_method("put", (item,), Some(&no))?.into_ptr());
            }
            Queue::put(&slf, &item, When::NOW)?;
            Ok(hot::none())
        })
    }
}

unsafe extern "C" fn get(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Queue, attached.
    unsafe {
        let args = Args::new(args, count, names);
        if args.none()
            && let Some(item) = hot::this::<Queue>(slf).get_at_once()
        {
            return item.into_ptr();
        }
        hot::slow(|py| {
            let [block, timeout] = args.bind(py, "Queue.get", ["block", "timeout"], 0)?;
            let (block, timeout) = (argument(py, block), argument(py, timeout));
            let (block, timeout) = (block.as_ref(), timeout.as_ref());
            if When::is_plain(block, timeout)
                && let Some(item) = hot::this::<Queue>(slf).get_at_once()
            {
                return Ok(item.into_ptr());
            }
            Ok(Queue::get(&queue(py, slf), When::new(block, timeout))?.into_ptr())
        })
    }
}

unsafe extern "C" fn get_nowait(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Queue, attached.
    unsafe {
        let this: &Queue = hot::this(slf);
        if !this.overridden().has(Hooks::GET)
            && let Some(item) = this.get_at_once()
        {
            return item.into_ptr();
        }
        hot::slow(|py| {
            let slf = queue(py, slf);
            if this.overridden().has(Hooks::GET) {
                let no = [(intern!(py, "block"), false)].into_py_dict(py)?;
                return Ok(slf.call_method("get", (), Some(&no))?.into_ptr());
            }
            Ok(Queue::get(&slf, When::NOW)?.into_ptr())
        })
    }
}

unsafe extern "C" fn task_done(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Queue, attached.
    unsafe {
        if hot::this::<Queue>(slf).task_done_at_once() {
            return hot::none();
        }
        hot::slow(|py| {
            Queue::task_done(&queue(py, slf))?;
            Ok(hot::none())
        })
    }
}

unsafe extern "C" fn join(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Queue, attached.
    unsafe {
        hot::slow(|py| {
            Queue::join(&queue(py, slf))?;
            Ok(hot::none())
        })
    }
}

unsafe extern "C" fn qsize(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Queue, attached.
    unsafe {
        if let Some(len) = hot::this::<Queue>(slf).len_at_once() {
            return ffi::PyLong_FromSize_t(len);
        }
        hot::slow(|py| Ok(Queue::qsize(&queue(py, slf))?.into_ptr()))
    }
}

unsafe extern "C" fn empty(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Queue, attached.
    unsafe {
        if let Some(len) = hot::this::<Queue>(slf).len_at_once() {
            return hot::truth(len == 0);
        }
        hot::slow(|py| Queue::empty(&queue(py, slf)).map(hot::truth))
    }
}

/// Puts the raw methods over the class.
///
/// # Errors
/// As [`hot::install`].
pub fn install(py: Python<'_>) -> PyResult<()> {
    hot::install(
        &py.get_type::<Queue>(),
        vec![
            hot::fast(
                c"put",
                c"put($self, /, item, block=True, timeout=None)\n--\n\nAdds item, waiting for a free place, timeout seconds at most; Full if there was none. ShutDown after shutdown().",
                put,
            ),
            hot::fast(
                c"put_nowait",
                c"put_nowait($self, /, item)\n--\n\nAdds item; Full if there is no free place.",
                put_nowait,
            ),
            hot::fast(
                c"get",
                c"get($self, /, block=True, timeout=None)\n--\n\nTakes an item, waiting for one, timeout seconds at most; Empty if there was none. ShutDown after shutdown() once empty.",
                get,
            ),
            hot::no_args(
                c"get_nowait",
                c"get_nowait($self, /)\n--\n\nTakes an item; Empty if there is none.",
                get_nowait,
            ),
            hot::no_args(
                c"task_done",
                c"task_done($self, /)\n--\n\nSays that an item that was taken is done; ValueError if all were.",
                task_done,
            ),
            hot::no_args(
                c"join",
                c"join($self, /)\n--\n\nWaits until every item that was put is done.",
                join,
            ),
            hot::no_args(
                c"qsize",
                c"qsize($self, /)\n--\n\nHow many items there are now.",
                qsize,
            ),
            hot::no_args(c"empty", c"empty($self, /)\n--\n\nWhether there is no item now.", empty),
        ],
    )
}
