//! The results of `map`, in the order of the calls.
//!
//! The futures are not tracked by the collector: nobody else sees them. So what they hold is visited here. A worker
//! that has not let go of one yet does not look at its outcome any more.

use super::future::FutureCore;
use crate::guarded::Guarded;
use crate::held::Held;
use crate::hot;
use crate::limit::Limit;
use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

/// Gives the result of each future once, and forgets the future.
#[pyclass(frozen, module = "plait._engine")]
#[derive(Debug)]
pub struct Results {
    futures: Guarded<VecDeque<Held>>,
    limit: Limit,
    /// Somebody has asked for a result. As with the standard library's generator, what ends before that cancels nothing.
    begun: AtomicBool,
}

impl Results {
    /// Of `futures`, all within `limit`.
    pub fn new(futures: VecDeque<Held>, limit: Limit) -> Self {
        Self {
            futures: Guarded::new(futures),
            limit,
            begun: AtomicBool::new(false),
        }
    }
}

impl Results {
    /// Lets go of the rest, and cancels what has not begun of it. Nobody waits for these futures or listens to them, so there is nobody to tell.
    fn abandon(&self) {
        let rest = std::mem::take(&mut *self.futures.lock());
        if !self.begun.load(Ordering::Relaxed) {
            return;
        }
        for future in rest {
            // SAFETY: `map` puts in futures only, and `future` holds it.
            let core: &FutureCore = unsafe { hot::this(future.as_ptr()) };
            drop(core.cell.cancel());
        }
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        self.abandon();
    }
}

#[pymethods]
impl Results {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    /// The next result. One that fails, or is late, is raised and ends it: what has not begun is cancelled.
    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.begun.store(true, Ordering::Relaxed);
        let next = self.futures.lock().pop_front();
        let Some(future) = next else { return Ok(None) };
        let future = future.into_bound(py);
        let core = future.cast::<FutureCore>()?.get();
        let result: PyResult<*mut PyObject> = FutureCore::result_within(&future, core, self.limit);
        match result {
            // SAFETY: the result is owned.
            Ok(result) => Ok(Some(unsafe { Bound::from_owned_ptr(py, result) }.unbind())),
            Err(error) => {
                FutureCore::cancel(&future, core)?;
                self.abandon();
                Err(error)
            }
        }
    }

    /// Ends it, as a generator's: cancels what has not been asked for and has not begun.
    fn close(&self) {
        self.abandon();
    }

    fn __length_hint__(&self) -> usize {
        self.futures.lock().len()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(futures) = self.futures.try_lock() {
            for future in futures.iter() {
                // SAFETY: `map` puts in futures only, and `future` holds it.
                let core: &FutureCore = unsafe { hot::this(future.as_ptr()) };
                core.visit(&visit)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        self.abandon();
    }
}
