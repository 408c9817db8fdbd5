//! `Semaphore` and `BoundedSemaphore`, as `threading`'s.

use crate::asyncio::await_::Await;
use crate::deadlock::Anyone;
use crate::door;
use crate::held::Held;
use crate::hot::{self, Args};
use crate::limit::Limit;
use crate::task::{SiteOp, TaskWait, ready};
use plait_core::SemaphoreWord;
use plait_core::semaphore::MOST;
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyTuple};
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter of permits. `Semaphore(value=1)`; `acquire(blocking=True, timeout=None)` takes one, waiting for it if there is
/// none; `release(n=1)` adds n. Can be used by `with`, and by `async with` in a task of any running event loop.
#[pyclass(frozen, subclass, dict, weakref, module = "threading")]
#[derive(Debug)]
pub struct Semaphore {
    pub word: SemaphoreWord,
    /// The value may not go beyond this: the initial one in a BoundedSemaphore.
    pub bound: AtomicU64,
}

/// A Semaphore that raises ValueError when it is released more often than acquired.
#[pyclass(frozen, subclass, extends = Semaphore, module = "threading")]
#[derive(Debug)]
pub struct BoundedSemaphore;

impl Semaphore {
    fn empty() -> Self {
        Self {
            word: SemaphoreWord::new(1),
            bound: AtomicU64::new(MOST),
        }
    }

    fn start(slf: &Bound<'_, Self>, value: Option<&Bound<'_, PyAny>>, bounded: bool) -> PyResult<()> {
        hot::defer_refcount(slf.as_ptr());
        let this = slf.get();
        let mut initial = 1;
        if let Some(value) = value {
            if value.lt(0)? {
                return Err(PyValueError::new_err("semaphore initial value must be >= 0"));
            }
            initial = value.extract()?;
            if initial > MOST {
                return Err(PyOverflowError::new_err(format!(
                    "semaphore initial value must be at most {MOST}, not {value}"
                )));
            }
            this.word.set(initial);
        }
        this.bound
            .store(if bounded { initial } else { MOST }, Ordering::Relaxed);
        Ok(())
    }

    /// Takes a permit through the door.
    ///
    /// # Errors
    /// As [`door::wait`].
    pub fn acquire(&self, py: Python<'_>, object: *mut PyObject, limit: Limit) -> PyResult<bool> {
        if self.word.try_acquire() {
            return Ok(true);
        }
        if limit == Limit::Now {
            return Ok(false);
        }
        door::wait(
            py,
            &self.word,
            limit,
            &Anyone {
                object,
                action: "acquire",
            },
        )
    }

    fn acquire_with(&self, py: Python<'_>, object: *mut PyObject, args: Args) -> PyResult<bool> {
        let [blocking, timeout] = args.bind(py, "Semaphore.acquire", ["blocking", "timeout"], 0)?;
        // SAFETY: bound arguments are borrowed from the caller.
        let (blocking, timeout) = unsafe {
            (
                Bound::from_borrowed_ptr_or_opt(py, blocking),
                Bound::from_borrowed_ptr_or_opt(py, timeout),
            )
        };
        let timeout = timeout.filter(|timeout| !timeout.is_none());
        let blocking = blocking.map_or(Ok(true), |blocking| blocking.is_truthy())?;
        if !blocking && timeout.is_some() {
            return Err(PyValueError::new_err(
                "can't specify timeout for non-blocking acquire",
            ));
        }
        if self.word.try_acquire() {
            return Ok(true);
        }
        if !blocking {
            return Ok(false);
        }
        if let Some(timeout) = &timeout {
            // The standard library adds it to the clock: what cannot be added raises so.
            PyFloat::new(py, 0.0).add(timeout)?;
        }
        self.acquire(py, object, Limit::from_timeout(timeout.as_ref())?)
    }

    fn release_n(&self, n: u64) -> PyResult<()> {
        if self.word.release(n, self.bound.load(Ordering::Relaxed)) {
            Ok(())
        } else {
            Err(PyValueError::new_err("Semaphore released too many times"))
        }
    }
}

unsafe extern "C" fn acquire(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Semaphore, attached.
    unsafe {
        let this: &Semaphore = hot::this(slf);
        let args = Args::new(args, count, names);
        if args.none() && this.word.try_acquire() {
            return hot::truth(true);
        }
        hot::slow(|py| this.acquire_with(py, slf, args).map(hot::truth))
    }
}

