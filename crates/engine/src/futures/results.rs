//! The results of `map`, in the order of the calls.

use super::future::FutureCore;
use crate::guarded::Guarded;
use crate::held::Held;
use crate::limit::Limit;
use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};
use std::collections::VecDeque;

/// Gives the result of each future once, and forgets the future.
#[pyclass(frozen, module = "plait._engine")]
#[derive(Debug)]
pub struct Results {
    futures: Guarded<VecDeque<Held>>,
    limit: Limit,
}

impl Results {
    /// Of `futures`, all within `limit`.
    pub fn new(futures: VecDeque<Held>, limit: Limit) -> Self {
        Self {
            futures: Guarded::new(futures),
            limit,
        }
    }
}

#[pymethods]
impl Results {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    /// The next result; a future that fails, or is late, is cancelled.
    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
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
                Err(error)
            }
        }
    }

    /// Cancels what has not been asked for.
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        let rest = std::mem::take(&mut *self.futures.lock());
        for future in rest {
            let future = future.into_bound(py);
            FutureCore::cancel(&future, future.cast::<FutureCore>()?.get())?;
        }
        Ok(())
    }

    fn __length_hint__(&self) -> usize {
        self.futures.lock().len()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(futures) = self.futures.try_lock() {
            for future in futures.iter() {
                future.traverse(&visit)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let futures = std::mem::take(&mut *self.futures.lock());
        drop(futures);
    }
}
