//! `SharedBarrier`: a barrier between processes.

use super::{Lodging, waiting};
use crate::limit::Limit;
use plait_core::Spin;
use plait_shared::barrier::{Barrier, End, Entered};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};
use std::os::fd::RawFd;

/// A barrier between processes; see `plait.multiprocessing.Barrier`.
#[pyclass(frozen, subclass, dict, weakref, module = "plait._engine")]
#[derive(Debug)]
pub struct SharedBarrier {
    barrier: Lodging<Barrier>,
    spin: Spin,
}

fn broken(py: Python<'_>) -> PyErr {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    match CLASS.import(py, "threading", "BrokenBarrierError") {
        Ok(class) => PyErr::from_type(class.clone(), ()),
        Err(error) => error,
    }
}

impl SharedBarrier {
    /// Waits for the end of the round; false if `limit` has come before.
    fn await_end(&self, py: Python<'_>, round: u32, limit: Limit) -> PyResult<bool> {
        let mut site = End(self.barrier.get()?, round);
        Ok(waiting::wait(py, &mut site, limit, &self.spin)?.is_some())
    }

    fn run(&self, py: Python<'_>, action: &Bound<'_, PyAny>, round: u32) -> PyResult<()> {
        let barrier = self.barrier.get()?;
        let result = action.call0();
        let lasted = waiting::insist(py, |patience| barrier.acted(round, result.is_ok(), patience))?;
        result?;
        if lasted { Ok(()) } else { Err(broken(py)) }
    }
}

#[pymethods]
impl SharedBarrier {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "()")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyAny>>) -> Self {
        Self {
            barrier: Lodging::new(),
            spin: Spin::new(),
        }
    }

    fn _create(&self, parties: u32) -> PyResult<()> {
        self.barrier.create(|barrier: &Barrier| barrier.init(parties))
    }

    fn _attach(&self, descriptor: RawFd, offset: usize) -> PyResult<()> {
        self.barrier.attach(descriptor, offset)
    }

    fn _location(&self) -> PyResult<(RawFd, usize)> {
        self.barrier.location()
    }

    /// Waits until all parties have come; returns this one's place. The last one calls `action` before the others go on.
    #[pyo3(signature = (action, timeout))]
    fn _wait(
        &self,
        py: Python<'_>,
        action: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u32> {
        let limit = super::lock::limit_of(None, timeout)?;
        let barrier = self.barrier.get()?;
        loop {
            match waiting::insist(py, |patience| barrier.enter(action.is_some(), patience))? {
                Entered::Broken => return Err(broken(py)),
                Entered::Later(round) => {
                    self.await_end(py, round, Limit::Never)?;
                }
                Entered::Last(place, round) => {
                    if let Some(action) = action {
                        self.run(py, action, round)?;
                    }
                    return Ok(place);
                }
                Entered::Waits(place, round) => {
                    let ended = match self.await_end(py, round, limit) {
                        Ok(ended) => ended,
                        Err(error) => {
                            waiting::insist(py, |patience| barrier.leave(round, patience))?;
                            return Err(error);
                        }
                    };
                    let in_time =
                        ended || !waiting::insist(py, |patience| barrier.abort(Some(round), patience))?;
                    return if in_time && !barrier.ended_broken(round) {
                        Ok(place)
                    } else {
                        Err(broken(py))
                    };
                }
            }
        }
    }

    /// Makes it whole and empty; those that wait get BrokenBarrierError.
    fn reset(&self, py: Python<'_>) -> PyResult<()> {
        let barrier = self.barrier.get()?;
        waiting::insist(py, |patience| barrier.reset(patience))
    }

    /// Breaks it: those that wait, and all that come, get BrokenBarrierError until it is reset.
    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        let barrier = self.barrier.get()?;
        waiting::insist(py, |patience| barrier.abort(None, patience)).map(drop)
    }

    /// How many have to come.
    #[getter]
    fn parties(&self) -> PyResult<u32> {
        Ok(self.barrier.get()?.parties())
    }

    /// How many wait.
    #[getter]
    fn n_waiting(&self) -> PyResult<u32> {
        Ok(self.barrier.get()?.waiting())
    }

    /// Whether it is broken.
    #[getter]
    fn broken(&self) -> PyResult<bool> {
        Ok(self.barrier.get()?.is_broken())
    }
}