unsafe extern "C" fn release(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Semaphore, attached.
    unsafe {
        let this: &Semaphore = hot::this(slf);
        let args = Args::new(args, count, names);
        if args.none() && this.word.release(1, this.bound.load(Ordering::Relaxed)) {
            return hot::none();
        }
        hot::slow(|py| {
            let [n] = args.bind(py, "Semaphore.release", ["n"], 0)?;
            let n = match Bound::from_borrowed_ptr_or_opt(py, n) {
                None => 1,
                Some(n) if n.lt(1)? => return Err(PyValueError::new_err("n must be one or more")),
                Some(n) => n.extract()?,
            };
            this.release_n(n)?;
            Ok(hot::none())
        })
    }
}

unsafe extern "C" fn exit(
    slf: *mut PyObject,
    _args: *const *mut PyObject,
    _count: isize,
    _names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Semaphore, attached.
    unsafe { release(slf, std::ptr::null(), 0, std::ptr::null_mut()) }
}

unsafe extern "C" fn aenter(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Semaphore, attached.
    unsafe {
        let this: &Semaphore = hot::this(slf);
        if this.word.try_acquire() {
            return ready::ready();
        }
        hot::slow(|py| Ok(acquire_async(py, slf)?.into_ptr()))
    }
}

unsafe extern "C" fn aexit(
    slf: *mut PyObject,
    _args: *const *mut PyObject,
    _count: isize,
    _names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Semaphore, attached.
    unsafe {
        let this: &Semaphore = hot::this(slf);
        if this.word.release(1, this.bound.load(Ordering::Relaxed)) {
            return ready::ready();
        }
        hot::slow(|_| this.release_n(1).map(|()| hot::none()))
    }
}

/// # Safety
/// `object` is a Semaphore.
unsafe fn acquire_async(py: Python<'_>, object: *mut PyObject) -> PyResult<Bound<'_, Await>> {
    // SAFETY: the caller's promise; the awaitable keeps the object alive.
    unsafe {
        let site = |object| &hot::this::<Semaphore>(object).word;
        let try_now = |object| hot::this::<Semaphore>(object).word.try_acquire();
        TaskWait::create(
            py,
            SiteOp {
                object: Held::new(object),
                try_now,
                site,
            },
        )
    }
}

#[pymethods]
impl Semaphore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(value=1)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyAny>>) -> Self {
        Self::empty()
    }

    #[pyo3(signature = (value=None))]
    fn __init__(slf: &Bound<'_, Self>, value: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        Self::start(slf, value, false)
    }

    /// Takes a permit in a task: `await semaphore.acquire_async()` is True. Ends with whatever cancels the task.
    fn acquire_async<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Await>> {
        // SAFETY: `slf` is a Semaphore.
        unsafe { acquire_async(slf.py(), slf.as_ptr()) }
    }

    #[getter]
    fn _value(&self) -> u64 {
        self.word.value()
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        super::repr(slf, &format!("value={}", slf.get().word.value()))
    }
}

#[pymethods]
impl BoundedSemaphore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(value=1)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyAny>>) -> PyClassInitializer<Self> {
        PyClassInitializer::from(Semaphore::empty()).add_subclass(Self)
    }

    #[pyo3(signature = (value=None))]
    fn __init__(slf: &Bound<'_, Self>, value: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        Semaphore::start(slf.as_super(), value, true)
    }

    #[getter]
    fn _initial_value(slf: &Bound<'_, Self>) -> u64 {
        slf.as_super().get().bound.load(Ordering::Relaxed)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let semaphore = slf.as_super().get();
        super::repr(
            slf,
            &format!(
                "value={}/{}",
                semaphore.word.value(),
                semaphore.bound.load(Ordering::Relaxed)
            ),
        )
    }
}

/// Puts the raw methods over the classes.
///
/// # Errors
/// As [`hot::install`].
pub fn init(py: Python<'_>) -> PyResult<()> {
    hot::install(
        &py.get_type::<Semaphore>(),
        vec![
            hot::fast(
                c"acquire",
                c"acquire($self, /, blocking=True, timeout=None)\n--\n\nTakes a permit, as threading.Semaphore.acquire; timeout in seconds. True if taken.",
                acquire,
            ),
            hot::fast(
                c"release",
                c"release($self, /, n=1)\n--\n\nAdds n permits and wakes as many that wait.",
                release,
            ),
            hot::fast(
                c"__enter__",
                c"__enter__($self, /, blocking=True, timeout=None)\n--\n\nTakes a permit.",
                acquire,
            ),
            hot::fast(c"__exit__", c"__exit__($self, /, *exc_info)\n--\n\nGives the permit back.", exit),
            hot::no_args(c"__aenter__", c"__aenter__($self, /)\n--\n\nTakes a permit in a task.", aenter),
            hot::fast(c"__aexit__", c"__aexit__($self, /, *exc_info)\n--\n\nGives the permit back.", aexit),
        ],
    )
}
