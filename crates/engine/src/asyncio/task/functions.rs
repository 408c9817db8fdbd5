//! The functions about tasks.

use super::registry;
use pyo3::prelude::*;
use pyo3::types::PyList;

/// The native tasks that have not ended, of all loops.
#[pyfunction]
pub fn _every_task(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    PyList::new(py, registry::tasks(py))
}
