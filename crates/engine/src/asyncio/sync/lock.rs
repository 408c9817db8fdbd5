//! `Lock`, as `asyncio.Lock`.

use super::permit::{Classes, Permit};
use super::waiters::{self, Waiters};
use crate::asyncio::await_::{Await, Machine, Resume, Step};
use crate::held::Held;
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A lock for tasks: `async with lock`, or `await lock.acquire()` and `lock.release()`. Those that wait get it in order.
#[pyclass(frozen, subclass, dict, weakref, module = "asyncio.locks")]
#[derive(Debug, Default)]
pub struct Lock {
    locked: AtomicBool,
    waiters: Waiters,
}

impl Lock {
    /// Whether it is taken.
    #[inline]
    pub fn is_locked(&self) -> bool {
        self.locked.load(Relaxed)
    }

    /// Takes it, unless it is taken or somebody is in line.
    ///
    /// # Errors
    /// What asking foreign futures raises.
    #[inline]
    pub fn try_take(&self, py: Python<'_>) -> PyResult<bool> {
        if self.is_locked() || !self.waiters.only_cancelled(py)? {
            return Ok(false);
        }
        self.locked.store(true, Relaxed);
        Ok(true)
    }

    /// Sees to it that the first in line runs, whether it is pending or has been woken before.
    #[inline]
    fn wake_first(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(first) = self.waiters.futures.get(py).and_then(|line| line.get(py, 0)) {
            waiters::wake(&first, waiters::truth(py, true))?;
        }
        Ok(())
    }

    /// Gives it back.
    ///
    /// # Errors
    /// `RuntimeError` if it is not taken.
    #[inline]
    pub fn give(&self, py: Python<'_>) -> PyResult<()> {
        if !self.is_locked() {
            return Err(PyRuntimeError::new_err("Lock is not acquired."));
        }
        self.locked.store(false, Relaxed);
        self.wake_first(py)
    }
}

/// Takes a lock.
#[derive(Debug)]
pub struct Acquire {
    lock: Held,
    future: Option<Held>,
    quiet: bool,
}

impl Acquire {
    /// Of `lock`; returns None if `quiet`.
    pub fn new(lock: &Bound<'_, Lock>, quiet: bool) -> Self {
        Self {
            lock: lock.clone().into_any().into(),
            future: None,
            quiet,
        }
    }
}

impl Machine for Acquire {
    const NAME: &'static str = "Lock.acquire";

    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        let owner = self.lock.bind(py);
        // SAFETY: it was made of a lock.
        let lock = unsafe { owner.cast_unchecked::<Lock>() };
        let this = lock.get();
        if let Some(future) = self.future.take() {
            this.waiters.leave(py, &future);
            if let Resume::Throw(error) = resume {
                if !this.is_locked() && waiters::is_cancellation(py, &error)? {
                    this.wake_first(py)?;
                }
                return Err(error);
            }
            this.waiters.keep(py, future);
            this.locked.store(true, Relaxed);
        } else if let Resume::Throw(error) = resume {
            return Err(error);
        } else if !this.try_take(py)? {
            let future = this.waiters.enqueue(&owner)?;
            self.future = Some(future.clone().into_any().into());
            return Ok(Step::Wait(future.unbind()));
        }
        Ok(if self.quiet {
            Step::ReturnNone
        } else {
            Step::Return(waiters::truth(py, true))
        })
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.lock.traverse(visit)?;
        self.future
            .as_ref()
            .map_or(Ok(()), |future| future.traverse(visit))
    }
}

impl Permit for Lock {
    fn take(slf: &Bound<'_, Self>) -> PyResult<bool> {
        slf.get().try_take(slf.py())
    }

    #[inline]
    fn take_quickly(&self, py: Python<'_>) -> bool {
        if self.is_locked() || !self.waiters.futures.is_empty(py) {
            return false;
        }
        self.locked.store(true, Relaxed);
        true
    }

    #[inline]
    fn release_quickly(&self, py: Python<'_>) -> bool {
        if !self.is_locked() || !self.waiters.futures.is_empty(py) {
            return false;
        }
        self.locked.store(false, Relaxed);
        true
    }

    fn acquire<'py>(slf: &Bound<'py, Self>, quiet: bool) -> PyResult<Bound<'py, PyAny>> {
        Ok(Await::create(slf.py(), Acquire::new(slf, quiet))?.into_any())
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
impl Lock {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "()")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::default()
    }

    fn __init__(&self) {}

    /// Whether it is taken.
    fn locked(&self) -> bool {
        self.is_locked()
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let extra = if slf.get().is_locked() {
            "locked"
        } else {
            "unlocked"
        };
        waiters::repr(slf.as_any(), extra, slf.get().waiters.futures.len(slf.py()))
    }

    #[getter]
    fn _locked(&self) -> bool {
        self.is_locked()
    }

    #[setter(_locked)]
    fn set_locked(&self, locked: bool) {
        self.locked.store(locked, Relaxed);
    }

    #[getter]
    fn _waiters<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.waiters.futures.shown(py)
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
        self.waiters.traverse(&visit)
    }

    fn __clear__(&self) {
        self.waiters.clear();
    }
}
