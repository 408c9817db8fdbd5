//! `Queue`, `LifoQueue` and `PriorityQueue`: as the standard library's `queue`, with `shutdown()` on every version.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`part`] | the objects that a queue consists of: its mutex, its conditions |
//! | [`section`] | the mutex: taken through the door, or (while nobody can see it) not at all |
//! | [`ring`] | the items as long as nobody looks at them: no Python object holds them |
//! | [`storage`] | the items, native or in the `deque` or `list` that `queue.queue` shows |
//! | [`hooks`] | `_init`, `_qsize`, `_put`, `_get`, and who has overridden them |
//! | [`capacity`] | `maxsize`, whatever object it is |
//! | [`when`] | `block` and `timeout` |
//! | [`operations`] | put, get, join and the others, blocking |
//! | [`at_once`] | the same in one native section |
//! | [`tasks`] | the same in a task: `get_async`, `put_async`, `join_async`, `async for` |
//! | [`hot`] | their raw methods and fast paths |
//! | [`state`] | what a queue consists of, and how its storage changes |
//! | [`face`], [`kinds`] | the three classes: construction, attributes, the collector |
//! | [`errors`] | `Empty`, `Full`, `ShutDown` |
//!
//! # What guards what
//! All state changes in a *section*. Natively a section is a few instructions without a Python call, a
//! decref or a wait, so a finalizer that the collector runs can never meet one half done. Where Python runs (a hook is
//! overridden, or the items are in a Python object) the mutex is held, as in the standard library.
//! Whoever waits stands in the waiter list (the *bell*) of one of the three conditions, and entered it in a
//! section; whoever changes what is waited for pops one in the same section, and notifies after it.
//! A notified waiter looks again; one that will not look notifies the next.

mod at_once;
mod capacity;
pub(crate) mod errors;
mod face;
mod hooks;
mod hot;
mod kinds;
mod operations;
mod part;
mod ring;
mod section;
mod state;
mod storage;
mod tasks;
mod when;

pub use kinds::{LifoQueue, PriorityQueue};
pub use state::Queue;

use pyo3::prelude::*;

/// In which order items come out, and what holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// First in, first out: a `collections.deque`.
    Fifo,
    /// Last in, first out: a list.
    Lifo,
    /// Smallest first: a list that is a heap.
    Priority,
}

/// Puts the raw methods over the classes.
///
/// # Errors
/// As [`hot::install`].
pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    #[cfg(not(Py_3_13))]
    module.add("ShutDown", errors::shut_down_class(module.py())?)?;
    hot::install(module.py())
}
