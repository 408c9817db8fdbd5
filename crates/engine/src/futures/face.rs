//! What the Python side, `plait.concurrent.futures`, hands over when it is imported.
//!
//! The class `Future` is made there, because it derives from the standard library's too; the engine makes its
//! instances. What is rare (logging, another future's lock) is written there as well, and called from here.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use pyo3::{PyTypeInfo, ffi, intern};
use std::sync::atomic::{AtomicPtr, Ordering};

use super::future::FutureCore;

static FUTURE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(std::ptr::null_mut());
static MODULE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The class of the futures that the engine makes; null before the Python side has been imported.
#[inline]
pub fn future_class() -> *mut ffi::PyTypeObject {
    FUTURE.load(Ordering::Relaxed)
}

/// Takes the module object and its class `Future`; they stay for good.
#[pyfunction]
pub fn _use_face(module: Bound<'_, PyAny>, future: Bound<'_, PyType>) -> PyResult<()> {
    let py = module.py();
    if !future.is_subclass(&FutureCore::type_object(py))? {
        return Err(PyRuntimeError::new_err("not a class of futures"));
    }
    if MODULE.set(py, module.unbind()).is_ok() {
        FUTURE.store(future.into_ptr().cast(), Ordering::Relaxed);
    }
    Ok(())
}

/// A name of the Python side.
///
/// # Errors
/// If it has not been imported.
pub fn get<'py>(py: Python<'py>, name: &Bound<'py, pyo3::types::PyString>) -> PyResult<Bound<'py, PyAny>> {
    MODULE
        .get(py)
        .ok_or_else(|| PyRuntimeError::new_err("plait.concurrent.futures has not been imported"))?
        .bind(py)
        .getattr(name)
}

/// A method of the standard library's `Future`, called on `future`.
///
/// # Errors
/// What it raises.
pub fn call_stdlib<'py>(
    future: &Bound<'py, PyAny>,
    name: &str,
    argument: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let method = get(future.py(), intern!(future.py(), "_StdlibFuture"))?.getattr(name)?;
    match argument {
        Some(argument) => method.call1((future, argument)),
        None => method.call1((future,)),
    }
}

/// The `CancelledError` of `concurrent.futures`.
pub fn cancelled(py: Python<'_>) -> PyErr {
    match get(py, intern!(py, "CancelledError")).and_then(|class| class.call0()) {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}
