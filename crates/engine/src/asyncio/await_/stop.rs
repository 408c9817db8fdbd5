//! `StopIteration` with a value, without making one each time: it is how `tp_iternext` returns, and the interpreter takes the
//! value out at once and drops the exception.
//!
//! One instance is used again while nobody else holds it. Its value would live on in it: so [`forget`] is called at the end
//! of each step of a task, and it is used in such a step only ([`begin`]): tasks of other kinds do not call that.

use pyo3::ffi::{self, PyObject};

/// Raises `StopIteration(value)`; takes over the reference.
///
/// # Safety
/// `value` is an owned reference to a live object, the thread is attached, and no exception is set.
#[inline]
pub unsafe fn stop_with(value: *mut PyObject) {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(not(Py_GIL_DISABLED))]
        if one::raise(value) {
            return;
        }
        fresh(value);
        ffi::Py_DECREF(value);
    }
}

/// A new one.
unsafe fn fresh(value: *mut PyObject) {
    // SAFETY: the caller's promise.
    unsafe {
        // The interpreter would take a tuple for the arguments, and an exception for itself.
        if ffi::PyTuple_Check(value) == 0 && ffi::PyExceptionInstance_Check(value) == 0 {
            ffi::PyErr_SetObject(ffi::PyExc_StopIteration, value);
            return;
        }
        let stop = ffi::PyObject_CallOneArg(ffi::PyExc_StopIteration, value);
        if !stop.is_null() {
            ffi::PyErr_SetObject(ffi::PyExc_StopIteration, stop);
            ffi::Py_DECREF(stop);
        }
    }
}

/// A step of a task begins, which will end in [`forget`].
#[inline]
pub fn begin() {
    #[cfg(not(Py_GIL_DISABLED))]
    one::begin();
}

/// Drops the value of the last one.
///
/// # Safety
/// The thread is attached.
#[inline]
pub unsafe fn forget() {
    #[cfg(not(Py_GIL_DISABLED))]
    // SAFETY: the caller's promise.
    unsafe {
        one::forget();
    }
}

/// The GIL is the lock of what is in here.
#[cfg(not(Py_GIL_DISABLED))]
mod one {
    use pyo3::ffi::{self, PyObject, PyStopIterationObject};
    use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering::Relaxed};

    static ONE: AtomicPtr<PyStopIterationObject> = AtomicPtr::new(std::ptr::null_mut());
    static HOLDS: AtomicBool = AtomicBool::new(false);
    static STEPS: AtomicBool = AtomicBool::new(false);

    #[inline]
    pub fn begin() {
        STEPS.store(true, Relaxed);
    }

    /// # Safety
    /// As `stop_with`. False: nothing was done.
    #[inline]
    pub unsafe fn raise(value: *mut PyObject) -> bool {
        if !STEPS.load(Relaxed) {
            return false;
        }
        // Before all else: what is dropped can run a `__del__`, which can come here.
        // SAFETY: the caller's promise.
        unsafe { drop_value() };
        let stop = ONE.load(Relaxed);
        // SAFETY: the instance is ours; who has the only reference to it may write to its fields, and `PyErr_*` take over
        // what they are given.
        unsafe {
            if stop.is_null() {
                return make();
            }
            let object = stop.cast::<PyObject>();
            if ffi::Py_REFCNT(object) != 1
                || !(*stop).value.is_null()
                || !(*stop).traceback.is_null()
                || !(*stop).context.is_null()
            {
                return retire(stop);
            }
            (*stop).value = value;
            HOLDS.store(true, Relaxed);
            ffi::Py_INCREF(object);
            #[cfg(Py_3_12)]
            ffi::PyErr_SetRaisedException(object);
            #[cfg(not(Py_3_12))]
            {
                ffi::Py_INCREF(ffi::PyExc_StopIteration);
                ffi::PyErr_Restore(ffi::PyExc_StopIteration, object, std::ptr::null_mut());
            }
        }
        true
    }

    /// The first one of its own; the next call uses it.
    #[cold]
    unsafe fn make() -> bool {
        // SAFETY: an attached thread; a new instance of the exact type has this layout.
        unsafe {
            let new = ffi::PyObject_CallNoArgs(ffi::PyExc_StopIteration);
            if new.is_null() {
                ffi::PyErr_Clear();
            } else {
                let new = new.cast::<PyStopIterationObject>();
                let none = std::mem::replace(&mut (*new).value, std::ptr::null_mut());
                ffi::Py_XDECREF(none);
                ONE.store(new, Relaxed);
            }
        }
        false
    }

    /// Somebody looks at the one that we have: it is his.
    #[cold]
    unsafe fn retire(stop: *mut PyStopIterationObject) -> bool {
        if ONE
            .compare_exchange(stop, std::ptr::null_mut(), Relaxed, Relaxed)
            .is_ok()
        {
            HOLDS.store(false, Relaxed);
            // SAFETY: the reference was the place's.
            unsafe { ffi::Py_DECREF(stop.cast()) };
        }
        false
    }

    /// # Safety
    /// As `super::forget`.
    #[inline]
    pub unsafe fn forget() {
        STEPS.store(false, Relaxed);
        // SAFETY: the caller's promise.
        unsafe { drop_value() };
    }

    /// # Safety
    /// The thread is attached.
    #[inline]
    unsafe fn drop_value() {
        if !HOLDS.load(Relaxed) {
            return;
        }
        let stop = ONE.load(Relaxed);
        HOLDS.store(false, Relaxed);
        // SAFETY: as in `raise`; while somebody else holds it, it stays as it is.
        unsafe {
            if !stop.is_null() && ffi::Py_REFCNT(stop.cast()) == 1 {
                let old = std::mem::replace(&mut (*stop).value, std::ptr::null_mut());
                if !old.is_null() {
                    ffi::Py_DECREF(old);
                }
            }
        }
    }
}
