//! `SharedEvent`: a flag between processes.

use super::{Lodging, waiting};
use crate::limit::Limit;
use plait_core::Spin;
use plait_shared::event::{Event, SetSince};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::os::fd::RawFd;

/// A flag between processes; see `plait.multiprocessing.Event`.
#[pyclass(frozen, subclass, dict, weakref, module = "plait._engine")]
#[derive(Debug)]
pub struct SharedEvent {
    event: Lodging<Event>,
    spin: Spin,
}

#[pymethods]
impl SharedEvent {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "()")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyAny>>) -> Self {
        Self {
            event: Lodging::new(),
            spin: Spin::new(),
        }
    }

    fn _create(&self) -> PyResult<()> {
        self.event.create(|_: &Event| {})
    }

    fn _attach(&self, descriptor: RawFd, offset: usize) -> PyResult<()> {
        self.event.attach(descriptor, offset)
    }

    fn _location(&self) -> PyResult<(RawFd, usize)> {
        self.event.location()
    }

    /// Whether the flag is set.
    fn is_set(&self) -> PyResult<bool> {
        Ok(self.event.get()?.is_set())
    }

    /// Sets the flag and wakes all that wait for it.
    fn set(&self) -> PyResult<()> {
        self.event.get()?.set();
        Ok(())
    }

    /// Clears the flag.
    fn clear(&self) -> PyResult<()> {
        self.event.get()?.clear();
        Ok(())
    }

    /// Waits until the flag is set, `timeout` seconds at most. Whether it was.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let event = self.event.get()?;
        let limit = match timeout {
            None => Limit::Never,
            timeout => super::lock::limit_of(None, timeout)?,
        };
        let mut site = SetSince(event, event.count());
        Ok(waiting::wait(py, &mut site, limit, &self.spin)?.is_some())
    }
}
