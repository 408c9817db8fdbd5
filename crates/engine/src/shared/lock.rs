//! `SemLock`: what `Lock`, `RLock`, `Semaphore` and `BoundedSemaphore` between processes stand on.
//!
//! Methods, arguments, errors and texts are those of `_multiprocessing.SemLock`. What differs: a lock whose holder dies is taken over by
//! the next one, and so are the permits of a semaphore whose holder was killed; `holder_died` says so to who has them now.

use super::{Lodging, waiting};
use crate::door;
use crate::hot::{self, Args};
use crate::limit::Limit;
use plait_core::Spin;
use plait_shared::life;
use plait_shared::lock::Lock;
use plait_shared::semaphore::{self, Semaphore, TooMany};
use pyo3::exceptions::{PyAssertionError, PyRuntimeError, PyValueError};
use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// Only the thread that has it may release it, and may take it again.
const RECURSIVE: u8 = 0;
/// A counter of permits.
const SEMAPHORE: u8 = 1;
/// A permit that anybody may release: a lock.
const LOCK: u8 = 2;
const UNKNOWN: u8 = 255;

/// A lock or a semaphore between processes; see the classes of `plait.multiprocessing.synchronize`.
#[pyclass(frozen, subclass, dict, weakref, module = "plait._engine")]
#[derive(Debug)]
pub struct SemLock {
    what: AtomicU8,
    lock: Lodging<Lock>,
    semaphore: Lodging<Semaphore>,
    /// What this process has done: which process that is (a forked child has done nothing), how often it has taken more than it has
    /// released, and which thread took last.
    who: AtomicU64,
    count: AtomicI32,
    thread: AtomicUsize,
    died: AtomicBool,
    spin: Spin,
}

impl SemLock {
    fn local_count(&self) -> i32 {
        if self.who.load(Ordering::Relaxed) == me() {
            self.count.load(Ordering::Relaxed)
        } else {
            0
        }
    }

    fn set_count(&self, count: i32) {
        self.who.store(me(), Ordering::Relaxed);
        self.count.store(count, Ordering::Relaxed);
    }

    #[inline]
    fn is_mine(&self) -> bool {
        self.thread.load(Ordering::Relaxed) == door::ident() && self.local_count() > 0
    }

    #[inline]
    fn taken(&self, died: bool) {
        let count = if self.what.load(Ordering::Relaxed) == SEMAPHORE {
            self.local_count() + 1
        } else {
            1
        };
        self.set_count(count);
        self.thread.store(door::ident(), Ordering::Relaxed);
        self.died.store(died, Ordering::Relaxed);
    }

    /// The fast path of a lock: true if it has been taken.
    #[inline]
    fn take_now(&self) -> bool {
        if self.what.load(Ordering::Relaxed) == SEMAPHORE {
            return false;
        }
        let Some(place) = self.lock.0.get() else {
            return false;
        };
        let taken = place.get().try_take();
        if taken {
            self.taken(false);
        }
        taken
    }

    /// Takes it.
    ///
    /// # Errors
    /// What a signal handler raised.
    pub fn acquire(&self, py: Python<'_>, limit: Limit) -> PyResult<bool> {
        let what = self.what.load(Ordering::Relaxed);
        if what == RECURSIVE && self.is_mine() {
            self.count.fetch_add(1, Ordering::Relaxed);
            return Ok(true);
        }
        let got = if what == SEMAPHORE {
            waiting::wait(py, &mut self.semaphore.get()?, limit, &self.spin)?
        } else {
            waiting::wait(py, &mut self.lock.get()?, limit, &self.spin)?
        };
        if let Some(died) = got {
            self.taken(died);
        }
        Ok(got.is_some())
    }

    fn acquire_with(&self, py: Python<'_>, args: Args) -> PyResult<bool> {
        let [block, timeout] = args.bind(py, "acquire", ["block", "timeout"], 0)?;
        // SAFETY: bound arguments are borrowed from the caller.
        let (block, timeout) = unsafe {
            (
                Bound::from_borrowed_ptr_or_opt(py, block),
                Bound::from_borrowed_ptr_or_opt(py, timeout),
            )
        };
        self.acquire(py, limit_of(block.as_ref(), timeout.as_ref())?)
    }

