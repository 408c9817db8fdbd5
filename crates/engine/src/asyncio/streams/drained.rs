//! The `drain` that has nothing to wait for: one object for all, because it has no state.

use crate::task::thrown;
use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// An await that returns None at once; a coroutine to asyncio.
#[pyclass(frozen, module = "plait.asyncio", name = "coroutine")]
#[derive(Debug)]
pub struct Drained;

impl Drained {
    /// The one.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn get(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        static ONE: PyOnceLock<Py<Drained>> = PyOnceLock::new();
        let one = ONE.get_or_try_init(py, || Py::new(py, Self))?;
        Ok(one.bind(py).clone().into_any())
    }
}

#[pymethods]
impl Drained {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[expect(clippy::unused_self, reason = "a slot of every iterator")]
    fn __next__(&self) -> Option<Py<PyAny>> {
        None
    }

    /// One step, as of a coroutine.
    #[expect(clippy::unused_self, reason = "a method of every coroutine")]
    fn send(&self, _value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Err(PyStopIteration::new_err(()))
    }

    /// Throws an exception in.
    #[expect(clippy::unused_self, reason = "a method of every coroutine")]
    #[pyo3(signature = (kind, value=None, _traceback=None, /))]
    fn throw(
        &self,
        kind: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        _traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        Err(thrown(kind, value)?)
    }

    /// Ends it, as of a coroutine.
    #[expect(clippy::unused_self, reason = "a method of every coroutine")]
    fn close(&self) {}
}
