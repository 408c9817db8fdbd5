//! Waiting at a condition: give the lock back, wait, have the lock again whatever happens.

use super::Condition;
use crate::asyncio::await_::{Drive, Driven, Machine, Resume, Step};
use crate::asyncio::sync::{lock, waiters};
use crate::held::Held;
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;

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
                if error.is_none() {
                    this.waiters.keep(py, future);
                }
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
pub struct WaitFor {
    wait: Wait,
    predicate: Py<PyAny>,
    waiting: bool,
}

impl WaitFor {
    /// At `condition`.
    pub fn new(condition: &Bound<'_, Condition>, predicate: Bound<'_, PyAny>) -> Self {
        Self {
            wait: Wait::new(condition),
            predicate: predicate.unbind(),
            waiting: false,
        }
    }
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
