//! Where the caller stands: the running loop, the current task, and a new task on a loop, of ours or of anybody's.

use crate::asyncio::future::stdlib;
use crate::asyncio::looping;
use crate::asyncio::task;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;

/// The loop that runs in this thread.
///
/// # Errors
/// What the standard library raises when it is asked.
pub fn running(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    if let Some(core) = looping::running(py) {
        return Ok(Some(core.into_any()));
    }
    let found = stdlib!(py, "asyncio.events", "_get_running_loop")?.call0()?;
    Ok((!found.is_none()).then_some(found))
}

/// The loop that runs in this thread.
///
/// # Errors
/// `RuntimeError` if there is none.
pub fn needed(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    running(py)?.ok_or_else(|| PyRuntimeError::new_err("no running event loop"))
}

/// The running loop, or the one that `asyncio.get_event_loop()` has for this thread.
///
/// # Errors
/// `RuntimeError` if there is none.
pub fn event_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    if let Some(core) = looping::running(py) {
        return Ok(core.into_any());
    }
    #[cfg(Py_3_12)]
    return stdlib!(py, "asyncio.events", "get_event_loop")?.call0();
    #[cfg(not(Py_3_12))]
    return stdlib!(py, "asyncio.events", "_get_event_loop")?.call0();
}

/// The task that runs now in `event_loop`, or None.
///
/// # Errors
/// What the standard library raises when it is asked.
pub fn current_task<'py>(event_loop: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = event_loop.py();
    if let Some(core) = looping::running(py)
        && core.is(event_loop)
    {
        return Ok(task::current(py));
    }
    let found = stdlib!(py, "asyncio.tasks", "current_task")?.call1((event_loop,))?;
    Ok((!found.is_none()).then_some(found))
}

/// Whether asyncio takes `object` for a coroutine.
///
/// # Errors
/// What the standard library raises when it is asked.
pub fn is_coroutine(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    // SAFETY: the object is alive.
    if unsafe { ffi::PyCoro_CheckExact(object.as_ptr()) } != 0 {
        return Ok(true);
    }
    stdlib!(object.py(), "asyncio.coroutines", "iscoroutine")?
        .call1((object,))?
        .is_truthy()
}
