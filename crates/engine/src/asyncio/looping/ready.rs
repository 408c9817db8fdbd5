//! What stands in the ready queue.
//!
//! A task stands there itself: whoever wakes it makes no handle and binds no method. Native callbacks carry a function and two
//! objects. Only what Python code passes to `call_soon` becomes a [`Handle`], since the caller gets to see it.

use super::LoopCore;
use super::handle::Handle;
use crate::asyncio::task::Task;
use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;

/// Something that runs in the next turn.
#[derive(Debug)]
pub enum Entry {
    /// A step of a task.
    Task(Py<Task>),
    /// A callback of Python code.
    Handle(Py<Handle>),
    /// A callback of the engine's.
    Native(Native),
}

/// What a native callback runs.
pub type Run = fn(&Bound<'_, PyAny>, &Bound<'_, PyAny>) -> PyResult<()>;

/// A native callback: `run(object, argument)`.
#[derive(Debug)]
pub struct Native {
    pub run: Run,
    pub object: Py<PyAny>,
    pub argument: Py<PyAny>,
}

impl Native {
    /// Another reference to the same callback.
    pub fn clone_ref(&self, py: Python<'_>) -> Self {
        Self {
            run: self.run,
            object: self.object.clone_ref(py),
            argument: self.argument.clone_ref(py),
        }
    }

    /// For `__traverse__`.
    ///
    /// # Errors
    /// What the visitor returns.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.object)?;
        visit.call(&self.argument)
    }
}

impl Entry {
    /// Runs it, and sees to what it raises.
    ///
    /// # Errors
    /// `KeyboardInterrupt` and `SystemExit`, which leave the loop.
    #[inline]
    pub fn run(self, core: &Bound<'_, LoopCore>) -> PyResult<()> {
        let py = core.py();
        match self {
            // Bound: these know that we are attached as they are dropped.
            Self::Task(task) => Task::step(&task.into_bound(py), core),
            Self::Handle(handle) => Handle::run(&handle.into_bound(py)),
            Self::Native(native) => {
                let (object, argument) = (native.object.into_bound(py), native.argument.into_bound(py));
                match (native.run)(&object, &argument) {
                    Ok(()) => Ok(()),
                    Err(error) => failed(core, &object, error),
                }
            }
        }
    }

    /// What the loop's messages call it.
    pub fn object<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        match self {
            Self::Task(task) => task.bind(py).as_any().clone(),
            Self::Handle(handle) => handle.bind(py).as_any().clone(),
            Self::Native(native) => native.object.bind(py).clone(),
        }
    }

    /// For `__traverse__`.
    ///
    /// # Errors
    /// What the visitor returns.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Task(task) => visit.call(task),
            Self::Handle(handle) => visit.call(handle),
            Self::Native(native) => native.traverse(visit),
        }
    }
}

/// Whether an exception leaves the loop: it is not the callback's, it is the program's.
pub fn leaves(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyKeyboardInterrupt>(py) || error.is_instance_of::<PySystemExit>(py)
}

#[cold]
fn failed(core: &Bound<'_, LoopCore>, object: &Bound<'_, PyAny>, error: PyErr) -> PyResult<()> {
    let py = core.py();
    if leaves(py, &error) {
        return Err(error);
    }
    core.call_method1(
        intern!(py, "_native_callback_failed"),
        (object, error.into_value(py)),
    )?;
    Ok(())
}

/// Puts a handle of the standard library's in: whatever has `_run` and `_cancelled`.
pub fn foreign(py: Python<'_>, handle: Py<PyAny>) -> Native {
    fn run(handle: &Bound<'_, PyAny>, _: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = handle.py();
        if !handle.getattr(intern!(py, "_cancelled"))?.is_truthy()? {
            handle.call_method0(intern!(py, "_run"))?;
        }
        Ok(())
    }
    Native {
        run,
        object: handle,
        argument: py.None(),
    }
}
