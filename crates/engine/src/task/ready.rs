//! Awaits that are over at once: one object for all, because they have no state.

use super::thrown;
use crate::hot;
use pyo3::exceptions::PyStopIteration;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// An await that returns None: what an uncontended `async with` waits for.
#[pyclass(frozen, module = "plait", name = "Ready")]
pub struct Ready;

#[pymethods]
impl Ready {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self) -> Option<Py<PyAny>> {
        None
    }
}

/// An await that returns True: the wait for an event that was set when it was asked for. A coroutine to asyncio.
#[pyclass(frozen, module = "plait", name = "Already")]
pub struct Already;

#[pymethods]
impl Already {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self) -> PyResult<Py<PyAny>> {
        Err(PyStopIteration::new_err(true))
    }

    /// One step, as of a coroutine.
    fn send(&self, _value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Err(PyStopIteration::new_err(true))
    }

    /// Ends the wait with an exception, as of a coroutine.
    #[pyo3(signature = (kind, value=None, _traceback=None))]
    fn throw(
        &self,
        kind: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        _traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        Err(thrown(kind, value)?)
    }

    /// Ends the wait, as of a coroutine.
    fn close(&self) {}
}

unsafe extern "C" fn next(_slf: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter, attached.
    unsafe { ffi::PyErr_SetObject(ffi::PyExc_StopIteration, ffi::Py_True()) };
    std::ptr::null_mut()
}

unsafe extern "C" fn none(_slf: *mut PyObject) -> *mut PyObject {
    // No value and no exception: the interpreter takes it for None.
    std::ptr::null_mut()
}

unsafe extern "C" fn itself(slf: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a live object, attached.
    unsafe { ffi::Py_INCREF(slf) };
    slf
}

/// Puts the raw slots into the types.
pub fn init(py: Python<'_>) {
    let types = [
        (py.get_type::<Already>(), next as ffi::iternextfunc),
        (py.get_type::<Ready>(), none as ffi::iternextfunc),
    ];
    for (class, next) in types {
        let class = class.as_type_ptr();
        // SAFETY: the type is ours, and has not been used yet; the slots do what PyO3's do; heap types have this table.
        unsafe {
            (*class).tp_iternext = Some(next);
            if let Some(methods) = (*class).tp_as_async.as_mut() {
                methods.am_await = Some(itself);
            }
        }
    }
}

/// A new reference to the one [`Ready`].
///
/// # Safety
/// The thread is attached.
pub unsafe fn ready() -> *mut PyObject {
    static READY: PyOnceLock<Py<Ready>> = PyOnceLock::new();
    // SAFETY: the caller's promise.
    unsafe { the_one(&READY, || Ready) }
}

/// A new reference to the one [`Already`].
///
/// # Safety
/// The thread is attached.
pub unsafe fn already() -> *mut PyObject {
    static ALREADY: PyOnceLock<Py<Already>> = PyOnceLock::new();
    // SAFETY: the caller's promise.
    unsafe { the_one(&ALREADY, || Already) }
}

unsafe fn the_one<T: pyo3::PyClass + Into<PyClassInitializer<T>>>(
    one: &'static PyOnceLock<Py<T>>,
    make: fn() -> T,
) -> *mut PyObject {
    // SAFETY: the caller is attached.
    let py = unsafe { Python::assume_attached() };
    match one.get(py) {
        Some(one) => {
            let object = one.as_ptr();
            // SAFETY: it lives as long as the module.
            unsafe { ffi::Py_INCREF(object) };
            object
        }
        // SAFETY: the caller is attached.
        None => unsafe {
            hot::slow(|py| {
                one.get_or_try_init(py, || Py::new(py, make()))
                    .map(|one| one.clone_ref(py).into_ptr())
            })
        },
    }
}
