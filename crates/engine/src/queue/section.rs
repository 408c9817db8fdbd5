//! Sections: one at a time.
//!
//! A [`Section`] holds the mutex for real, and waits for it through the door. Python may run in it.
//!
//! A *native* section ([`enter`], [`leave`]) is a few instructions that neither call Python nor detach. With a GIL
//! that alone excludes all others, so the mutex only has to be seen free (somebody might hold it by `with
//! queue.mutex`), and is not taken. Without a GIL it is taken and released.

use super::part::Part;
use crate::door;
use crate::limit::Limit;
use crate::threading::lock::Lock;
use pyo3::prelude::*;

/// The mutex, held. Released when dropped.
#[derive(Debug)]
#[must_use]
pub struct Section<'a>(&'a Lock);

impl<'a> Section<'a> {
    /// Takes the mutex, however long that takes.
    ///
    /// # Errors
    /// What a signal handler raised; the mutex is not held then.
    pub fn new(py: Python<'_>, mutex: &'a Part<Lock>) -> PyResult<Self> {
        if !enter_held(mutex) {
            mutex.acquire(py, mutex.held().as_ptr(), Limit::Never)?;
        }
        Ok(Self(mutex))
    }

    /// As [`new`](Section::new); but nothing if this thread holds the mutex already.
    ///
    /// # Errors
    /// As [`new`](Section::new).
    pub fn unless_mine(py: Python<'_>, mutex: &'a Part<Lock>) -> PyResult<Option<Self>> {
        if mutex.word.owner() == door::ident() {
            Ok(None)
        } else {
            Self::new(py, mutex).map(Some)
        }
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        // False if a hook has released it; then it is free, as it has to be.
        let _released = self.0.word.release();
    }
}

/// How often a native section is tried before the door is.
#[cfg(Py_GIL_DISABLED)]
const TRIES: usize = 100;

/// Takes the mutex if that is a matter of moments.
#[cfg(Py_GIL_DISABLED)]
#[inline]
fn enter_held(lock: &Lock) -> bool {
    let me = door::ident();
    lock.word.try_acquire(me) || enter_contended(lock, me)
}

#[cfg(Py_GIL_DISABLED)]
#[cold]
fn enter_contended(lock: &Lock, me: usize) -> bool {
    (0..TRIES).any(|_| {
        std::hint::spin_loop();
        lock.word.owner() == 0 && lock.word.try_acquire(me)
    })
}

#[cfg(not(Py_GIL_DISABLED))]
#[inline]
fn enter_held(lock: &Lock) -> bool {
    lock.word.try_acquire(door::ident())
}

/// Enters a native section, if it can be at once.
#[inline]
#[must_use]
pub fn enter(lock: &Lock) -> bool {
    if cfg!(Py_GIL_DISABLED) {
        enter_held(lock)
    } else {
        lock.word.owner() == 0
    }
}

/// Leaves a native section.
#[inline]
pub fn leave(lock: &Lock) {
    if cfg!(Py_GIL_DISABLED) {
        let _released = lock.word.release();
    }
}