    /// Releases it once.
    ///
    /// # Errors
    /// `AssertionError` or `ValueError`, as `_multiprocessing.SemLock`'s.
    pub fn release_once(&self, py: Python<'_>) -> PyResult<()> {
        match self.what.load(Ordering::Relaxed) {
            SEMAPHORE => {
                let semaphore = self.semaphore.get()?;
                if waiting::insist(py, |patience| semaphore.release(patience))? == Err(TooMany) {
                    return Err(too_many());
                }
                self.set_count(self.local_count() - 1);
            }
            RECURSIVE => {
                if !self.is_mine() {
                    return Err(PyAssertionError::new_err(
                        "attempt to release recursive lock not owned by thread",
                    ));
                }
                let count = self.local_count();
                self.set_count(count - 1);
                if count == 1 {
                    let _was_taken: bool = self.lock.get()?.free();
                }
            }
            _ => {
                self.lock.get()?;
                if !self.free_lock() {
                    return Err(too_many());
                }
            }
        }
        Ok(())
    }

    /// Frees a lock, whoever holds it. False if nobody does.
    #[inline]
    fn free_lock(&self) -> bool {
        let Some(place) = self.lock.0.get() else {
            return false;
        };
        // Its own record first: as soon as it is free, another thread may write there.
        let mine = self.local_count();
        self.set_count(0);
        let was_taken = place.get().free();
        if !was_taken {
            self.set_count(mine);
        }
        was_taken
    }
}

#[inline]
fn me() -> u64 {
    life::me().word()
}

fn too_many() -> PyErr {
    PyValueError::new_err("semaphore or lock released too many times")
}

/// What `block` and `timeout` mean to multiprocessing: None waits for ever, less than 0 is 0.
///
/// # Errors
/// `TypeError` for what is no number.
pub(super) fn limit_of(
    block: Option<&Bound<'_, PyAny>>,
    timeout: Option<&Bound<'_, PyAny>>,
) -> PyResult<Limit> {
    if !block.map_or(Ok(true), |block| block.is_truthy())? {
        return Ok(Limit::Now);
    }
    match timeout.filter(|timeout| !timeout.is_none()) {
        None => Ok(Limit::Never),
        Some(timeout) => {
            let seconds: f64 = timeout.extract()?;
            Ok(if seconds > 0.0 {
                Limit::after(seconds)
            } else {
                Limit::Now
            })
        }
    }
}

unsafe extern "C" fn acquire(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a SemLock, attached.
    unsafe {
        let this: &SemLock = hot::this(slf);
        let args = Args::new(args, count, names);
        if args.none() && this.take_now() {
            return hot::truth(true);
        }
        hot::slow(|py| this.acquire_with(py, args).map(hot::truth))
    }
}

unsafe extern "C" fn enter(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a SemLock, attached.
    unsafe {
        let this: &SemLock = hot::this(slf);
        if this.take_now() {
            return hot::truth(true);
        }
        hot::slow(|py| this.acquire(py, Limit::Never).map(hot::truth))
    }
}

unsafe extern "C" fn release(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a SemLock, attached.
    unsafe {
        let this: &SemLock = hot::this(slf);
        if this.what.load(Ordering::Relaxed) == LOCK && this.free_lock() {
            return hot::none();
        }
        hot::slow(|py| this.release_once(py).map(|()| hot::none()))
    }
}

unsafe extern "C" fn exit(
    slf: *mut PyObject,
    _args: *const *mut PyObject,
    _count: isize,
    _names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a SemLock, attached.
    unsafe { release(slf, std::ptr::null_mut()) }
}

