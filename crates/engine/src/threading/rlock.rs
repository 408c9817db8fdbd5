//! `RLock`, a lock that its owner may take again.
//!
//! Behaviour as `_thread.RLock`. The count is touched by the owner only.

use super::lock::{Owned, acquire_limit, repr};
use crate::door;
use crate::hot::{self, Args};
use crate::limit::Limit;
use plait_core::LockWord;
use plait_core::lock::Acquire;
use pyo3::exceptions::{PyDeprecationWarning, PyRuntimeError, PyTypeError};
use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A lock that its owner may take again. `acquire(blocking=True, timeout=-1)` and `release()` nest.
#[pyclass(frozen, weakref, subclass, module = "plait.threading")]
#[derive(Debug, Default)]
pub struct RLock {
    pub word: LockWord,
    /// How often the owner has taken it: touched by the owner only.
    pub count: AtomicUsize,
}

impl RLock {
    /// Takes the lock through the door.
    ///
    /// # Errors
    /// As [`door::wait`].
    pub fn acquire(&self, py: Python<'_>, object: *mut PyObject, limit: Limit) -> PyResult<bool> {
        let me = door::ident();
        if self.try_acquire(me) {
            return Ok(true);
        }
        if limit == Limit::Now {
            return Ok(false);
        }
        let reason = Owned {
            object,
            word: &self.word,
            owner_only: true,
        };
        let taken = door::wait(py, &Acquire { lock: &self.word, me }, limit, &reason)?;
        if taken {
            self.count.store(1, Ordering::Relaxed);
        }
        Ok(taken)
    }

    /// Takes the lock if it is free or ours.
    #[inline]
    pub fn try_acquire(&self, me: usize) -> bool {
        if self.word.owner() == me {
            self.count
                .store(self.count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            return true;
        }
        if self.word.try_acquire(me) {
            self.count.store(1, Ordering::Relaxed);
            return true;
        }
        false
    }

    /// Releases it once. False if it is not ours.
    #[inline]
    #[must_use]
    pub fn release(&self, me: usize) -> bool {
        if self.word.owner() != me {
            return false;
        }
        let count = self.count.load(Ordering::Relaxed) - 1;
        self.count.store(count, Ordering::Relaxed);
        count > 0 || self.word.release()
    }

    /// Releases it altogether and returns how often it was taken; None if it is not ours.
    #[must_use]
    pub fn release_all(&self, me: usize) -> Option<usize> {
        if self.word.owner() != me {
            return None;
        }
        let count = self.count.swap(0, Ordering::Relaxed);
        self.word.release().then_some(count)
    }

    /// Whether this thread owns it.
    #[inline]
    #[must_use]
    pub fn is_mine(&self) -> bool {
        self.word.owner() == door::ident()
    }
}

fn not_owned() -> PyErr {
    PyRuntimeError::new_err("cannot release un-acquired lock")
}

unsafe extern "C" fn acquire(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on an RLock, attached.
    unsafe {
        let lock: &RLock = hot::this(slf);
        let args = Args::new(args, count, names);
        if args.none() && lock.try_acquire(door::ident()) {
            return hot::truth(true);
        }
        hot::slow(|py| {
            let limit = acquire_limit(py, args)?;
            lock.acquire(py, slf, limit).map(hot::truth)
        })
    }
}

unsafe extern "C" fn enter(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on an RLock, attached.
    unsafe {
        let lock: &RLock = hot::this(slf);
        if lock.try_acquire(door::ident()) {
            return hot::truth(true);
        }
        hot::slow(|py| lock.acquire(py, slf, Limit::Never).map(hot::truth))
    }
}

unsafe extern "C" fn release(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on an RLock, attached.
    unsafe {
        let lock: &RLock = hot::this(slf);
        if lock.release(door::ident()) {
            return hot::none();
        }
        hot::slow(|_| Err(not_owned()))
    }
}

unsafe extern "C" fn exit(
    slf: *mut PyObject,
    _args: *const *mut PyObject,
    _count: isize,
    _names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on an RLock, attached.
    unsafe { release(slf, std::ptr::null_mut()) }
}

#[pymethods]
impl RLock {
    /// Arguments are for subclasses; from 3.13 on RLock itself warns of them, and from 3.15 on refuses them, as `threading.RLock` does.
    #[new]
    #[classmethod]
    #[pyo3(signature = (*args, **kwargs), text_signature = "(*args, **kwargs)")]
    fn new(
        class: &Bound<'_, PyType>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let py = class.py();
        let given = !args.is_empty() || kwargs.is_some_and(|kwargs| !kwargs.is_empty());
        let plain = given && class.is(py.get_type::<Self>());
        if cfg!(Py_3_15) && plain {
            return Err(PyTypeError::new_err("RLock() takes no arguments"));
        }
        if cfg!(Py_3_13) && plain {
            let text = c"Passing arguments to RLock is deprecated and will be removed in 3.15";
            PyErr::warn(py, &py.get_type::<PyDeprecationWarning>(), text, 1)?;
        }
        Ok(Self::default())
    }

    /// Whether somebody has it. (From 3.14 on a public name.)
    fn locked(&self) -> bool {
        self.word.owner() != 0
    }

    fn _is_owned(&self) -> bool {
        self.is_mine()
    }

    fn _recursion_count(&self) -> usize {
        if self.is_mine() {
            self.count.load(Ordering::Relaxed)
        } else {
            0
        }
    }

    fn _release_save(&self) -> PyResult<(usize, usize)> {
        self.release_all(door::ident())
            .map(|count| (count, door::ident()))
            .ok_or_else(not_owned)
    }

    fn _acquire_restore(slf: &Bound<'_, Self>, state: (usize, usize)) -> PyResult<()> {
        let lock = slf.get();
        lock.acquire(slf.py(), slf.as_ptr(), Limit::Never)?;
        lock.count.store(state.0, Ordering::Relaxed);
        Ok(())
    }

    /// Makes it free, in a child after a fork.
    fn _at_fork_reinit(&self) {
        self.count.store(0, Ordering::Relaxed);
        self.word.reset();
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let lock = slf.get();
        let owner = lock.word.owner();
        let state = if owner == 0 { "unlocked" } else { "locked" };
        let count = if owner == 0 {
            0
        } else {
            lock.count.load(Ordering::Relaxed)
        };
        repr(slf, state, &format!(" owner={owner} count={count}"))
    }
}

/// Puts the raw methods over the class.
///
/// # Errors
/// As [`hot::install`].
pub fn init(py: Python<'_>) -> PyResult<()> {
    hot::install(
        &py.get_type::<RLock>(),
        vec![
            hot::fast(c"acquire", c"acquire($self, /, blocking=True, timeout=-1)\n--\n\nTakes the lock, as threading.RLock.acquire; timeout in seconds, -1 for ever. True if taken.", acquire),
            hot::no_args(c"release", c"release($self, /)\n--\n\nFrees the lock once; RuntimeError if it is not this thread's.", release),
            hot::no_args(c"__enter__", c"__enter__($self, /)\n--\n\nTakes the lock.", enter),
            hot::fast(c"__exit__", c"__exit__($self, /, *exc_info)\n--\n\nFrees the lock once.", exit),
        ],
    )
}
