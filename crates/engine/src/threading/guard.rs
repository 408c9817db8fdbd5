//! The lock that a condition stands on: ours, taken directly, or anybody's, through its methods.

use crate::deadlock;
use crate::door;
use crate::held::Held;
use crate::limit::Limit;
use crate::threading::lock::Lock;
use crate::threading::rlock::RLock;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi::PyObject;
use pyo3::intern;
use pyo3::prelude::*;
use std::sync::atomic::Ordering;

/// What kind of lock a condition stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Foreign,
    Lock,
    RLock,
}

/// The lock, for as long as one call lasts.
pub enum Guard<'a, 'py> {
    Lock(&'a Lock, *mut PyObject),
    RLock(&'a RLock, *mut PyObject),
    Foreign(Borrowed<'a, 'py, PyAny>),
}

/// What has to be restored when the lock is taken again.
pub enum Saved {
    Lock,
    RLock(usize),
    Foreign(Option<Held>),
}

impl Guard<'_, '_> {
    #[inline]
    pub fn is_owned(&self) -> PyResult<bool> {
        match self {
            Self::RLock(lock, _) => Ok(lock.is_mine()),
            Self::Lock(lock, _) => Ok(lock.word.owner() != 0),
            Self::Foreign(lock) => {
                if let Some(is_owned) = lock.getattr_opt(intern!(lock.py(), "_is_owned"))? {
                    return is_owned.call0()?.is_truthy();
                }
                if lock
                    .call_method1(intern!(lock.py(), "acquire"), (false,))?
                    .is_truthy()?
                {
                    lock.call_method0(intern!(lock.py(), "release"))?;
                    return Ok(false);
                }
                Ok(true)
            }
        }
    }

    pub fn release_save(&self) -> PyResult<Saved> {
        match self {
            Self::RLock(lock, _) => lock
                .release_all(door::ident())
                .map(Saved::RLock)
                .ok_or_else(|| PyRuntimeError::new_err("cannot release un-acquired lock")),
            Self::Lock(lock, _) if lock.word.release() => Ok(Saved::Lock),
            Self::Lock(..) => Err(PyRuntimeError::new_err("release unlocked lock")),
            Self::Foreign(lock) => {
                let py = lock.py();
                if let Some(save) = lock.getattr_opt(intern!(py, "_release_save"))? {
                    return Ok(Saved::Foreign(Some(save.call0()?.into())));
                }
                lock.call_method0(intern!(py, "release"))?;
                Ok(Saved::Foreign(None))
            }
        }
    }

    pub fn acquire_restore(&self, saved: Saved) -> PyResult<()> {
        // SAFETY: a guard is only used attached.
        let py = unsafe { Python::assume_attached() };
        match (self, saved) {
            (Self::RLock(lock, object), Saved::RLock(count)) => {
                insist(py, || lock.acquire(py, *object, Limit::Never))?;
                lock.count.store(count, Ordering::Relaxed);
                Ok(())
            }
            (Self::Foreign(lock), Saved::Foreign(Some(state))) => lock
                .call_method1(intern!(py, "_acquire_restore"), (state.into_bound(py),))
                .map(drop),
            (Self::Lock(lock, object), _) => insist(py, || lock.acquire(py, *object, Limit::Never)),
            (Self::Foreign(lock), _) => lock.call_method0(intern!(py, "acquire")).map(drop),
            (Self::RLock(lock, object), _) => insist(py, || lock.acquire(py, *object, Limit::Never)),
        }
    }

    pub fn release_once(&self) -> PyResult<()> {
        match self {
            Self::RLock(lock, _) if lock.release(door::ident()) => Ok(()),
            Self::RLock(..) => Err(PyRuntimeError::new_err("cannot release un-acquired lock")),
            Self::Lock(lock, _) if lock.word.release() => Ok(()),
            Self::Lock(..) => Err(PyRuntimeError::new_err("release unlocked lock")),
            Self::Foreign(lock) => lock.call_method0(intern!(lock.py(), "release")).map(drop),
        }
    }
}

/// Takes a lock in spite of signals; what a handler raised is raised when the lock is ours.
/// A deadlock ends it: then the lock will never be ours.
fn insist(py: Python<'_>, mut acquire: impl FnMut() -> PyResult<bool>) -> PyResult<()> {
    let mut kept: PyResult<()> = Ok(());
    loop {
        match acquire() {
            Ok(_) => return kept,
            Err(error) if deadlock::is_error(py, &error) => return Err(error),
            Err(error) => kept = Err(error),
        }
    }
}
