//! Awaiting from within a machine: any awaitable, step by step.

use super::{Resume, Step};
use crate::held::Held;
use pyo3::exceptions::{PyStopIteration, PyTypeError};
use pyo3::ffi::{self, PySendResult};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;

/// An awaitable that a machine drives.
#[derive(Debug)]
pub struct Drive(Held);

/// What a step of it comes to.
#[derive(Debug)]
pub enum Driven {
    /// It suspends: so does the machine, with just this.
    Suspends(Step),
    /// It has returned this.
    Returned(Py<PyAny>),
}

impl Drive {
    /// Of `awaitable`, as `await` takes it.
    ///
    /// # Errors
    /// `TypeError` if it is none.
    pub fn new(awaitable: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = awaitable.py();
        // SAFETY: attached; slots of a live object's type are called as the interpreter does.
        unsafe {
            if ffi::PyCoro_CheckExact(awaitable.as_ptr()) != 0 {
                return Ok(Self(awaitable.clone().into()));
            }
            let methods = (*ffi::Py_TYPE(awaitable.as_ptr())).tp_as_async.as_ref();
            if let Some(wait) = methods.and_then(|methods| methods.am_await) {
                let steps = Bound::from_owned_ptr_or_err(py, wait(awaitable.as_ptr()))?;
                return Ok(Self(steps.into()));
            }
        }
        Err(PyTypeError::new_err(format!(
            "object {} can't be used in 'await' expression",
            awaitable.get_type().name()?
        )))
    }

    /// The next step.
    ///
    /// # Errors
    /// What it raises.
    pub fn step(&self, py: Python<'_>, resume: Resume) -> PyResult<Driven> {
        let steps = self.0.bind(py);
        let error = match resume {
            Resume::Throw(error) => error,
            Resume::Next => {
                let mut result = std::ptr::null_mut();
                // SAFETY: attached; the result is owned.
                return unsafe {
                    match ffi::PyIter_Send(steps.as_ptr(), ffi::Py_None(), &raw mut result) {
                        PySendResult::PYGEN_NEXT => Ok(Self::suspends(Bound::from_owned_ptr(py, result))),
                        PySendResult::PYGEN_RETURN => {
                            Ok(Driven::Returned(Bound::from_owned_ptr(py, result).unbind()))
                        }
                        PySendResult::PYGEN_ERROR => Err(PyErr::fetch(py)),
                    }
                };
            }
        };
        let Some(throw) = steps.getattr_opt(intern!(py, "throw"))? else {
            return Err(error);
        };
        match throw.call1((error.into_value(py),)) {
            Ok(yielded) => Ok(Self::suspends(yielded)),
            Err(error) if error.is_instance_of::<PyStopIteration>(py) => {
                let value = error.value(py).getattr(intern!(py, "value"))?;
                Ok(Driven::Returned(value.unbind()))
            }
            Err(error) => Err(error),
        }
    }

    fn suspends(yielded: Bound<'_, PyAny>) -> Driven {
        Driven::Suspends(if yielded.is_none() {
            Step::Yield
        } else {
            Step::Foreign(yielded.unbind())
        })
    }

    /// As [`Machine::traverse`](super::Machine::traverse).
    ///
    /// # Errors
    /// What the visitor returns.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.traverse(visit)
    }
}
