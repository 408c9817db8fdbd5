//! The functions about tasks: which there are, which one runs, and what makes them.

#[cfg(Py_3_12)]
use super::{Options, Task};
use super::{current, registry};
use crate::asyncio::future::stdlib;
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
#[cfg(Py_3_12)]
use pyo3::types::PyDict;
use pyo3::types::PySet;

/// The running loop.
fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    stdlib!(py, "_asyncio", "get_running_loop")?.call0()
}

/// The task that runs in `loop` (None: the running loop), or None; as `asyncio.current_task`.
#[pyfunction]
#[pyo3(signature = (r#loop=None))]
pub fn current_task<'py>(
    py: Python<'py>,
    r#loop: Option<&Bound<'py, PyAny>>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    current::current_task(py, r#loop)
}

/// The native tasks of `loop` (None: the running loop) that have not ended, as a set.
#[pyfunction]
#[pyo3(signature = (r#loop=None))]
pub fn native_tasks<'py>(py: Python<'py>, r#loop: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PySet>> {
    let tasks = match r#loop {
        Some(event_loop) => registry::tasks(py, event_loop),
        None => registry::tasks(py, &running_loop(py)?),
    };
    PySet::new(py, tasks)
}

/// All tasks of `loop` (None: the running loop) that have not ended; as `asyncio.all_tasks`. Native ones, and asyncio's own.
#[pyfunction]
#[pyo3(signature = (r#loop=None))]
pub fn all_tasks<'py>(py: Python<'py>, r#loop: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PySet>> {
    let event_loop = match r#loop {
        Some(event_loop) => event_loop.clone(),
        None => running_loop(py)?,
    };
    // The standard library's function, as it was when this module was imported.
    let others = ALL_TASKS
        .get(py)
        .ok_or_else(|| PyRuntimeError::new_err("plait.asyncio is not initialized"))?
        .bind(py)
        .call1((&event_loop,))?;
    let all = PySet::new(py, registry::tasks(py, &event_loop))?;
    all.call_method1(intern!(py, "update"), (others,))?;
    Ok(all)
}

static ALL_TASKS: pyo3::sync::PyOnceLock<Py<PyAny>> = pyo3::sync::PyOnceLock::new();

/// Remembers what will be replaced.
pub(crate) fn remember(py: Python<'_>) -> PyResult<()> {
    ALL_TASKS.get_or_try_init(py, || {
        Ok::<_, PyErr>(py.import("asyncio.tasks")?.getattr("all_tasks")?.unbind())
    })?;
    Ok(())
}

/// A task that begins at once, in the middle of the one that makes it; as `asyncio.eager_task_factory`.
#[cfg(Py_3_12)]
#[pyfunction]
#[pyo3(signature = (r#loop, coro, *, name=None, context=None, **options))]
pub fn eager_task_factory<'py>(
    r#loop: &Bound<'py, PyAny>,
    coro: &Bound<'py, PyAny>,
    name: Option<&Bound<'py, PyAny>>,
    context: Option<&Bound<'py, PyAny>>,
    options: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, Task>> {
    let eager = match options
        .map(|options| options.get_item("eager_start"))
        .transpose()?
        .flatten()
    {
        Some(eager) => eager.is_truthy()?,
        None => true,
    };
    let task = crate::asyncio::future::object::new_task(coro.py())?;
    Task::begin(&task, coro, r#loop, Options { name, context, eager })?;
    Ok(task)
}
