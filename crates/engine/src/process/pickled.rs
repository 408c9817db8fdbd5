//! Pickles of values that the codec does not know.
//!
//! What C alone can pickle goes without Python code: values that consist of plain ones at once, others by a `Pickler` with the
//! reducers of `multiprocessing`. What that refuses, and in the parent what names `__main__`, is for `plait._processes.pickling`,
//! which begins anew and knows cloudpickle.

use super::codec::Told;
use super::extent::{Exported, OUT_OF_BAND};
use super::outcome::pickling;
use crate::shared::pickling::{dumps_beside, is_plain};
use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyList};
use pyo3::{PyTraverseError, PyVisit};
use std::cell::Cell;

/// So many values are looked at to find out whether all are plain.
const LOOKED_AT: usize = 64;
/// Of pickles.
const PROTOCOL: u8 = 5;
/// What a pickle contains that names the program's main module.
const MAIN: &[u8] = b"__main__";

/// A value that consists of plain ones, pickled in one piece; None if it does not: what has reducers, or names what a
/// worker has not, is for `plait._processes.pickling`.
///
/// # Errors
/// What pickling raises.
pub fn dumps_plain<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
    static DUMPS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    if !is_plain(value, &Cell::new(LOOKED_AT)) {
        return Ok(None);
    }
    let dumped = DUMPS
        .import(value.py(), "_pickle", "dumps")?
        .call1((value, PROTOCOL))?;
    Ok(Some(dumped.cast_into()?))
}

/// A pickle, and the buffers that lie beside it.
pub type Pickled<'py> = (Bound<'py, PyBytes>, Bound<'py, PyList>);

/// The pickle of a value, and its buffers of 64 KiB and more, which lie beside it. `by_value`: what `__main__` defines travels so.
/// What has been `told` is not asked again.
///
/// # Errors
/// What pickling raises, where cloudpickle cannot help either.
pub fn dumps<'py>(value: &Bound<'py, PyAny>, by_value: bool, told: Told) -> PyResult<Pickled<'py>> {
    let py = value.py();
    let beside = PyList::empty(py);
    let stays = Bound::new(py, Stays(beside.clone().unbind()))?;
    match dumps_beside(value, stays.as_any(), told) {
        Ok(data) if !by_value || !names_main(data.as_bytes()) => return Ok((data, beside)),
        Err(error) if !is_refusal(py, &error)? => return Err(error),
        _ => {}
    }
    let dumped = pickling(py)?.call_method1(intern!(py, "dumps"), (value, by_value))?;
    dumped.extract()
}

fn names_main(pickle: &[u8]) -> bool {
    // SAFETY: pointers and lengths of slices.
    let found = unsafe {
        libc::memmem(
            pickle.as_ptr().cast(),
            pickle.len(),
            MAIN.as_ptr().cast(),
            MAIN.len(),
        )
    };
    !found.is_null()
}

/// Whether pickle says by this that it cannot.
#[cold]
fn is_refusal(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    static REFUSAL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let refusal = REFUSAL.import(py, "pickle", "PicklingError")?;
    Ok(error.is_instance_of::<PyTypeError>(py)
        || error.is_instance_of::<PyAttributeError>(py)
        || error.is_instance(py, refusal))
}

/// Asked of each buffer whether it stays in the pickle; else it is put into the list.
#[pyclass(frozen, module = "plait._engine")]
struct Stays(Py<PyList>);

#[pymethods]
impl Stays {
    fn __call__(&self, buffer: &Bound<'_, PyAny>) -> PyResult<bool> {
        // One that is in pieces stays: pickle says what it thinks of it.
        let stays = Exported::new(buffer).map_or(true, |view| view.bytes().len() < OUT_OF_BAND);
        if !stays {
            self.0.bind(buffer.py()).append(buffer)?;
        }
        Ok(stays)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }
}
