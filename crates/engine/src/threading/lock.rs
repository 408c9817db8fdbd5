//! `Lock`, with the owner recorded, and what it shares with [`RLock`](super::rlock::RLock).
//!
//! Behaviour as `_thread.lock`. A Lock may be released by anyone.

use crate::asyncio::await_::Await;
use crate::deadlock::Reason;
use crate::door;
use crate::held::Held;
use crate::hot::{self, Args};
use crate::limit::Limit;
use crate::task::{SiteOp, TaskWait, ready};
use plait_core::LockWord;
use plait_core::graph::Wait;
use plait_core::lock::Acquire;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyBool;

/// A mutual exclusion lock. `Lock()` is free; `acquire(blocking=True, timeout=-1)` takes it, `release()` frees it,
/// whoever took it. Can be used by `with`, and by `async with` in a task of any running event loop.
#[pyclass(frozen, weakref, module = "plait.threading")]
#[derive(Debug, Default)]
pub struct Lock {
    pub word: LockWord,
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
pub(super) fn acquire_limit(py: Python<'_>, args: Args) -> PyResult<Limit> {
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

unsafe extern "C" fn acquire(
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

unsafe extern "C" fn enter(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Lock, attached.
    unsafe {
        let lock: &Lock = hot::this(slf);
        if lock.word.try_acquire(door::ident()) {
            return hot::truth(true);
        }
        hot::slow(|py| lock.acquire(py, slf, Limit::Never).map(hot::truth))
    }
}

unsafe extern "C" fn release(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Lock, attached.
    unsafe {
        let lock: &Lock = hot::this(slf);
        if lock.word.release() {
            return hot::none();
        }
        hot::slow(|_| Err(release_unlocked()))
    }
}

unsafe extern "C" fn exit(
    slf: *mut PyObject,
    _args: *const *mut PyObject,
    _count: isize,
    _names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Lock, attached.
    unsafe { release(slf, std::ptr::null_mut()) }
}

unsafe extern "C" fn lock_aenter(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Lock, attached.
    unsafe {
        let lock: &Lock = hot::this(slf);
        if lock.word.try_acquire(door::ident()) {
            return ready::ready();
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
            return ready::ready();
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
unsafe fn acquire_async(py: Python<'_>, object: *mut PyObject) -> PyResult<Bound<'_, Await>> {
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

pub(super) fn repr(slf: &Bound<'_, PyAny>, state: &str, rest: &str) -> PyResult<String> {
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
    fn acquire_async<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Await>> {
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

/// Puts the raw methods over the classes.
///
/// # Errors
/// As [`hot::install`].
pub fn init(py: Python<'_>) -> PyResult<()> {
    hot::install(
        &py.get_type::<Lock>(),
        vec![
            hot::fast(c"acquire", c"acquire($self, /, blocking=True, timeout=-1)\n--\n\nTakes the lock, as threading.Lock.acquire; timeout in seconds, -1 for ever. True if taken.", acquire),
            hot::no_args(c"release", c"release($self, /)\n--\n\nFrees the lock; RuntimeError if it is free.", release),
            hot::fast(c"acquire_lock", c"acquire_lock($self, /, blocking=True, timeout=-1)\n--\n\nAn obsolete name of acquire().", acquire),
            hot::no_args(c"release_lock", c"release_lock($self, /)\n--\n\nAn obsolete name of release().", release),
            hot::no_args(c"__enter__", c"__enter__($self, /)\n--\n\nTakes the lock.", enter),
            hot::fast(c"__exit__", c"__exit__($self, /, *exc_info)\n--\n\nFrees the lock.", exit),
            hot::no_args(c"__aenter__", c"__aenter__($self, /)\n--\n\nTakes the lock in a task.", lock_aenter),
            hot::fast(c"__aexit__", c"__aexit__($self, /, *exc_info)\n--\n\nFrees the lock.", lock_aexit),
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
