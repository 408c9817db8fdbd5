//! Which tasks there are, and which one runs.

use super::Task;
use crate::asyncio::future::stdlib;
use pyo3::prelude::*;

/// Makes it known to `asyncio.all_tasks()`.
pub(super) fn register(task: &Bound<'_, Task>) -> PyResult<()> {
    stdlib!(task.py(), "asyncio.tasks", "_register_task")?.call1((task,))?;
    Ok(())
}

/// The running task of this thread's loop.
pub fn current(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    let current = stdlib!(py, "asyncio.tasks", "current_task").ok()?;
    current.call0().ok().filter(|task| !task.is_none())
}

/// `task` runs in `event_loop` from now on.
pub(super) fn enter(event_loop: &Bound<'_, PyAny>, task: &Bound<'_, Task>) -> PyResult<()> {
    stdlib!(task.py(), "asyncio.tasks", "_enter_task")?.call1((event_loop, task))?;
    Ok(())
}

/// And no longer.
pub(super) fn leave(event_loop: &Bound<'_, PyAny>, task: &Bound<'_, Task>) -> PyResult<()> {
    stdlib!(task.py(), "asyncio.tasks", "_leave_task")?.call1((event_loop, task))?;
    Ok(())
}
