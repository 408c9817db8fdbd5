//! `Queue`, `LifoQueue` and `PriorityQueue`, as `asyncio`'s, with `shutdown()` on every version.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`store`] | where the items are, and how a class derived in Python puts them elsewhere |
//! | [`machines`] | `get()`, `put()`, `join()` |
//! | [`methods`] | the queue as Python sees it |

pub mod machines;
pub mod methods;
pub mod store;

use super::event::Event;
use super::line::{Line, Place};
use super::waiters::{Waiters, wake_next};
use crate::asyncio::future::stdlib;
use crate::held::HeldSlot;
use pyo3::prelude::*;
use pyo3::types::PyString;
use pyo3::{Borrowed, intern};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering::Relaxed};
use store::Kind;

/// Items in order for tasks: `await queue.put(item)`, `await queue.get()`. `maxsize` items at most; any number if it is 0.
#[pyclass(frozen, subclass, dict, weakref, module = "asyncio.queues")]
#[derive(Debug)]
pub struct Queue {
    kind: Kind,
    /// `_init`, `_get`, `_put` and what is built on them are ours, and so is what `_queue` is.
    native: AtomicBool,
    items: HeldSlot,
    /// The most items, as a number; 0: any.
    limit: AtomicI64,
    maxsize: HeldSlot,
    getters: Waiters,
    putters: Place,
    unfinished: AtomicI64,
    /// An `Event`, made when somebody joins.
    finished: HeldSlot,
    shut: AtomicU8,
}

/// A Queue that gives what was put last first.
#[pyclass(frozen, subclass, extends = Queue, module = "asyncio.queues")]
#[derive(Debug)]
pub struct LifoQueue;

/// A Queue that gives the smallest item first.
#[pyclass(frozen, subclass, extends = Queue, module = "asyncio.queues")]
#[derive(Debug)]
pub struct PriorityQueue;

/// One of the exceptions of `asyncio.queues`.
fn error(py: Python<'_>, class: PyResult<&Bound<'_, PyAny>>) -> PyErr {
    match class.and_then(|class| class.call0()) {
        Ok(error) => PyErr::from_value(error),
        Err(error) => {
            let _ = py;
            error
        }
    }
}

fn is_empty(py: Python<'_>) -> PyErr {
    error(py, stdlib!(py, "asyncio.queues", "QueueEmpty"))
}

fn is_full(py: Python<'_>) -> PyErr {
    error(py, stdlib!(py, "asyncio.queues", "QueueFull"))
}

fn is_shut(py: Python<'_>) -> PyErr {
    // Before 3.13 the standard library has no such exception; it is defined there.
    error(py, stdlib!(py, "plait.asyncio.sync", "QueueShutDown"))
}

impl Queue {
    fn is_native(&self) -> bool {
        self.native.load(Relaxed)
    }

    fn is_shut_down(&self) -> bool {
        self.shut.load(Relaxed) != 0
    }

    /// Asks a method of the class derived in Python, or ours.
    fn ask(slf: &Bound<'_, Self>, method: &Bound<'_, PyString>) -> PyResult<bool> {
        slf.call_method0(method)?.is_truthy()
    }

    /// Whether there is no item.
    #[inline]
    fn empty_now(slf: &Bound<'_, Self>) -> PyResult<bool> {
        if slf.get().is_native() {
            return Ok(slf.get().native_len(slf.py()) == 0);
        }
        Self::ask(slf, intern!(slf.py(), "empty"))
    }

    /// Whether there is no room.
    #[inline]
    fn full_now(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let this = slf.get();
        if this.is_native() {
            let limit = usize::try_from(this.limit.load(Relaxed)).unwrap_or(0);
            return Ok(limit > 0 && this.native_len(slf.py()) >= limit);
        }
        Self::ask(slf, intern!(slf.py(), "full"))
    }

    fn putters(&self, py: Python<'_>) -> PyResult<&Line> {
        self.putters.line(py)
    }

    /// An item at once.
    ///
    /// # Errors
    /// `QueueEmpty`, `QueueShutDown`.
    fn take_now<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let this = slf.get();
        if Self::empty_now(slf)? {
            return Err(if this.is_shut_down() {
                is_shut(py)
            } else {
                is_empty(py)
            });
        }
        let item = Self::get_item(slf)?;
        if let Some(putters) = this.putters.get(py) {
            wake_next(py, putters)?;
        }
        Ok(item)
    }

    /// Puts an item in at once.
    ///
    /// # Errors
    /// `QueueFull`, `QueueShutDown`.
    fn put_now(slf: &Bound<'_, Self>, item: Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if this.is_shut_down() {
            return Err(is_shut(py));
        }
        if Self::full_now(slf)? {
            return Err(is_full(py));
        }
        Self::put_item(slf, item)?;
        this.unfinished.fetch_add(1, Relaxed);
        if let Some(finished) = this.joined(py) {
            finished.get().lower();
        }
        if let Some(getters) = this.getters.futures.get(py) {
            wake_next(py, getters)?;
        }
        Ok(())
    }

    /// The event of those that join, if there were any.
    fn joined<'a, 'py>(&'a self, py: Python<'py>) -> Option<Borrowed<'a, 'py, Event>> {
        // SAFETY: only events are put there.
        self.finished
            .get(py)
            .map(|event| unsafe { event.cast_unchecked::<Event>() })
    }

    /// The same, made if there is none.
    fn finished<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Event>> {
        loop {
            if let Some(event) = self.joined(py) {
                return Ok(event.to_owned());
            }
            let event = Bound::new(py, Event::default())?;
            if self.unfinished.load(Relaxed) == 0 {
                event.get().raise(py)?;
            }
            self.finished.fill(event.into_any().into());
        }
    }

    /// No item is unfinished any more.
    fn all_done(&self, py: Python<'_>) -> PyResult<()> {
        self.joined(py).map_or(Ok(()), |event| event.get().raise(py))
    }
}
