//! The items of `map`, each submitted: for pools of threads and of processes.

use super::results::Results;
use crate::held::Held;
use crate::limit::Limit;
use pyo3::exceptions::PyMemoryError;
use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use smallvec::SmallVec;
use std::collections::VecDeque;

/// Has `submit` make a call of each item of `iterables` (with several: of one of each), and returns what gives the results in order, each within
/// `timeout` seconds from now. `submit` gets the arguments, borrowed, and returns a future that is owned, or null with the error set.
///
/// # Errors
/// What the iterables raise, and what `submit` does.
pub fn each(
    iterables: &Bound<'_, PyTuple>,
    timeout: Option<&Bound<'_, PyAny>>,
    mut submit: impl FnMut(&[*mut PyObject]) -> *mut PyObject,
) -> PyResult<Results> {
    let py = iterables.py();
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
        let future = if single {
            submit(&[item.as_ptr()])
        } else {
            let args: SmallVec<[_; 4]> = item
                .cast::<PyTuple>()?
                .iter_borrowed()
                .map(|arg| arg.as_ptr())
                .collect();
            submit(&args)
        };
        if future.is_null() {
            return Err(PyErr::take(py).unwrap_or_else(|| PyMemoryError::new_err(())));
        }
        // SAFETY: the reference is ours.
        futures.push_back(unsafe { Held::from_owned(future) });
    }
    Ok(Results::new(futures, limit))
}
