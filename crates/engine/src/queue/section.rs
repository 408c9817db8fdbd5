//! Sections: one at a time.
//!
//! A [`Section`] holds the mutex for real, and waits for it through the door. Python may run in it.
//!
//! A *native* section ([`enter`], [`leave`]) is a few instructions that neither call Python nor detach. With a GIL
//! that alone excludes all others, so the mutex only has to be seen free (somebody might hold it by `with
//! queue.mutex`), and is not taken. Without a GIL it is taken and released.
//!
//! # Fork
//! Where Python runs in a section, another thread may fork. Its child has a mutex whose owner is gone, so a mutex
//! remembers the generation of the process that took it for a section; the first section of a younger one
//! frees it. (Who took it by `with queue.mutex` has to free it, as in the standard library.) A native section
//! cannot be met: forks happen with the GIL held, or with the other threads stopped at a safe point.

use super::part::Part;
use crate::door;
use crate::limit::Limit;
use crate::threading::lock::Lock;
use plait_core::fork;
use pyo3::prelude::*;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};

/// The mutex of a queue.
#[derive(Debug)]
pub struct Mutex {
    lock: Part<Lock>,
    /// The generation in which a section took it; 0 when none has it.
    taken_in: AtomicU32,
}

impl Mutex {
    /// Around a lock that nobody has.
    pub fn new(lock: Bound<'_, Lock>) -> Self {
        Self {
            lock: Part::new(lock),
            taken_in: AtomicU32::new(0),
        }
    }

    /// Frees it, if its owner was a section of a thread that `fork()` left behind.
    fn free_if_orphaned(&self) {
        let taken_in = self.taken_in.load(Ordering::Relaxed);
        if taken_in != 0
            && taken_in != fork::generation()
            && self
                .taken_in
                .compare_exchange(taken_in, 0, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            let _released = self.lock.word.release();
        }
    }
}

impl Deref for Mutex {
    type Target = Part<Lock>;
    #[inline]
    fn deref(&self) -> &Part<Lock> {
        &self.lock
    }
}

/// The mutex, held. Released when dropped.
#[derive(Debug)]
#[must_use]
pub struct Section<'a>(&'a Mutex);

impl<'a> Section<'a> {
    /// Takes the mutex, however long that takes.
    ///
    /// # Errors
    /// What a signal handler raised; the mutex is not held then.
    pub fn new(py: Python<'_>, mutex: &'a Mutex) -> PyResult<Self> {
        if !enter_held(mutex) {
            mutex.free_if_orphaned();
            mutex.acquire(py, mutex.held().as_ptr(), Limit::Never)?;
        }
        mutex.taken_in.store(fork::generation(), Ordering::Relaxed);
        Ok(Self(mutex))
    }

    /// As [`new`](Section::new); but nothing if this thread holds the mutex already.
    ///
    /// # Errors
    /// As [`new`](Section::new).
    pub fn unless_mine(py: Python<'_>, mutex: &'a Mutex) -> PyResult<Option<Self>> {
        if mutex.word.owner() == door::ident() {
            Ok(None)
        } else {
            Self::new(py, mutex).map(Some)
        }
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        self.0.taken_in.store(0, Ordering::Relaxed);
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