#[pymethods]
impl SemLock {
    /// The largest value of a semaphore.
    #[classattr]
    const SEM_VALUE_MAX: u32 = semaphore::MOST;

    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "()")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyAny>>) -> Self {
        Self {
            what: AtomicU8::new(UNKNOWN),
            lock: Lodging::new(),
            semaphore: Lodging::new(),
            who: AtomicU64::new(0),
            count: AtomicI32::new(0),
            thread: AtomicUsize::new(0),
            died: AtomicBool::new(false),
            spin: Spin::new(),
        }
    }

    /// Makes a new one: `what` 0 is a recursive lock, 1 a semaphore, 2 a lock.
    #[pyo3(signature = (what, value=1, most=1))]
    fn _create(&self, what: u8, value: i64, most: i64) -> PyResult<()> {
        let bad = || PyValueError::new_err("semaphore or lock value out of range");
        let (value, most) = (
            u32::try_from(value).map_err(|_| bad())?,
            u32::try_from(most).map_err(|_| bad())?,
        );
        if value > most || most > semaphore::MOST {
            return Err(bad());
        }
        match what {
            SEMAPHORE => self
                .semaphore
                .create(|semaphore: &Semaphore| semaphore.init(value, most))?,
            RECURSIVE | LOCK => self.lock.create(|_: &Lock| {})?,
            _ => return Err(PyValueError::new_err("unrecognized kind")),
        }
        self.what.store(what, Ordering::Release);
        Ok(())
    }

    /// The one that lies there: what [`_location`] of another process has said.
    fn _attach(&self, what: u8, descriptor: RawFd, offset: usize) -> PyResult<()> {
        match what {
            SEMAPHORE => self.semaphore.attach(descriptor, offset)?,
            _ => self.lock.attach(descriptor, offset)?,
        }
        self.what.store(what, Ordering::Release);
        Ok(())
    }

    /// What it is, the descriptor of its page, and where on it it lies.
    fn _location(&self) -> PyResult<(u8, RawFd, usize)> {
        let what = self.what.load(Ordering::Relaxed);
        let (descriptor, offset) = match what {
            SEMAPHORE => self.semaphore.location()?,
            _ => self.lock.location()?,
        };
        Ok((what, descriptor, offset))
    }

    /// What this process has taken stays taken when it is gone.
    fn _forget(&self, py: Python<'_>) -> PyResult<()> {
        if self.what.load(Ordering::Relaxed) != SEMAPHORE || self.local_count() <= 0 {
            return Ok(());
        }
        let semaphore = self.semaphore.get()?;
        waiting::insist(py, |patience| semaphore.forget(patience))
    }

    /// True if what this process took last was held by a process that has died with it.
    #[getter]
    fn holder_died(&self) -> bool {
        self.died.load(Ordering::Relaxed)
    }

    /// Whether it cannot be acquired now.
    fn locked(&self) -> PyResult<bool> {
        self._is_zero()
    }

    fn _is_zero(&self) -> PyResult<bool> {
        Ok(self._get_value()? == 0)
    }

    fn _get_value(&self) -> PyResult<u32> {
        match self.what.load(Ordering::Relaxed) {
            UNKNOWN => Err(PyRuntimeError::new_err("__init__() has not been called")),
            SEMAPHORE => Ok(self.semaphore.get()?.value()),
            _ => Ok(u32::from(self.lock.get()?.holder().is_none())),
        }
    }

    fn _count(&self) -> i32 {
        self.local_count()
    }

    fn _is_mine(&self) -> bool {
        self.is_mine()
    }

    #[getter]
    fn kind(&self) -> u8 {
        u8::from(self.what.load(Ordering::Relaxed) != RECURSIVE)
    }

    #[getter]
    fn maxvalue(&self) -> PyResult<u32> {
        match self.what.load(Ordering::Relaxed) {
            SEMAPHORE => Ok(self.semaphore.get()?.most()),
            _ => Ok(1),
        }
    }
}

/// Puts the raw methods over the class.
///
/// # Errors
/// As [`hot::install`].
pub fn init(py: Python<'_>) -> PyResult<()> {
    hot::install(
        &py.get_type::<SemLock>(),
        vec![
            hot::fast(
                c"acquire",
                c"acquire($self, /, block=True, timeout=None)\n--\n\nTakes it, as multiprocessing.Lock.acquire; timeout in seconds. True if taken.",
                acquire,
            ),
            hot::no_args(c"release", c"release($self, /)\n--\n\nReleases it once.", release),
            hot::no_args(c"__enter__", c"__enter__($self, /)\n--\n\nTakes it.", enter),
            hot::fast(c"__exit__", c"__exit__($self, /, *exc_info)\n--\n\nReleases it once.", exit),
        ],
    )
}
