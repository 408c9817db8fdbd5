//! Which task runs in a loop: `_asyncio`'s notion, kept right, so that whoever asks there, in C or in Python, hears the truth.

use super::Task;
#[cfg(Py_3_14)]
use crate::asyncio::looping;
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
    #[cfg(Py_3_14)]
    if let Some(event_loop) = looping::running(py)
        && let Some(task) = place::current(event_loop.as_ptr())
    {
        // SAFETY: attached; it runs, and so is alive.
        return Some(unsafe { Bound::from_borrowed_ptr(py, task) });
    }
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
    #[cfg(Py_3_14)]
    if place::enter(event_loop, task.as_ptr()) {
        return Ok(());
    }
    let before = swap(task.py(), event_loop, task.as_ptr())?;
    if before.is_none() {
        #[cfg(Py_3_14)]
        place::find(event_loop, task.as_ptr());
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
pub(super) fn leave(event_loop: *mut PyObject, task: &Bound<'_, Task>) -> PyResult<()> {
    #[cfg(Py_3_14)]
    if place::leave(event_loop, task.as_ptr()) {
        return Ok(());
    }
    swap(task.py(), event_loop, std::ptr::null_mut()).map(drop)
}

/// Where the thread's state keeps its running loop and that loop's running task: two pointers beside each other, of which 3.14 tells
/// the place to debuggers only. A step writes there itself what `_swap_current_task` would write, at a twentieth of its cost.
///
/// The place is looked for once, after a call of `_swap_current_task` has written there: it is the first one that holds this loop
/// and this task side by side. Before each use the loop that is there has to be the one that is meant, and the task the
/// one that is expected; else the call is made.
#[cfg(Py_3_14)]
mod place {
    use pyo3::ffi::{self, PyObject};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// How far to look at most, in words.
    const MOST: usize = 128;
    /// The number of words before the place; 0 if it has not been looked for, `MOST` if it was not found.
    static OFFSET: AtomicUsize = AtomicUsize::new(0);

    /// The running loop and the running task of this thread.
    #[inline]
    fn known() -> Option<*mut [*mut PyObject; 2]> {
        let offset = OFFSET.load(Ordering::Relaxed);
        if offset == 0 || offset >= MOST {
            return None;
        }
        // SAFETY: attached, so there is a state, which has the two at this place.
        Some(unsafe {
            ffi::PyThreadState_Get()
                .cast::<*mut PyObject>()
                .add(offset)
                .cast()
        })
    }

    /// Remembers where the two are.
    #[cold]
    pub fn find(event_loop: *mut PyObject, task: *mut PyObject) {
        if OFFSET.load(Ordering::Relaxed) != 0 {
            return;
        }
        // SAFETY: attached; what is looked for is in the state, and nothing behind it is read. Nothing is written.
        let word = |at: usize| unsafe {
            ffi::PyThreadState_Get()
                .cast::<*mut PyObject>()
                .add(at)
                .read_volatile()
        };
        let found = (1..MOST).find(|&at| word(at) == event_loop && word(at + 1) == task);
        OFFSET.store(found.unwrap_or(MOST), Ordering::Relaxed);
    }

    /// The task that runs in `event_loop`, if that is the one that runs in this thread.
    #[inline]
    pub fn current(event_loop: *mut PyObject) -> Option<*mut PyObject> {
        let place = known()?;
        // SAFETY: only this thread writes there while it is attached.
        let [its, task] = unsafe { *place };
        (its == event_loop && !task.is_null()).then_some(task)
    }

    /// Puts `task` where no task is. False: nothing was done.
    #[inline]
    pub fn enter(event_loop: *mut PyObject, task: *mut PyObject) -> bool {
        let Some(place) = known() else { return false };
        // SAFETY: only this thread writes there while it is attached, and whoever reads from another one has stopped it.
        unsafe {
            if (*place)[0] != event_loop || !(*place)[1].is_null() {
                return false;
            }
            ffi::Py_INCREF(task);
            (*place)[1] = task;
        }
        true
    }

    /// Takes `task` away if it is there. False: nothing was done.
    #[inline]
    pub fn leave(event_loop: *mut PyObject, task: *mut PyObject) -> bool {
        let Some(place) = known() else { return false };
        // SAFETY: as above; the reference was the place's, and is not the last one: the caller has one.
        unsafe {
            if (*place)[0] != event_loop || (*place)[1] != task {
                return false;
            }
            (*place)[1] = std::ptr::null_mut();
            ffi::Py_DECREF(task);
        }
        true
    }
}
