//! Who is told that a future has ended.

use super::Future;
use crate::asyncio::looping::{Entry, Native, Run};
use crate::asyncio::task::{self, Task, wrapper};
use pyo3::ffi::{self, PyObject};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;

/// Who is told, one turn of the loop later.
#[derive(Debug)]
pub enum Observer {
    /// A task that waits for it: it is stepped.
    Task(Py<Task>),
    /// `run(object, future)`.
    Native { run: Run, object: Py<PyAny> },
    /// `callback(future)` in a context.
    Python { callback: Py<PyAny>, context: Py<PyAny> },
}

impl Observer {
    /// What a native one belongs to.
    pub(super) fn object(&self) -> Option<*mut PyObject> {
        match self {
            Self::Task(task) => Some(task.as_ptr()),
            Self::Native { object, .. } => Some(object.as_ptr()),
            Self::Python { .. } => None,
        }
    }

    /// Puts it on the loop of `future`.
    #[inline]
    pub(super) fn schedule(self, future: &Bound<'_, Future>) -> PyResult<()> {
        let py = future.py();
        let core = future.get().core(py).filter(task::ready);
        match (self, core) {
            (Self::Task(task), Some(core)) => core.get().push(py, Entry::Task(task)),
            (Self::Native { run, object }, Some(core)) => {
                let argument = future.clone().into_any().unbind();
                core.get().push(
                    py,
                    Entry::Native(Native {
                        run,
                        object,
                        argument,
                    }),
                );
            }
            (observer, _) => return observer.call_soon(future),
        }
        Ok(())
    }

    /// As [`schedule`](Self::schedule), through the loop's `call_soon`.
    fn call_soon(self, future: &Bound<'_, Future>) -> PyResult<()> {
        let py = future.py();
        let event_loop = future.get().event_loop(py)?;
        let (callback, context) = self.shown(py)?;
        let args = [
            event_loop.as_ptr(),
            callback.as_ptr(),
            future.as_ptr(),
            context.as_ptr(),
        ];
        let names = task::context_name(py)?;
        // SAFETY: three positional arguments (the loop among them) and one by name; all are alive.
        unsafe {
            let result = ffi::PyObject_VectorcallMethod(
                intern!(py, "call_soon").as_ptr(),
                args.as_ptr(),
                3,
                names.as_ptr(),
            );
            Bound::from_owned_ptr_or_err(py, result).map(drop)
        }
    }

    /// As a callback and its context: for foreign loops, and for those who look.
    pub(super) fn shown<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        Ok(match self {
            Self::Task(task) => (wrapper::wakeup(task.bind(py))?, task.bind(py).get().context(py)),
            Self::Native { run, object } => {
                let caller = Caller {
                    run: *run,
                    object: object.clone_ref(py),
                };
                (Bound::new(py, caller)?.into_any(), wrapper::copy_context(py)?)
            }
            Self::Python { callback, context } => (callback.bind(py).clone(), context.bind(py).clone()),
        })
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Task(task) => visit.call(task),
            Self::Native { object, .. } => visit.call(object),
            Self::Python { callback, context } => {
                visit.call(callback)?;
                visit.call(context)
            }
        }
    }
}

/// A native observer as a callback.
#[pyclass(frozen, module = "plait.asyncio", name = "Observer")]
#[derive(Debug)]
struct Caller {
    run: Run,
    object: Py<PyAny>,
}

#[pymethods]
impl Caller {
    fn __call__(&self, future: &Bound<'_, PyAny>) -> PyResult<()> {
        (self.run)(self.object.bind(future.py()), future)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.object)
    }
}
