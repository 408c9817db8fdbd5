//! Who is awaited by whom: what 3.14's `asyncio.capture_call_graph` reads. Nothing on older versions.

#[cfg(Py_3_14)]
use crate::asyncio::future::stdlib;
use pyo3::prelude::*;

/// `waiter` waits for `future`.
///
/// # Errors
/// `MemoryError`.
#[inline]
pub fn add(future: &Bound<'_, PyAny>, waiter: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    #[cfg(Py_3_14)]
    if let Some(waiter) = waiter {
        stdlib!(future.py(), "asyncio.futures", "future_add_to_awaited_by")?.call1((future, waiter))?;
    }
    #[cfg(not(Py_3_14))]
    let _ = (future, waiter);
    Ok(())
}

/// `waiter` waits for `future` no more.
///
/// # Errors
/// `MemoryError`.
#[inline]
pub fn discard(future: &Bound<'_, PyAny>, waiter: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    #[cfg(Py_3_14)]
    if let Some(waiter) = waiter {
        stdlib!(future.py(), "asyncio.futures", "future_discard_from_awaited_by")?.call1((future, waiter))?;
    }
    #[cfg(not(Py_3_14))]
    let _ = (future, waiter);
    Ok(())
}
