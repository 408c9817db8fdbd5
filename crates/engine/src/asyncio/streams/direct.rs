//! Short ways to transports of ours, past the lookup of a method and the making of its arguments.

use crate::asyncio::net::stream::{StreamTransport, write as stream};
use pyo3::prelude::*;
use pyo3::{ffi, intern};

unsafe extern "C" {
    fn _PyObject_GetDictPtr(object: *mut ffi::PyObject) -> *mut *mut ffi::PyObject;
}

/// The transport as one of ours on whose instance no method has been replaced.
#[inline]
fn ours<'a, 'py>(transport: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, StreamTransport>> {
    let transport = transport.cast_exact::<StreamTransport>().ok()?;
    // SAFETY: the object is alive; the place, if there is one, holds its dict or nothing.
    let untouched = unsafe {
        let dict = _PyObject_GetDictPtr(transport.as_ptr());
        dict.is_null() || (*dict).is_null()
    };
    untouched.then_some(transport)
}

/// `transport.write(data)`.
///
/// # Errors
/// What it raises.
#[inline]
pub fn write(transport: &Bound<'_, PyAny>, data: &Bound<'_, PyAny>) -> PyResult<()> {
    if let Some(transport) = ours(transport) {
        return stream::write(transport.as_super(), data);
    }
    transport
        .call_method1(intern!(data.py(), "write"), (data,))
        .map(drop)
}

/// `transport.is_closing()`.
///
/// # Errors
/// What it raises.
#[inline]
pub fn is_closing(transport: &Bound<'_, PyAny>) -> PyResult<bool> {
    if let Some(transport) = ours(transport) {
        return Ok(transport.as_super().get().state.lock().closing);
    }
    transport
        .call_method0(intern!(transport.py(), "is_closing"))?
        .is_truthy()
}
