//! What the loop waits for at descriptors: a reader and a writer each.

use super::handle::Handle;
use super::ready::{Entry, Native};
use plait_reactor::{Interest, Poller};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use std::io;
use std::os::fd::RawFd;

/// What a watcher waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// That the descriptor can be read.
    Read,
    /// That the descriptor can be written.
    Write,
}

/// What runs when a descriptor is ready.
#[derive(Debug)]
pub enum Watcher {
    /// A callback of Python code.
    Handle(Py<Handle>),
    /// A callback of the engine's.
    Native(Native),
}

impl Watcher {
    /// The entry that runs it.
    pub fn entry(&self, py: Python<'_>) -> Entry {
        match self {
            Self::Handle(handle) => Entry::Handle(handle.clone_ref(py)),
            Self::Native(native) => Entry::Native(native.clone_ref(py)),
        }
    }

    /// What Python code sees of it.
    pub fn object(&self, py: Python<'_>) -> Py<PyAny> {
        match self {
            Self::Handle(handle) => handle.clone_ref(py).into_any(),
            Self::Native(native) => native.object.clone_ref(py),
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Handle(handle) => visit.call(handle),
            Self::Native(native) => native.traverse(visit),
        }
    }
}

/// Cancels a watcher that was taken out. Whether there was one.
///
/// # Errors
/// What a handle's representation raises, in debug mode.
pub fn cancel(py: Python<'_>, watcher: Option<Watcher>) -> PyResult<bool> {
    match watcher {
        None => Ok(false),
        Some(Watcher::Native(_)) => Ok(true),
        Some(Watcher::Handle(handle)) => Handle::cancel(handle.bind(py)).map(|_| true),
    }
}

/// The watchers of one descriptor.
#[derive(Debug, Default)]
pub struct Watchers {
    pub read: Option<Watcher>,
    pub write: Option<Watcher>,
}

impl Watchers {
    /// The one of that direction.
    pub fn of(&self, direction: Direction) -> Option<&Watcher> {
        match direction {
            Direction::Read => self.read.as_ref(),
            Direction::Write => self.write.as_ref(),
        }
    }

    fn interest(&self) -> Interest {
        Interest {
            read: self.read.is_some(),
            write: self.write.is_some(),
        }
    }
}

/// All watchers, by descriptor: descriptors are small numbers.
#[derive(Debug, Default)]
pub struct Registry(Vec<Watchers>);

impl Registry {
    /// Puts `watcher` in the place of the one there, which is returned.
    ///
    /// # Errors
    /// As [`Poller::set`]; nothing has changed then, and the new watcher is handed back as well.
    pub fn set(
        &mut self,
        poller: Option<&Poller>,
        fd: RawFd,
        direction: Direction,
        watcher: Option<Watcher>,
    ) -> Result<Option<Watcher>, (io::Error, Option<Watcher>)> {
        let at = fd.unsigned_abs() as usize;
        if at >= self.0.len() {
            if watcher.is_none() {
                return Ok(None);
            }
            self.0.resize_with(at + 1, Watchers::default);
        }
        let watchers = &mut self.0[at];
        let before = watchers.interest();
        let place = match direction {
            Direction::Read => &mut watchers.read,
            Direction::Write => &mut watchers.write,
        };
        let removes = watcher.is_none();
        let old = std::mem::replace(place, watcher);
        let after = watchers.interest();
        // Where a watcher follows another, the call tells whether the descriptor is still the same one.
        if (before != after || !removes)
            && let Some(poller) = poller
            && let Err(error) = poller.set(fd, before, after)
            && !removes
        {
            let place = match direction {
                Direction::Read => &mut watchers.read,
                Direction::Write => &mut watchers.write,
            };
            let refused = std::mem::replace(place, old);
            return Err((error, refused));
        }
        Ok(old)
    }

    /// The watchers of a descriptor.
    #[inline]
    pub fn get(&self, fd: RawFd) -> Option<&Watchers> {
        self.0.get(fd.unsigned_abs() as usize)
    }

    /// The descriptors that are watched.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Watchers)> {
        self.0
            .iter()
            .enumerate()
            .filter(|(_, watchers)| !watchers.interest().is_none())
    }

    /// For `__traverse__`.
    ///
    /// # Errors
    /// What the visitor returns.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for (_, watchers) in self.iter() {
            for watcher in [&watchers.read, &watchers.write].into_iter().flatten() {
                watcher.traverse(visit)?;
            }
        }
        Ok(())
    }
}
