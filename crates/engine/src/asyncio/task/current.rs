//! Which task runs in a loop: `_asyncio`'s notion, kept right, so that whoever asks there, in C or in Python, hears the truth.

use super::Task;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// A function of `_asyncio`: never of `asyncio`, whose names we replace.
macro_rules! native {
    ($py:expr, $name:literal) => {{
        static PLACE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        PLACE.import($py, "_asyncio", $name)
    }};
}

/// The task that runs in `event_loop`, or in the loop that runs in this thread.
///
/// # Errors
/// `RuntimeError` if no loop is given and none runs.
pub fn current_task<'py>(
    py: Python<'py>,
    event_loop: Option<&Bound<'py, PyAny>>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    if cfg!(Py_3_12) {
        let ask = native!(py, "current_task")?;
        let task = match event_loop {
            Some(event_loop) => ask.call1((event_loop,))?,
            None => ask.call0()?,
        };
        return Ok(Some(task).filter(|task| !task.is_none()));
    }
    let running;
    let event_loop = match event_loop {
        Some(event_loop) => event_loop,
        None => {
            running = native!(py, "get_running_loop")?.call0()?;
            &running
        }
    };
    let tasks = native!(py, "_current_tasks")?.cast::<pyo3::types::PyDict>()?;
    pyo3::types::PyDictMethods::get_item(tasks, event_loop)
}

/// The running task of this thread's loop.
pub fn current(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    current_task(py, None).ok().flatten()
}

/// Makes `task` (null: none) the one that runs in `event_loop`; returns the one before.
#[inline]
pub(super) fn swap<'py>(
    py: Python<'py>,
    event_loop: *mut PyObject,
    task: *mut PyObject,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: attached; the objects are alive, as the callers hold references.
    unsafe {
        let task = if task.is_null() { ffi::Py_None() } else { task };
        if cfg!(Py_3_12) {
            let swap = native!(py, "_swap_current_task")?;
            let args = [event_loop, task];
            let before = ffi::PyObject_Vectorcall(swap.as_ptr(), args.as_ptr(), 2, std::ptr::null_mut());
            return Bound::from_owned_ptr_or_err(py, before);
        }
        let tasks = native!(py, "_current_tasks")?;
        let before = ffi::PyDict_GetItemWithError(tasks.as_ptr(), event_loop);
        if before.is_null() && !ffi::PyErr_Occurred().is_null() {
            return Err(PyErr::fetch(py));
        }
        let before = Bound::from_borrowed_ptr_or_opt(py, before);
        let done = if task != ffi::Py_None() {
            ffi::PyDict_SetItem(tasks.as_ptr(), event_loop, task)
        } else if before.is_some() {
            ffi::PyDict_DelItem(tasks.as_ptr(), event_loop)
        } else {
            0
        };
        if done != 0 {
            return Err(PyErr::fetch(py));
        }
        Ok(before.unwrap_or_else(|| py.None().into_bound(py)))
    }
}

/// `task` runs in `event_loop` from now on.
///
/// # Errors
/// `RuntimeError` if another one does, and, on 3.14, if the loop does not run in this thread.
#[inline]
pub(super) fn enter(event_loop: *mut PyObject, task: &Bound<'_, Task>) -> PyResult<()> {
    let before = swap(task.py(), event_loop, task.as_ptr())?;
    if before.is_none() {
        return Ok(());
    }
    swap(task.py(), event_loop, before.as_ptr())?;
    Err(PyRuntimeError::new_err(format!(
        "Cannot enter into task {} while another task {} is being executed.",
        task.repr()?,
        before.repr()?
    )))
}

/// And no longer.
#[inline]
pub(super) fn leave(py: Python<'_>, event_loop: *mut PyObject) -> PyResult<()> {
    swap(py, event_loop, std::ptr::null_mut()).map(drop)
}
