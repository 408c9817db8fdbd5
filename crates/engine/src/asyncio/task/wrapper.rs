//! A task's step and wake-up as callables, for loops that are not ours; contexts.

use super::Task;
use crate::hot;
use pyo3::ffi::{self, PyMethodDef, PyObject};
use pyo3::prelude::*;

/// A copy of the current context.
pub fn copy_context(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: the result is owned, or null with the error set.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent()) }
}

unsafe extern "C" fn run_step(task: *mut PyObject, _none: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter with the Task that `bound` gave it, attached.
    unsafe {
        hot::slow(|py| {
            let task = Borrowed::from_ptr(py, task).cast_unchecked::<Task>();
            Task::step_in_context(&task)?;
            Ok(hot::none())
        })
    }
}

unsafe extern "C" fn run_wakeup(task: *mut PyObject, _future: *mut PyObject) -> *mut PyObject {
    // SAFETY: as in `run_step`.
    unsafe { run_step(task, std::ptr::null_mut()) }
}

struct Definition(PyMethodDef);
// SAFETY: never changed.
unsafe impl Sync for Definition {}

static STEP: Definition = Definition(hot::no_args(c"TaskStepMethWrapper", c"", run_step));
static WAKEUP: Definition = Definition(hot::one_arg(c"task_wakeup", c"", run_wakeup));

fn bound<'py>(task: &Bound<'py, Task>, definition: &'static Definition) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the definition is static; the interpreter does not write to it.
    unsafe {
        let definition = (&raw const definition.0).cast_mut();
        let function = ffi::PyCFunction_NewEx(definition, task.as_ptr(), std::ptr::null_mut());
        Bound::from_owned_ptr_or_err(task.py(), function)
    }
}

/// `task`'s step, without arguments.
pub fn step<'py>(task: &Bound<'py, Task>) -> PyResult<Bound<'py, PyAny>> {
    bound(task, &STEP)
}

/// `task`'s wake-up, with the future it waited for.
pub fn wakeup<'py>(task: &Bound<'py, Task>) -> PyResult<Bound<'py, PyAny>> {
    bound(task, &WAKEUP)
}

/// The task of a wake-up or a step that C code passes to our `call_soon`: it can be pushed itself.
#[inline]
pub fn task_of<'a, 'py>(callback: &'a Bound<'py, PyAny>) -> Option<Borrowed<'a, 'py, Task>> {
    // SAFETY: a function of C has a definition; one with our definition has a Task for its `self`.
    unsafe {
        if ffi::Py_TYPE(callback.as_ptr()) != &raw mut ffi::PyCFunction_Type {
            return None;
        }
        let function = ffi::PyCFunction_GetFunction(callback.as_ptr())? as usize;
        if function != run_wakeup as *const () as usize && function != run_step as *const () as usize {
            return None;
        }
        let task = ffi::PyCFunction_GetSelf(callback.as_ptr());
        Some(Borrowed::from_ptr(callback.py(), task).cast_unchecked())
    }
}
