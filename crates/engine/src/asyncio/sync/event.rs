//! `Event`, as `asyncio.Event`.

use super::waiters::{self, Waiters};
use crate::asyncio::await_::{Await, Machine, Resume, Step};
use crate::held::Held;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A flag that tasks wait for: `await event.wait()`, `event.set()`, `event.clear()`.
#[pyclass(frozen, subclass, dict, weakref, module = "asyncio.locks")]
#[derive(Debug, Default)]
pub struct Event {
    value: AtomicBool,
    waiters: Waiters,
}

impl Event {
    /// Sets the flag and wakes all that wait.
    ///
    /// # Errors
    /// What completing a foreign future raises.
    #[inline]
    pub fn raise(&self, py: Python<'_>) -> PyResult<()> {
        if !self.value.swap(true, Relaxed) {
            self.waiters.wake(py, usize::MAX, true)?;
        }
        Ok(())
    }

    /// Clears the flag.
    #[inline]
    pub fn lower(&self) {
        self.value.store(false, Relaxed);
    }
}

/// Waits for an event.
#[derive(Debug)]
pub struct Wait {
    event: Held,
    future: Option<Held>,
}

impl Wait {
    /// For `event`.
    pub fn new(event: &Bound<'_, Event>) -> Self {
        Self {
            event: event.clone().into_any().into(),
            future: None,
        }
    }
}

impl Machine for Wait {
    const NAME: &'static str = "Event.wait";

    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        let owner = self.event.bind(py);
        // SAFETY: it was made of an event.
        let event = unsafe { owner.cast_unchecked::<Event>() };
        let this = event.get();
        if let Some(future) = self.future.take() {
            this.waiters.leave(py, &future);
            if let Resume::Throw(error) = resume {
                return Err(error);
            }
            this.waiters.keep(py, future);
        } else if let Resume::Throw(error) = resume {
            return Err(error);
        } else if !this.value.load(Relaxed) {
            let future = this.waiters.enqueue(&owner)?;
            self.future = Some(future.clone().into_any().into());
            return Ok(Step::Wait(future.unbind()));
        }
        Ok(Step::Return(waiters::truth(py, true)))
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.event.traverse(visit)?;
        self.future
            .as_ref()
            .map_or(Ok(()), |future| future.traverse(visit))
    }
}

#[pymethods]
impl Event {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "()")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::default()
    }

    fn __init__(&self) {}

    /// Whether the flag is set.
    fn is_set(&self) -> bool {
        self.value.load(Relaxed)
    }

    /// Set the flag: all that wait are woken.
    fn set(&self, py: Python<'_>) -> PyResult<()> {
        self.raise(py)
    }

    /// Clear the flag: `wait()` blocks again.
    fn clear(&self) {
        self.lower();
    }

    /// Coroutine that waits until the flag is set; its result is True.
    fn wait<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Await>> {
        Await::create(slf.py(), Wait::new(slf))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let extra = if slf.get().is_set() { "set" } else { "unset" };
        waiters::repr(slf.as_any(), extra, slf.get().waiters.futures.len(slf.py()))
    }

    #[getter]
    fn _value(&self) -> bool {
        self.is_set()
    }

    #[setter(_value)]
    fn set_value(&self, value: bool) {
        self.value.store(value, Relaxed);
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
        self.waiters.traverse(&visit)
    }

    fn __clear__(&self) {
        self.waiters.clear();
    }
}
