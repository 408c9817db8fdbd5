//! Who is awaited by whom: what 3.14's `asyncio.capture_call_graph` reads. Nothing on older versions.
//!
//! A future of ours is asked for its observers, and [`waiter`] tells which task is behind one. Only of foreign ones it has to be
//! said.

use super::completed::AsCompleted;
use super::gather::Gathering;
use super::shield::Shield;
use super::taskgroup::TaskGroup;
use super::wait::Watch;
use crate::asyncio::future::{object, stdlib};
use pyo3::prelude::*;

/// The task that waits, in the end, for what tells `observer`; if it is one of this module's, and known.
pub fn waiter<'py>(observer: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    let py = observer.py();
    if let Ok(gathering) = observer.cast::<Gathering>() {
        return gathering.get().waiter(py);
    }
    if let Ok(group) = observer.cast::<TaskGroup>() {
        return group.get().parent(py);
    }
    if let Ok(watch) = observer.cast::<Watch>() {
        return watch.get().task.as_ref().map(|task| task.bind(py).clone());
    }
    if let Ok(completed) = observer.cast::<AsCompleted>() {
        return completed.get().task(py);
    }
    if let Ok(shield) = observer.cast::<Shield>() {
        return shield.get().task.as_ref().map(|task| task.bind(py).clone());
    }
    None
}

/// `waiter` waits for `future`.
///
/// # Errors
/// `MemoryError`.
#[inline]
pub fn add(future: &Bound<'_, PyAny>, waiter: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    match waiter {
        Some(waiter) if cfg!(Py_3_14) && !object::is_native(future) => {
            let add = stdlib!(future.py(), "asyncio.futures", "future_add_to_awaited_by")?;
            add.call1((future, waiter)).map(drop)
        }
        _ => Ok(()),
    }
}

/// `waiter` waits for `future` no more.
///
/// # Errors
/// `MemoryError`.
#[inline]
pub fn discard(future: &Bound<'_, PyAny>, waiter: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    match waiter {
        Some(waiter) if cfg!(Py_3_14) && !object::is_native(future) => {
            let discard = stdlib!(future.py(), "asyncio.futures", "future_discard_from_awaited_by")?;
            discard.call1((future, waiter)).map(drop)
        }
        _ => Ok(()),
    }
}
