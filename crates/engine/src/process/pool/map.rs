//! `map`: a call for each item; results in order.

use super::{ProcessPoolCore, submit_call};
use crate::futures::{items, results::Results};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// Submits `function` for each item of the iterables.
///
/// # Errors
/// What the iterables raise, and as `submit`.
pub fn map(
    slf: &Bound<'_, ProcessPoolCore>,
    function: &Bound<'_, PyAny>,
    iterables: &Bound<'_, PyTuple>,
    timeout: Option<&Bound<'_, PyAny>>,
) -> PyResult<Results> {
    let this = slf.get();
    let driver = this.driver()?;
    items::each(iterables, timeout, |args| {
        // SAFETY: the arguments are alive meanwhile; attached.
        unsafe {
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
        }
    })
}
