//! `Semaphore` and `BoundedSemaphore`, as `asyncio`'s.

use super::permit::{Classes, Permit};
use super::waiters::{self, Waiters};
use crate::asyncio::await_::{Await, Machine, Resume, Step};
use crate::asyncio::future::{Future, Phase};
use crate::held::Held;
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// A counter of permits: `async with semaphore` takes one and gives it back. Those that wait get one in order.
#[pyclass(frozen, subclass, dict, weakref, module = "asyncio.locks")]
#[derive(Debug)]
pub struct Semaphore {
    value: AtomicI64,
    /// The value may not go beyond this: the initial one in a BoundedSemaphore.
    bound: AtomicI64,
    waiters: Waiters,
}

/// A Semaphore that raises ValueError when it is released more often than acquired.
#[pyclass(frozen, subclass, extends = Semaphore, module = "asyncio.locks")]
#[derive(Debug)]
pub struct BoundedSemaphore;

impl Semaphore {
    fn empty() -> Self {
        Self {
            value: AtomicI64::new(1),
            bound: AtomicI64::new(i64::MAX),
            waiters: Waiters::default(),
        }
    }

    fn start(&self, value: Option<&Bound<'_, PyAny>>, bounded: bool) -> PyResult<()> {
        let mut initial = 1;
        if let Some(value) = value {
            if value.lt(0)? {
                return Err(PyValueError::new_err("Semaphore initial value must be >= 0"));
            }
            initial = value.extract()?;
        }
        self.value.store(initial, Relaxed);
        self.bound
            .store(if bounded { initial } else { i64::MAX }, Relaxed);
        Ok(())
    }

    /// Whether one has to wait, for want of permits or because others do.
    #[inline]
    fn is_locked(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.value.load(Relaxed) == 0 || !self.waiters.only_cancelled(py)?)
    }

    #[inline]
    fn add(&self, n: i64) {
        // One loop's thread uses it: no need for one step of read and write.
        self.value.store(self.value.load(Relaxed) + n, Relaxed);
    }

    #[inline]
    fn try_take(&self, py: Python<'_>) -> PyResult<bool> {
        if self.is_locked(py)? {
            return Ok(false);
        }
        self.add(-1);
        Ok(true)
    }

    /// Gives a permit to the first that waits and is not done. Whether there was one.
    #[inline]
    fn wake_next(&self, py: Python<'_>) -> PyResult<bool> {
        if self.waiters.wake(py, 1, true)? == 0 {
            return Ok(false);
        }
        self.add(-1);
        Ok(true)
    }

    #[inline]
    fn give(&self, py: Python<'_>) -> PyResult<()> {
        if self.value.load(Relaxed) >= self.bound.load(Relaxed) {
            return Err(PyValueError::new_err("BoundedSemaphore released too many times"));
        }
        self.add(1);
        self.wake_next(py).map(drop)
    }

    /// Gives what there is to those that came meanwhile, and had to stand in line.
    #[inline]
    fn share_out(&self, py: Python<'_>) -> PyResult<()> {
        while self.value.load(Relaxed) > 0 {
            if !self.wake_next(py)? {
                break;
            }
        }
        Ok(())
    }
}

/// Takes a permit.
#[derive(Debug)]
struct Acquire {
    semaphore: Held,
    future: Option<Held>,
    quiet: bool,
}

impl Machine for Acquire {
    const NAME: &'static str = "Semaphore.acquire";

    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        let owner = self.semaphore.bind(py);
        // SAFETY: it was made of a semaphore.
        let semaphore = unsafe { owner.cast_unchecked::<Semaphore>() };
        let this = semaphore.get();
        if let Some(future) = self.future.take() {
            this.waiters.leave(py, &future);
            let Resume::Throw(error) = resume else {
                this.share_out(py)?;
                this.waiters.keep(py, future);
                return self.taken(py);
            };
            // SAFETY: it came out of `enqueue`.
            let phase = unsafe {
                future
                    .bind(py)
                    .cast_unchecked::<Future>()
                    .get()
                    .state
                    .lock()
                    .phase
            };
            if phase == Phase::Finished && waiters::is_cancellation(py, &error)? {
                // It was given a permit that it will not use.
                this.add(1);
            }
            this.share_out(py)?;
            return Err(error);
        }
        if let Resume::Throw(error) = resume {
            return Err(error);
        }
        if this.try_take(py)? {
            return self.taken(py);
        }
        let future = this.waiters.enqueue(&owner)?;
        self.future = Some(future.clone().into_any().into());
        Ok(Step::Wait(future.unbind()))
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.semaphore.traverse(visit)?;
        self.future
            .as_ref()
            .map_or(Ok(()), |future| future.traverse(visit))
    }
}

impl Acquire {
    fn taken(&self, py: Python<'_>) -> PyResult<Step> {
        Ok(if self.quiet {
            Step::ReturnNone
        } else {
            Step::Return(waiters::truth(py, true))
        })
    }
}

impl Permit for Semaphore {
    fn take(slf: &Bound<'_, Self>) -> PyResult<bool> {
        slf.get().try_take(slf.py())
    }

    #[inline]
    fn take_quickly(&self, py: Python<'_>) -> bool {
        if self.value.load(Relaxed) <= 0 || !self.waiters.futures.is_empty(py) {
            return false;
        }
        self.add(-1);
        true
    }

    #[inline]
    fn release_quickly(&self, py: Python<'_>) -> bool {
        if self.value.load(Relaxed) >= self.bound.load(Relaxed) || !self.waiters.futures.is_empty(py) {
            return false;
        }
        self.add(1);
        true
    }

    fn acquire<'py>(slf: &Bound<'py, Self>, quiet: bool) -> PyResult<Bound<'py, PyAny>> {
        let machine = Acquire {
            semaphore: slf.clone().into_any().into(),
            future: None,
            quiet,
        };
        Ok(Await::create(slf.py(), machine)?.into_any())
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
impl Semaphore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(value=1)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::empty()
    }

    #[pyo3(signature = (value=None))]
    fn __init__(&self, value: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.start(value, false)
    }

    /// Whether acquire() would have to wait.
    fn locked(&self, py: Python<'_>) -> PyResult<bool> {
        self.is_locked(py)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let this = slf.get();
        let extra = if this.is_locked(slf.py())? {
            "locked".to_owned()
        } else {
            format!("unlocked, value:{}", this.value.load(Relaxed))
        };
        waiters::repr(slf.as_any(), &extra, this.waiters.futures.len(slf.py()))
    }

    #[getter]
    fn _value(&self) -> i64 {
        self.value.load(Relaxed)
    }

    #[setter(_value)]
    fn set_value(&self, value: i64) {
        self.value.store(value, Relaxed);
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

#[pymethods]
impl BoundedSemaphore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(value=1)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyClassInitializer<Self> {
        PyClassInitializer::from(Semaphore::empty()).add_subclass(Self)
    }

    #[pyo3(signature = (value=None))]
    fn __init__(slf: &Bound<'_, Self>, value: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        slf.as_super().get().start(value, true)
    }

    #[getter]
    fn _bound_value(slf: &Bound<'_, Self>) -> i64 {
        slf.as_super().get().bound.load(Relaxed)
    }
}

/// Its methods are the semaphore's.
///
/// # Errors
/// None.
pub fn init(py: Python<'_>) -> PyResult<()> {
    Semaphore::classes().add(&py.get_type::<BoundedSemaphore>());
    Ok(())
}
