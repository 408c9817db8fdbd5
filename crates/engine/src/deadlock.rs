//! Waits that last are entered in the wait graph; the last one to close a cycle finds it.
//!
//! Nothing of this is on a fast path: a wait comes here when it has lasted 100 ms, enters itself, and
//! looks ([`Watch::look`]). A verdict is checked again 100 ms later before it is believed.

use plait_core::Waiter;
use plait_core::graph::Wait;
use pyo3::{ffi, prelude::*};

/// What a thread waits for, and who could end the wait.
pub trait Reason {
    /// The object that is waited for, borrowed: alive as long as the wait.
    fn object(&self) -> *mut ffi::PyObject;

    /// What is done with it, as in "waits to *acquire* Lock".
    fn action(&self) -> &'static str;

    /// Who could end the wait. Called under the graph's lock: reads atomics only, never Python.
    fn resolvers(&self) -> Wait;
}

/// Whether waits are watched at all (`PLAIT_DEADLOCK`).
#[must_use]
pub fn enabled() -> bool {
    false
}

/// One thread's wait, while it lasts.
#[derive(Debug)]
pub struct Watch;

impl Watch {
    /// Not entered yet.
    pub fn new(_waiter: &Waiter, _reason: &dyn Reason) -> Self {
        Self
    }

    /// Enters the wait, if it has not been, and looks for a deadlock. True to be called again.
    ///
    /// # Errors
    /// `DeadlockError` where nobody can ever end the wait.
    pub fn look(&mut self, _py: Python<'_>) -> PyResult<bool> {
        Ok(false)
    }
}

/// The reason of a wait that anyone might end: an event, a semaphore, a queue.
#[derive(Debug)]
pub struct Anyone {
    pub object: *mut ffi::PyObject,
    pub action: &'static str,
}

impl Reason for Anyone {
    fn object(&self) -> *mut ffi::PyObject {
        self.object
    }

    fn action(&self) -> &'static str {
        self.action
    }

    fn resolvers(&self) -> Wait {
        Wait {
            resolvers: Vec::new(),
            only_these: false,
        }
    }
}

/// Whether `error` says that a wait can never end.
#[must_use]
pub fn is_error(_py: Python<'_>, _error: &PyErr) -> bool {
    false
}
