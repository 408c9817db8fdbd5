//! `Condition`, as `asyncio.Condition`.
//!
//! Around a plait lock it goes past Python; around anything else it calls that object's `acquire`, `release` and `locked`.

use super::lock::{self, Lock};
use super::permit::{Classes, Permit};
use super::waiters::{self, Waiters};
use crate::asyncio::await_::{Await, Drive, Driven, Machine, Resume, Step};
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
    pub fn own_lock<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, Lock>>> {
        let lock = self.lock(py)?;
        if Lock::classes().made(&lock) {
            // SAFETY: that is what has just been asked.
            return Ok(Some(unsafe { lock.to_owned().cast_into_unchecked() }));
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

/// Takes the lock of a condition.
#[derive(Debug)]
enum Acquiring {
    Own(lock::Acquire),
    Foreign(Drive),
}

impl Acquiring {
    fn new(py: Python<'_>, condition: &Condition) -> PyResult<Self> {
        if let Some(lock) = condition.own_lock(py)? {
            return Ok(Self::Own(lock::Acquire::new(&lock, true)));
        }
        let acquiring = condition.lock(py)?.call_method0(intern!(py, "acquire"))?;
        Ok(Self::Foreign(Drive::new(&acquiring)?))
    }

    /// None: it is taken.
    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Option<Step>> {
        Ok(match self {
            Self::Own(acquire) => match acquire.step(py, resume)? {
                Step::Return(_) | Step::ReturnNone => None,
                step => Some(step),
            },
            Self::Foreign(drive) => match drive.step(py, resume)? {
                Driven::Suspends(step) => Some(step),
                Driven::Returned(_) => None,
            },
        })
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Own(acquire) => acquire.traverse(visit),
            Self::Foreign(drive) => drive.traverse(visit),
        }
    }
}

#[derive(Debug)]
enum At {
    Start,
    /// The lock is given back, the future stands in line.
    Waiting(Held),
    /// The lock is being taken again; then this is raised, if there is anything.
    Returning(Acquiring, Option<PyErr>),
}

/// Waits at a condition: releases its lock, and has it again at the end, whatever happens.
#[derive(Debug)]
pub struct Wait {
    condition: Held,
    at: At,
}

impl Wait {
    /// At `condition`.
    pub fn new(condition: &Bound<'_, Condition>) -> Self {
        Self {
            condition: condition.clone().into_any().into(),
            at: At::Start,
        }
    }

    /// Begins anew.
    fn again(&mut self) {
        self.at = At::Start;
    }

    /// Takes the lock again, and then ends as `error` says.
    fn come_back(&mut self, py: Python<'_>, mut error: Option<PyErr>) -> PyResult<Step> {
        let owner = self.condition.bind(py);
        // SAFETY: it was made of a condition.
        let condition = unsafe { owner.cast_unchecked::<Condition>() };
        let mut acquiring = Acquiring::new(py, condition.get())?;
        let mut resume = Resume::Next;
        loop {
            match acquiring.step(py, resume) {
                Ok(Some(step)) => {
                    self.at = At::Returning(acquiring, error);
                    return Ok(step);
                }
                Ok(None) => break,
                // Cancelled while it waits for the lock: it has to have the lock all the same.
                Err(again) if waiters::is_cancellation(py, &again)? => {
                    error = Some(again);
                    acquiring = Acquiring::new(py, condition.get())?;
                    resume = Resume::Next;
                }
                Err(fatal) => {
                    error = Some(fatal);
                    break;
                }
            }
        }
        Self::end(py, condition.get(), error)
    }

    fn end(py: Python<'_>, condition: &Condition, error: Option<PyErr>) -> PyResult<Step> {
        match error {
            None => Ok(Step::Return(waiters::truth(py, true))),
            Some(error) => {
                // It may have been notified, and will not see to it: somebody else is.
                condition.waiters.wake(py, 1, false)?;
                Err(error)
            }
        }
    }
}

impl Machine for Wait {
    const NAME: &'static str = "Condition.wait";

    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        match std::mem::replace(&mut self.at, At::Start) {
            At::Start => {
                if let Resume::Throw(error) = resume {
                    return Err(error);
                }
                let owner = self.condition.bind(py);
                // SAFETY: it was made of a condition.
                let this = unsafe { owner.cast_unchecked::<Condition>() }.get();
                if !this.is_locked(py)? {
                    return Err(PyRuntimeError::new_err("cannot wait on un-acquired lock"));
                }
                this.waiters.bind(&owner)?;
                this.give(py)?;
                let future = this.waiters.enqueue(&owner)?;
                self.at = At::Waiting(future.clone().into_any().into());
                Ok(Step::Wait(future.unbind()))
            }
            At::Waiting(future) => {
                let error = match resume {
                    Resume::Next => None,
                    Resume::Throw(error) => Some(error),
                };
                let owner = self.condition.bind(py);
                // SAFETY: it was made of a condition.
                let this = unsafe { owner.cast_unchecked::<Condition>() }.get();
                this.waiters.leave(py, &future);
                drop(future);
                self.come_back(py, error)
            }
            At::Returning(mut acquiring, error) => {
                let owner = self.condition.bind(py);
                // SAFETY: it was made of a condition.
                let this = unsafe { owner.cast_unchecked::<Condition>() }.get();
                match acquiring.step(py, resume) {
                    Ok(Some(step)) => {
                        self.at = At::Returning(acquiring, error);
                        Ok(step)
                    }
                    Ok(None) => Self::end(py, this, error),
                    Err(again) if waiters::is_cancellation(py, &again)? => self.come_back(py, Some(again)),
                    Err(fatal) => Self::end(py, this, Some(fatal)),
                }
            }
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.condition.traverse(visit)?;
        match &self.at {
            At::Start => Ok(()),
            At::Waiting(future) => future.traverse(visit),
            At::Returning(acquiring, _) => acquiring.traverse(visit),
        }
    }
}

/// Waits at a condition until a predicate holds.
struct WaitFor {
    wait: Wait,
    predicate: Py<PyAny>,
    waiting: bool,
}

impl Machine for WaitFor {
    const NAME: &'static str = "Condition.wait_for";

    fn step(&mut self, py: Python<'_>, mut resume: Resume) -> PyResult<Step> {
        loop {
            if self.waiting || matches!(resume, Resume::Throw(_)) {
                match self.wait.step(py, resume)? {
                    Step::Return(_) | Step::ReturnNone => self.wait.again(),
                    step => return Ok(step),
                }
            }
            let result = self.predicate.bind(py).call0()?;
            if result.is_truthy()? {
                return Ok(Step::Return(result.unbind()));
            }
            self.waiting = true;
            resume = Resume::Next;
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.predicate)?;
        self.wait.traverse(visit)
    }
}

impl Permit for Condition {
    fn take(slf: &Bound<'_, Self>) -> PyResult<bool> {
        match slf.get().own_lock(slf.py())? {
            Some(lock) => lock.get().try_take(slf.py()),
            None => Ok(false),
        }
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
        let machine = WaitFor {
            wait: Wait::new(slf),
            predicate: predicate.unbind(),
            waiting: false,
        };
        Await::create(slf.py(), machine)
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
