//! `WaitTable`: those that wait for a condition between processes. The lock is the Python face's.

use super::{Lodging, waiting};
use plait_core::Spin;
use plait_shared::condition::{Condition, Notified};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::os::fd::RawFd;

/// Those that wait for a condition, in order; see `plait.multiprocessing.Condition`.
#[pyclass(frozen, weakref, module = "plait._engine")]
#[derive(Debug)]
pub struct WaitTable {
    table: Lodging<Condition>,
    spin: Spin,
}

#[pymethods]
impl WaitTable {
    #[new]
    #[pyo3(signature = (*_args), text_signature = "()")]
    fn new(_args: &Bound<'_, PyTuple>) -> Self {
        Self {
            table: Lodging::new(),
            spin: Spin::new(),
        }
    }

    fn _create(&self) -> PyResult<()> {
        self.table.create(|_: &Condition| {})
    }

    fn _attach(&self, descriptor: RawFd, offset: usize) -> PyResult<()> {
        self.table.attach(descriptor, offset)
    }

    fn _location(&self) -> PyResult<(RawFd, usize)> {
        self.table.location()
    }

    /// Stands in line, and returns the place to wait at. The lock is held.
    fn enter(&self, py: Python<'_>) -> PyResult<usize> {
        let table = self.table.get()?;
        waiting::insist(py, |patience| table.enter(patience))?
            .ok_or_else(|| PyOSError::new_err("too many wait for this condition"))
    }

    /// Waits until notified, `timeout` seconds at most. The lock is not held.
    #[pyo3(signature = (place, timeout=None))]
    fn wait(&self, py: Python<'_>, place: usize, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let mut site = Notified(self.table.get()?, place);
        let limit = super::lock::limit_of(None, timeout)?;
        waiting::wait(py, &mut site, limit, &self.spin)?;
        Ok(())
    }

    /// Leaves the line. Whether it had been notified.
    fn leave(&self, place: usize) -> PyResult<bool> {
        Ok(self.table.get()?.leave(place))
    }

    /// Notifies up to `n` that wait, and returns how many.
    fn notify(&self, py: Python<'_>, n: usize) -> PyResult<usize> {
        let table = self.table.get()?;
        waiting::insist(py, |patience| table.notify(n, patience))
    }

    /// How many wait.
    fn waiting(&self) -> PyResult<usize> {
        Ok(self.table.get()?.waiting())
    }
}
