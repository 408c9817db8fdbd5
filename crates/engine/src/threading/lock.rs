//! `Lock` and `RLock`, with the owner recorded.
//!
//! Behaviour as `_thread.lock` and `_thread.RLock`. A Lock may be released by anyone.

use crate::deadlock::Reason;
use crate::door;
use crate::held::Held;
use crate::hot::{self, Args};
use crate::limit::Limit;
use crate::task::{self, SiteOp, TaskWait};
use plait_core::LockWord;
use plait_core::graph::Wait;
use plait_core::lock::Acquire;
use pyo3::exceptions::{PyDeprecationWarning, PyRuntimeError};
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyTuple, PyType};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A mutual exclusion lock. `Lock()` is free; `acquire(blocking=True, timeout=-1)` takes it, `release()` frees it,
/// whoever took it. Can be used by `with`, and by `async with` in a task of any running event loop.
#[pyclass(frozen, weakref, module = "plait.threading")]
#[derive(Debug, Default)]
pub struct Lock {
    pub word: LockWord,
}

/// A lock that its owner may take again. `acquire(blocking=True, timeout=-1)` and `release()` nest.
#[pyclass(frozen, weakref, subclass, module = "plait.threading")]
#[derive(Debug, Default)]
pub struct RLock {
    pub word: LockWord,
    /// How often the owner has taken it: touched by the owner only.
    pub count: AtomicUsize,
}

/// Why a thread waits for a lock.
#[derive(Debug)]
pub struct Owned<'a> {
    pub object: *mut PyObject,
    pub word: &'a LockWord,
    /// Whether only the owner can release it.
    pub owner_only: bool,
}

impl Reason for Owned<'_> {
    fn object(&self) -> *mut PyObject {
        self.object
    }

    fn action(&self) -> &'static str {
        "acquire"
    }

    fn resolvers(&self) -> Wait {
        let owner = self.word.owner();
        Wait {
            resolvers: if owner == 0 { Vec::new() } else { vec![owner] },
            only_these: self.owner_only,
        }
    }
}

/// Binds `acquire(blocking=True, timeout=-1)`; anything odd is raised by the standard library's own lock.
fn acquire_limit(py: Python<'_>, args: Args) -> PyResult<Limit> {
    let Ok([blocking, timeout]) = args.bind(py, "acquire", ["blocking", "timeout"], 0) else {
        args.forward(&crate::limit::stdlib_lock(py)?.getattr("acquire")?)?;
        return Ok(Limit::Never);
    };
    // SAFETY: bound arguments are borrowed from the caller.
    let (blocking, timeout) = unsafe {
        (
            Bound::from_borrowed_ptr_or_opt(py, blocking),
            Bound::from_borrowed_ptr_or_opt(py, timeout),
        )
    };
    let blocking = match &blocking {
        None => true,
        Some(flag) => match flag.cast::<PyBool>() {
            Ok(flag) => flag.is_true(),
            Err(_) => {
                args.forward(&crate::limit::stdlib_lock(py)?.getattr("acquire")?)?;
                flag.is_truthy()?
            }
        },
    };
    match timeout {
        None if blocking => Ok(Limit::Never),
        None => Ok(Limit::Now),
        Some(timeout) => Limit::from_lock_arguments(blocking, &timeout),
    }
}

impl Lock {
    /// Takes the lock through the door.
    ///
    /// # Errors
    /// As [`door::wait`].
    pub fn acquire(&self, py: Python<'_>, object: *mut PyObject, limit: Limit) -> PyResult<bool> {
        let me = door::ident();
        if self.word.try_acquire(me) {
            return Ok(true);
        }
        if limit == Limit::Now {
            return Ok(false);
        }
        let reason = Owned {
            object,
            word: &self.word,
            owner_only: false,
        };
        door::wait(py, &Acquire { lock: &self.word, me }, limit, &reason)
    }
}

fn release_unlocked() -> PyErr {
    PyRuntimeError::new_err("release unlocked lock")
}

unsafe extern "C" fn lock_acquire(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Lock, attached.
    unsafe {
        let lock: &Lock = hot::this(slf);
        let args = Args::new(args, count, names);
        if args.none() && lock.word.try_acquire(door::ident()) {
            return hot::truth(true);
        }
        hot::slow(|py| {
            let limit = acquire_limit(py, args)?;
            lock.acquire(py, slf, limit).map(hot::truth)
        })
    }
}

unsafe extern "C" fn lock_enter(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Lock, attached.
    unsafe {
        let lock: &Lock = hot::this(slf);
        if lock.word.try_acquire(door::ident()) {
            return hot::truth(true);
        }
        hot::slow(|py| lock.acquire(py, slf, Limit::Never).map(hot::truth))
    }
}

unsafe extern "C" fn lock_release(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Lock, attached.
    unsafe {
        let lock: &Lock = hot::this(slf);
        if lock.word.release() {
            return hot::none();
        }
        hot::slow(|_| Err(release_unlocked()))
    }
}

unsafe extern "C" fn lock_exit(
    slf: *mut PyObject,
    _args: *const *mut PyObject,
    _count: isize,
    _names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Lock, attached.
    unsafe { lock_release(slf, std::ptr::null_mut()) }
}

unsafe extern "C" fn lock_aenter(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Lock, attached.
    unsafe {
        let lock: &Lock = hot::this(slf);
        if lock.word.try_acquire(door::ident()) {
            return task::ready();
        }
        hot::slow(|py| Ok(acquire_async(py, slf)?.into_ptr()))
    }
}

