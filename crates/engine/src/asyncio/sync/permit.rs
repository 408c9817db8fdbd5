//! What locks, semaphores and conditions share: `acquire()`, `release()`, and `async with`.
//!
//! `async with` of one that is free makes no object: it takes the permit when it is asked for, which is the moment before it is
//! awaited, and awaits the one [`Ready`](crate::task::ready::Ready). A class derived in Python that has an `acquire` or `release` of
//! its own gets that called.

use crate::asyncio::await_::{Await, Drive, Driven, Machine, Resume, Step};
use crate::hot;
use crate::task::ready;
use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyType;
use pyo3::{PyClass, pyclass::boolean_struct::True};
use std::sync::atomic::{AtomicPtr, Ordering};

/// Something that is acquired and released.
pub trait Permit: PyClass<Frozen = True> + Sync {
    /// Takes it if that needs no waiting.
    ///
    /// # Errors
    /// What asking foreign futures raises.
    fn take(slf: &Bound<'_, Self>) -> PyResult<bool>;

    /// The same, where it needs no look at anything but its own state. Runs no Python code and drops nothing.
    fn take_quickly(&self, py: Python<'_>) -> bool;

    /// Gives it back, if nobody waits. Runs no Python code and drops nothing.
    fn release_quickly(&self, py: Python<'_>) -> bool;

    /// The coroutine that takes it. Its result is True; None if `quiet`.
    ///
    /// # Errors
    /// `MemoryError`.
    fn acquire<'py>(slf: &Bound<'py, Self>, quiet: bool) -> PyResult<Bound<'py, PyAny>>;

    /// Gives it back.
    ///
    /// # Errors
    /// `RuntimeError` or `ValueError` if it was not taken.
    fn release(slf: &Bound<'_, Self>) -> PyResult<()>;

    /// The classes whose instances have our methods for sure.
    fn classes() -> &'static Classes;
}

/// Classes, to be recognised at a glance.
#[derive(Debug, Default)]
pub struct Classes([AtomicPtr<PyTypeObject>; 2]);

impl Classes {
    /// None yet.
    pub const fn new() -> Self {
        Self([const { AtomicPtr::new(std::ptr::null_mut()) }; 2])
    }

    /// Adds one.
    pub fn add(&self, class: &Bound<'_, PyType>) {
        let place = &self.0[usize::from(!self.0[0].load(Ordering::Relaxed).is_null())];
        place.store(class.as_type_ptr(), Ordering::Relaxed);
    }

    /// Whether `object` is an instance of one of them, and not of a class derived from it.
    #[inline]
    pub fn made(&self, object: &Bound<'_, PyAny>) -> bool {
        self.has(object.get_type_ptr())
    }

    #[inline]
    fn has(&self, class: *mut PyTypeObject) -> bool {
        self.0.iter().any(|own| own.load(Ordering::Relaxed) == class)
    }
}

/// Whether a class derived from `T` in Python has a method `name` of its own.
fn overrides<T: Permit>(slf: &Bound<'_, T>, name: &Bound<'_, pyo3::types::PyString>) -> PyResult<bool> {
    if T::classes().made(slf.as_any()) {
        return Ok(false);
    }
    let base = slf.py().get_type::<T>().getattr(name)?;
    Ok(!slf.as_any().get_type().getattr(name)?.is(&base))
}

/// `await self.acquire()`, for its effect.
struct Enter(Option<Drive>, Py<PyAny>);

impl Machine for Enter {
    const NAME: &'static str = "_ContextManagerMixin.__aenter__";

    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        let drive = match &self.0 {
            Some(drive) => drive,
            None => {
                let acquiring = self.1.bind(py).call_method0(intern!(py, "acquire"))?;
                self.0.insert(Drive::new(&acquiring)?)
            }
        };
        Ok(match drive.step(py, resume)? {
            Driven::Suspends(step) => step,
            Driven::Returned(_) => Step::ReturnNone,
        })
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.1)?;
        self.0.as_ref().map_or(Ok(()), |drive| drive.traverse(visit))
    }
}

/// Runs a raw method.
///
/// # Safety
/// `slf` is a `T`, and the thread is attached.
#[inline]
unsafe fn with<T: Permit>(
    slf: *mut PyObject,
    f: impl FnOnce(&Bound<'_, T>) -> PyResult<*mut PyObject>,
) -> *mut PyObject {
    // SAFETY: the caller's promise.
    unsafe { hot::raw(|py| f(&Borrowed::from_ptr(py, slf).cast_unchecked::<T>())) }
}

unsafe extern "C" fn acquire<T: Permit>(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a `T`, attached.
    unsafe { with::<T>(slf, |slf| Ok(T::acquire(slf, false)?.into_ptr())) }
}

unsafe extern "C" fn release<T: Permit>(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a `T`, attached.
    unsafe {
        with::<T>(slf, |slf| {
            T::release(slf)?;
            Ok(hot::none())
        })
    }
}

unsafe extern "C" fn enter<T: Permit>(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a `T`, attached.
    unsafe {
        if T::classes().has(ffi::Py_TYPE(slf)) && hot::this::<T>(slf).take_quickly(Python::assume_attached())
        {
            return ready::ready();
        }
        with::<T>(slf, |slf| {
            if overrides(slf, intern!(slf.py(), "acquire"))? {
                let machine = Enter(None, slf.clone().into_any().unbind());
                return Ok(Await::create(slf.py(), machine)?.into_ptr());
            }
            if T::take(slf)? {
                return Ok(ready::ready());
            }
            Ok(T::acquire(slf, true)?.into_ptr())
        })
    }
}

unsafe extern "C" fn exit<T: Permit>(
    slf: *mut PyObject,
    _args: *const *mut PyObject,
    _count: isize,
    _names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a `T`, attached.
    unsafe {
        if T::classes().has(ffi::Py_TYPE(slf))
            && hot::this::<T>(slf).release_quickly(Python::assume_attached())
        {
            return ready::ready();
        }
        with::<T>(slf, |slf| {
            if overrides(slf, intern!(slf.py(), "release"))? {
                slf.as_any().call_method0(intern!(slf.py(), "release"))?;
            } else {
                T::release(slf)?;
            }
            Ok(ready::ready())
        })
    }
}

/// Puts the raw methods over the class.
///
/// # Errors
/// As [`hot::install`].
pub fn init<T: Permit>(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<T>();
    T::classes().add(&class);
    hot::install(
        &class,
        vec![
            hot::no_args(
                c"acquire",
                c"acquire($self, /)\n--\n\nCoroutine that takes it, waiting in turn; its result is True.",
                acquire::<T>,
            ),
            hot::no_args(
                c"release",
                c"release($self, /)\n--\n\nGive it back, and wake who is next.",
                release::<T>,
            ),
            hot::no_args(c"__aenter__", c"__aenter__($self, /)\n--\n\nTake it.", enter::<T>),
            hot::fast(
                c"__aexit__",
                c"__aexit__($self, /, *exc_info)\n--\n\nGive it back.",
                exit::<T>,
            ),
        ],
    )
}
