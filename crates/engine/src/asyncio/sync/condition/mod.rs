//! `Condition`, as `asyncio.Condition`.
//!
//! [`wait`] is its waiting. Around a plait lock it goes past Python; around anything else it calls that object's `acquire`, `release` and `locked`.

pub mod wait;

pub use wait::Wait;

use crate::asyncio::await_::Await;
use crate::asyncio::sync::lock::Lock;
use crate::asyncio::sync::permit::{Classes, Permit};
use crate::asyncio::sync::waiters::{self, Waiters};
use crate::held::{Held, HeldSlot};
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// A condition variable for tasks: `async with condition`, `await condition.wait()`, `condition.notify()`.
#[pyclass(frozen, subclass, dict, weakref, module = "asyncio.locks")]
#[derive(Debug, Default)]
pub struct Condition {
    lock: HeldSlot,
    waiters: Waiters,
}

impl Condition {
    /// One with a new lock.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn create(py: Python<'_>) -> PyResult<Bound<'_, Self>> {
        let condition = Bound::new(py, Self::default())?;
        condition.get().start(py, None)?;
        Ok(condition)
    }

    fn start(&self, py: Python<'_>, lock: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        let lock = match lock.filter(|lock| !lock.is_none()) {
            None => Bound::new(py, Lock::default())?.into_any(),
            Some(lock) => {
                for name in ["locked", "acquire", "release"] {
                    lock.getattr(name)?;
                }
                lock
            }
        };
        self.lock.replace(Some(lock.into()));
        Ok(())
    }

    fn lock<'a, 'py>(&'a self, py: Python<'py>) -> PyResult<Borrowed<'a, 'py, PyAny>> {
        self.lock
            .get(py)
            .ok_or_else(|| PyRuntimeError::new_err("Condition.__init__() was not called"))
    }

    /// Its lock, if it is one of ours.
    ///
    /// # Errors
    /// `RuntimeError` without `__init__`.
    pub fn own_lock<'a, 'py>(&'a self, py: Python<'py>) -> PyResult<Option<Borrowed<'a, 'py, Lock>>> {
        let lock = self.lock(py)?;
        if Lock::classes().made(&lock) {
            // SAFETY: that is what has just been asked.
            return Ok(Some(unsafe { lock.cast_unchecked() }));
        }
        Ok(None)
    }

    fn is_locked(&self, py: Python<'_>) -> PyResult<bool> {
        match self.own_lock(py)? {
            Some(lock) => Ok(lock.get().is_locked()),
            None => self.lock(py)?.call_method0(intern!(py, "locked"))?.is_truthy(),
        }
    }

    fn give(&self, py: Python<'_>) -> PyResult<()> {
        match self.own_lock(py)? {
            Some(lock) => lock.get().give(py),
            None => self.lock(py)?.call_method0(intern!(py, "release")).map(drop),
        }
    }

    /// Wakes up to `n` that wait.
    ///
    /// # Errors
    /// `RuntimeError` if the lock is not held.
    pub fn tell(&self, py: Python<'_>, n: usize) -> PyResult<()> {
        if !self.is_locked(py)? {
            return Err(PyRuntimeError::new_err("cannot notify on un-acquired lock"));
        }
        self.waiters.wake(py, n, false).map(drop)
    }
}

impl Permit for Condition {
    fn take(slf: &Bound<'_, Self>) -> PyResult<bool> {
        match slf.get().own_lock(slf.py())? {
            Some(lock) => lock.get().try_take(slf.py()),
            None => Ok(false),
        }
    }

    fn take_quickly(&self, py: Python<'_>) -> bool {
        matches!(self.own_lock(py), Ok(Some(lock)) if lock.get().take_quickly(py))
    }

    fn release_quickly(&self, py: Python<'_>) -> bool {
        matches!(self.own_lock(py), Ok(Some(lock)) if lock.get().release_quickly(py))
    }

    fn acquire<'py>(slf: &Bound<'py, Self>, quiet: bool) -> PyResult<Bound<'py, PyAny>> {
        match slf.get().own_lock(slf.py())? {
            Some(lock) => Lock::acquire(&lock, quiet),
            None => slf
                .get()
                .lock(slf.py())?
                .call_method0(intern!(slf.py(), "acquire")),
        }
    }

    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().give(slf.py())
    }

    fn classes() -> &'static Classes {
        static CLASSES: Classes = Classes::new();
        &CLASSES
    }
}

#[pymethods]
impl Condition {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(lock=None)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::default()
    }

    #[pyo3(signature = (lock=None))]
    fn __init__(&self, py: Python<'_>, lock: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        self.start(py, lock)
    }

    /// Whether the lock is held.
    fn locked(&self, py: Python<'_>) -> PyResult<bool> {
        self.is_locked(py)
    }

    /// Coroutine that releases the lock, waits until notified, and has the lock again; its result is True.
    fn wait<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Await>> {
        Await::create(slf.py(), Wait::new(slf))
    }

    /// Coroutine that waits until `predicate()` is true; its result is what that returned.
    fn wait_for<'py>(slf: &Bound<'py, Self>, predicate: Bound<'py, PyAny>) -> PyResult<Bound<'py, Await>> {
        Await::create(slf.py(), wait::WaitFor::new(slf, predicate))
    }

    /// Wake up to `n` of those that wait. The lock has to be held.
    #[pyo3(signature = (n=1))]
    fn notify(&self, py: Python<'_>, n: isize) -> PyResult<()> {
        self.tell(py, usize::try_from(n).unwrap_or(0))
    }

    /// Wake all that wait. The lock has to be held.
    fn notify_all(&self, py: Python<'_>) -> PyResult<()> {
        self.tell(py, usize::MAX)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let extra = if slf.get().is_locked(slf.py())? {
            "locked"
        } else {
            "unlocked"
        };
        waiters::repr(slf.as_any(), extra, slf.get().waiters.futures.len(slf.py()))
    }

    #[getter]
    fn _lock<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.lock.get(py).map(|lock| lock.to_owned())
    }

    #[getter]
    fn _waiters<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.waiters.futures.line(py)?;
        Ok(self.waiters.futures.shown(py))
    }

    #[setter(_waiters)]
    fn set_waiters(&self, waiters: &Bound<'_, PyAny>) -> PyResult<()> {
        self.waiters.futures.set(waiters)
    }

    #[getter]
    fn _loop<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.waiters.event_loop.get(py).map(|own| own.to_owned())
    }

    #[setter(_loop)]
    fn set_loop(&self, event_loop: Option<Bound<'_, PyAny>>) {
        self.waiters.event_loop.replace(event_loop.map(Held::from));
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.lock.traverse(&visit)?;
        self.waiters.traverse(&visit)
    }

    fn __clear__(&self) {
        self.lock.replace(None);
        self.waiters.clear();
    }
}