unsafe extern "C" fn lock_aexit(
    slf: *mut PyObject,
    _args: *const *mut PyObject,
    _count: isize,
    _names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Lock, attached.
    unsafe {
        let lock: &Lock = hot::this(slf);
        if lock.word.release() {
            return task::ready();
        }
        hot::slow(|_| Err(release_unlocked()))
    }
}

/// The lock's word, for a task of the calling thread.
fn word_of<'a>(object: *mut PyObject) -> Acquire<'a> {
    // SAFETY: only called with a Lock that the awaitable keeps alive.
    let lock = unsafe { hot::this::<Lock>(object) };
    Acquire {
        lock: &lock.word,
        me: door::ident(),
    }
}

/// # Safety
/// `object` is a Lock.
unsafe fn acquire_async(py: Python<'_>, object: *mut PyObject) -> PyResult<Bound<'_, TaskWait>> {
    // SAFETY: the caller's promise.
    let object = unsafe { Held::new(object) };
    let try_now = |object| {
        let site = word_of(object);
        site.lock.try_acquire(site.me)
    };
    TaskWait::create(
        py,
        SiteOp {
            object,
            try_now,
            site: word_of,
        },
    )
}

fn repr(slf: &Bound<'_, PyAny>, state: &str, rest: &str) -> PyResult<String> {
    let class = slf.get_type();
    let (module, name) = (class.getattr("__module__")?, class.qualname()?);
    Ok(format!(
        "<{state} {module}.{name} object{rest} at {:#x}>",
        slf.as_ptr() as usize
    ))
}

#[pymethods]
impl Lock {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Whether somebody has it.
    fn locked(&self) -> bool {
        self.word.owner() != 0
    }

    /// An obsolete name of `locked()`.
    fn locked_lock(&self) -> bool {
        self.locked()
    }

    /// Takes the lock in a task: `await lock.acquire_async()` is True. Ends with whatever cancels the task.
    fn acquire_async<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, TaskWait>> {
        // SAFETY: `slf` is a Lock.
        unsafe { acquire_async(slf.py(), slf.as_ptr()) }
    }

    /// Makes it free, in a child after a fork.
    fn _at_fork_reinit(&self) {
        self.word.reset();
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let state = if slf.get().locked() { "locked" } else { "unlocked" };
        repr(slf, state, "")
    }
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

unsafe extern "C" fn rlock_acquire(
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

unsafe extern "C" fn rlock_enter(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on an RLock, attached.
    unsafe {
        let lock: &RLock = hot::this(slf);
        if lock.try_acquire(door::ident()) {
            return hot::truth(true);
        }
        hot::slow(|py| lock.acquire(py, slf, Limit::Never).map(hot::truth))
    }
}

unsafe extern "C" fn rlock_release(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on an RLock, attached.
    unsafe {
        let lock: &RLock = hot::this(slf);
        if lock.release(door::ident()) {
            return hot::none();
        }
        hot::slow(|_| Err(not_owned()))
    }
}

unsafe extern "C" fn rlock_exit(
    slf: *mut PyObject,
    _args: *const *mut PyObject,
    _count: isize,
    _names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on an RLock, attached.
    unsafe { rlock_release(slf, std::ptr::null_mut()) }
}

#[pymethods]
impl RLock {
    /// Arguments are for subclasses; from 3.13 on RLock itself warns of them, as `threading.RLock` does.
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
        if cfg!(Py_3_13) && given && class.is(py.get_type::<Self>()) {
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

/// Puts the raw methods over the classes.
///
/// # Errors
/// As [`hot::install`].
pub fn init(py: Python<'_>) -> PyResult<()> {
    hot::install(
        &py.get_type::<Lock>(),
        vec![
            hot::fast(c"acquire", c"acquire($self, /, blocking=True, timeout=-1)\n--\n\nTakes the lock, as threading.Lock.acquire; timeout in seconds, -1 for ever. True if taken.", lock_acquire),
            hot::no_args(c"release", c"release($self, /)\n--\n\nFrees the lock; RuntimeError if it is free.", lock_release),
            hot::fast(c"acquire_lock", c"acquire_lock($self, /, blocking=True, timeout=-1)\n--\n\nAn obsolete name of acquire().", lock_acquire),
            hot::no_args(c"release_lock", c"release_lock($self, /)\n--\n\nAn obsolete name of release().", lock_release),
            hot::no_args(c"__enter__", c"__enter__($self, /)\n--\n\nTakes the lock.", lock_enter),
            hot::fast(c"__exit__", c"__exit__($self, /, *exc_info)\n--\n\nFrees the lock.", lock_exit),
            hot::no_args(c"__aenter__", c"__aenter__($self, /)\n--\n\nTakes the lock in a task.", lock_aenter),
            hot::fast(c"__aexit__", c"__aexit__($self, /, *exc_info)\n--\n\nFrees the lock.", lock_aexit),
        ],
    )?;
    hot::install(
        &py.get_type::<RLock>(),
        vec![
            hot::fast(c"acquire", c"acquire($self, /, blocking=True, timeout=-1)\n--\n\nTakes the lock, as threading.RLock.acquire; timeout in seconds, -1 for ever. True if taken.", rlock_acquire),
            hot::no_args(c"release", c"release($self, /)\n--\n\nFrees the lock once; RuntimeError if it is not this thread's.", rlock_release),
            hot::no_args(c"__enter__", c"__enter__($self, /)\n--\n\nTakes the lock.", rlock_enter),
            hot::fast(c"__exit__", c"__exit__($self, /, *exc_info)\n--\n\nFrees the lock once.", rlock_exit),
        ],
    )
}

const _: () = {
    // The owner's ident is stored beside a flag in one word.
    assert!(
        size_of::<libc::pthread_t>() == size_of::<usize>()
            && size_of::<ffi::Py_ssize_t>() == size_of::<usize>()
    );
};
