//! An owned reference that is dropped attached, always.
//!
//! `Py<T>` asks a thread-local whether the thread is attached, and puts the object into a global pool if
//! not; the raw methods of the hot types run without PyO3's counter and would fill that pool. A [`Held`]
//! just decrements. It may be stored and moved anywhere, but dropped only by an attached thread that
//! holds no latch: dropping can run `__del__`, and that can call anything.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::{ffi, prelude::*};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, Ordering};

/// An owned reference to a Python object.
#[derive(Debug)]
pub struct Held(NonNull<ffi::PyObject>);

// SAFETY: a reference may be held by any thread; it is used and dropped only while attached (module's text).
unsafe impl Send for Held {}
// SAFETY: as above.
unsafe impl Sync for Held {}

impl Held {
    /// A new reference to `object`.
    ///
    /// # Safety
    /// `object` is a live object and the thread is attached.
    #[inline]
    pub unsafe fn new(object: *mut ffi::PyObject) -> Self {
        // SAFETY: the caller's promise; a live object is not null.
        unsafe {
            ffi::Py_INCREF(object);
            Self(NonNull::new_unchecked(object))
        }
    }

    /// Takes over a reference.
    ///
    /// # Safety
    /// `object` is a live object of which the caller owns a reference.
    #[inline]
    pub unsafe fn from_owned(object: *mut ffi::PyObject) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { NonNull::new_unchecked(object) })
    }

    /// The object, borrowed.
    #[inline]
    pub fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.as_ptr()
    }

    /// The reference itself; the caller owns it from here.
    #[inline]
    pub fn into_ptr(self) -> *mut ffi::PyObject {
        let object = self.0.as_ptr();
        std::mem::forget(self);
        object
    }

    /// The object as PyO3 knows it.
    #[inline]
    pub fn bind<'a, 'py>(&'a self, py: Python<'py>) -> Borrowed<'a, 'py, PyAny> {
        // SAFETY: a held object is alive as long as `self`.
        unsafe { Borrowed::from_ptr(py, self.as_ptr()) }
    }

    /// The object as PyO3 knows it, taken over.
    #[inline]
    pub fn into_bound(self, py: Python<'_>) -> Bound<'_, PyAny> {
        // SAFETY: the reference is owned.
        unsafe { Bound::from_owned_ptr(py, self.into_ptr()) }
    }

    /// Another reference to the same object; the thread is attached, as the token shows.
    #[inline]
    pub fn clone_ref(&self, _py: Python<'_>) -> Self {
        // SAFETY: the object is alive, and the token proves the attachment.
        unsafe { Self::new(self.as_ptr()) }
    }
}

impl Drop for Held {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the reference is owned, and the thread attached (module's text).
        unsafe { ffi::Py_DECREF(self.as_ptr()) }
    }
}

impl From<Bound<'_, PyAny>> for Held {
    fn from(object: Bound<'_, PyAny>) -> Self {
        // SAFETY: `into_ptr` hands its reference over.
        unsafe { Self::from_owned(object.into_ptr()) }
    }
}

/// A place for one reference that is filled once and emptied by the garbage collector.
#[derive(Debug, Default)]
pub struct HeldSlot(AtomicPtr<ffi::PyObject>);

impl HeldSlot {
    /// The object, borrowed from the slot: alive as long as the slot's owner, since only the collector
    /// (of an unreachable owner) or [`replace`](Self::replace) takes it out.
    #[inline]
    pub fn get<'a, 'py>(&'a self, py: Python<'py>) -> Option<Borrowed<'a, 'py, PyAny>> {
        // SAFETY: the slot owns a reference.
        unsafe { Borrowed::from_ptr_or_opt(py, self.0.load(Ordering::Acquire)) }
    }

    /// Puts `object` in; what was there is dropped. For constructors: nobody else uses the slot yet.
    pub fn replace(&self, object: Option<Held>) {
        let object = object.map_or(std::ptr::null_mut(), Held::into_ptr);
        let old = self.0.swap(object, Ordering::AcqRel);
        if !old.is_null() {
            // SAFETY: the slot owned this reference.
            drop(unsafe { Held::from_owned(old) });
        }
    }

    /// Takes the object out. Not for slots of which anybody borrows.
    #[inline]
    pub fn take(&self) -> Option<Held> {
        let object = self.0.swap(std::ptr::null_mut(), Ordering::AcqRel);
        // SAFETY: the slot owned this reference, if there was one.
        (!object.is_null()).then(|| unsafe { Held::from_owned(object) })
    }

    /// Puts `object` in if the slot is empty; else drops it.
    pub fn fill(&self, object: Held) {
        let new = object.as_ptr();
        if self
            .0
            .compare_exchange(std::ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
        {
            std::mem::forget(object);
        }
    }

    /// For `__traverse__`.
    ///
    /// # Errors
    /// What the visitor returns.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the slot owns what it points to.
        unsafe { visit_raw(self.0.load(Ordering::Relaxed), visit) }
    }
}

impl Drop for HeldSlot {
    fn drop(&mut self) {
        self.replace(None);
    }
}

/// Visits a borrowed pointer, which may be null.
///
/// # Safety
/// `object` is null or alive.
///
/// # Errors
/// What the visitor returns.
pub unsafe fn visit_raw(object: *mut ffi::PyObject, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
    if object.is_null() {
        return Ok(());
    }
    // SAFETY: `Py<_>` is one non-null pointer; this copy is never dropped, so no count changes.
    let object =
        std::mem::ManuallyDrop::new(unsafe { std::mem::transmute::<*mut ffi::PyObject, Py<PyAny>>(object) });
    visit.call(&*object)
}

impl Held {
    /// For `__traverse__`.
    ///
    /// # Errors
    /// What the visitor returns.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: a held object is alive.
        unsafe { visit_raw(self.as_ptr(), visit) }
    }
}
