//! Exact integers of more than 64 bits (a UUID is one): their bytes, by `int.to_bytes`.

use super::WIDE;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt};

/// More bytes than this are for pickle.
const MOST: usize = 255;

/// Appends one. False: it is too long.
pub(super) fn put(number: &Bound<'_, PyAny>, to: &mut Vec<u8>) -> bool {
    let bytes = bytes(number).unwrap_or_else(|error| {
        drop(error);
        None
    });
    let Some(bytes) = bytes else {
        return false;
    };
    to.push(WIDE);
    #[expect(clippy::cast_possible_truncation, reason = "at most MOST")]
    to.push(bytes.as_bytes().len() as u8);
    to.extend_from_slice(bytes.as_bytes());
    true
}

fn bytes<'py>(number: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let py = number.py();
    let bits: usize = number.call_method0(intern!(py, "bit_length"))?.extract()?;
    // One for the sign.
    let length = bits / 8 + 1;
    if length > MOST {
        return Ok(None);
    }
    let arguments = (length, intern!(py, "little"));
    let bytes = number.call_method(intern!(py, "to_bytes"), arguments, Some(&signed(py)?))?;
    Ok(Some(bytes.cast_into()?))
}

fn signed(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let named = PyDict::new(py);
    named.set_item(intern!(py, "signed"), true)?;
    Ok(named)
}

/// The one that these bytes are.
///
/// # Errors
/// No memory.
pub(super) fn make<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let arguments = (PyBytes::new(py, bytes), intern!(py, "little"));
    py.get_type::<PyInt>()
        .call_method(intern!(py, "from_bytes"), arguments, Some(&signed(py)?))
}
