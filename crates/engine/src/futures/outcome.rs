//! What a future ends with: an object, or what a process sent, which becomes one when somebody asks.

use crate::held::Held;
use crate::hot;
use crate::process::outcome::{Opened, Packed};
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

/// What a future ends with.
#[derive(Debug)]
pub enum Outcome {
    /// A result.
    Value(Held),
    /// An exception: an instance of `BaseException`.
    Error(Held),
    /// What a process sent, which nobody may have unpacked yet.
    Packed(Box<Packed>),
}

impl Outcome {
    /// The object, which is unpacked if need be.
    #[inline]
    pub fn open(&self, py: Python<'_>) -> Opened {
        match self {
            Self::Value(value) => Opened::Value(value.as_ptr()),
            Self::Error(error) => Opened::Error(error.as_ptr()),
            Self::Packed(packed) => packed.open(py),
        }
    }

    /// Whether it is an exception, without unpacking it.
    #[inline]
    #[must_use]
    pub fn failed(&self) -> bool {
        match self {
            Self::Value(_) => false,
            Self::Error(_) => true,
            Self::Packed(packed) => packed.failed(),
        }
    }

    /// For `__traverse__`.
    ///
    /// # Errors
    /// What the visitor returns.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Value(object) | Self::Error(object) => object.traverse(visit),
            Self::Packed(packed) => packed.traverse(visit),
        }
    }
}

/// A new reference to the result; or null, with the exception raised as by a `raise` statement.
#[inline]
pub fn give(outcome: &Outcome) -> *mut PyObject {
    match outcome {
        Outcome::Value(value) => give_opened(Opened::Value(value.as_ptr())),
        Outcome::Error(error) => give_opened(Opened::Error(error.as_ptr())),
        Outcome::Packed(packed) => {
            // SAFETY: the thread is attached, as whoever has the outcome shows.
            let opened = packed.opened(unsafe { Python::assume_attached() });
            match opened {
                Some(opened) => give_opened(opened),
                // SAFETY: as above.
                None => unsafe { hot::slow(|py| Ok(give_opened(packed.open(py)))) },
            }
        }
    }
}

#[inline]
fn give_opened(opened: Opened) -> *mut PyObject {
    // SAFETY: as above; what was opened is alive, and an error is an exception.
    unsafe {
        match opened {
            Opened::Value(value) => {
                ffi::Py_INCREF(value);
                value
            }
            Opened::Error(error) => {
                ffi::PyErr_SetObject(ffi::Py_TYPE(error).cast(), error);
                std::ptr::null_mut()
            }
        }
    }
}
