//! `map`: a call for each item; results in order.

use super::{ProcessPoolCore, submit_call};
use crate::futures::results::Results;
use crate::held::Held;
use crate::limit::Limit;
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::collections::VecDeque;

/// Submits `function` for each item of the iterables.
///
/// # Errors
/// What the iterables raise, and as `submit`.
pub fn map(
    slf: &Bound<'_, ProcessPoolCore>,
    function: &Bound<'_, PyAny>,
    iterables: &Bound<'_, PyTuple>,
    timeout: Option<&Bound<'_, PyAny>>,
) -> PyResult<Py<PyAny>> {
    let py = slf.py();
    let this = slf.get();
    let driver = this.driver()?;
    let limit = match timeout {
        None => Limit::Never,
        timeout => Limit::from_timeout(timeout)?,
    };
    let single = iterables.len() == 1;
    let items = if single {
        iterables.get_item(0)?.try_iter()?
    } else {
        py.import("builtins")?
            .getattr("zip")?
            .call1(iterables)?
            .try_iter()?
    };
    let mut futures = VecDeque::new();
    for item in items {
        let item = item?;
        // SAFETY: the arguments are one object, or those of a tuple that `item` holds; attached.
        let future = unsafe {
            let args: smallvec::SmallVec<[_; 4]> = if single {
                smallvec::smallvec![item.as_ptr()]
            } else {
                item.cast::<PyTuple>()?
                    .iter_borrowed()
                    .map(|arg| arg.as_ptr())
                    .collect()
            };
            submit_call(
                slf.as_ptr(),
                driver,
                true,
                this.promise(),
                function.as_ptr(),
                args.as_ptr(),
                args.len(),
                std::ptr::null_mut(),
            )
        };
        if future.is_null() {
            return Err(PyErr::take(py).unwrap_or_else(|| PyMemoryError::new_err(())));
        }
        // SAFETY: the reference is ours.
        futures.push_back(unsafe { Held::from_owned(future) });
    }
    Ok(Py::new(py, Results::new(futures, limit))?.into_any())
}
