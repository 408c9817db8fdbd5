//! The core of plait: waiting, without Python and without I/O.
//!
//! Everything that stops until something else happens is a [`Waiter`] in a [`WaitList`]. A primitive is
//! one atomic word that the fast path changes alone, and one list behind a [`Latch`] that only the slow
//! path touches. A waiter is a thread (parked on a futex of its own) or a task (resumed by its loop
//! through a hook); the primitives never ask which.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`futex`] | the only place that sleeps: `futex(2)`, interruptible, with an absolute deadline |
//! | [`latch`] | the internal lock of a waiter list; survives `fork()` |
//! | [`waiter`] | the node of a waiting thread or task, and the list |
//! | [`batch`] | those that were popped, to be notified |
//! | `chain` | many threads are woken one after the other |
//! | [`spin`] | whether it pays to spin before parking, learnt for each object |
//! | [`site`] | what the wait door asks of a primitive |
//! | [`lock`], [`semaphore`], [`event`], [`notifier`], [`barrier`] | the words of the primitives |
//! | [`cell`] | one result that will exist: what a future is made of |
//! | [`graph`] | who waits for what, held by whom; finds cycles |
//!
//! What is absent: no call into Python, no allocation while a latch is held, no thread-local state.

#![warn(missing_docs)]

pub mod barrier;
pub mod batch;
pub mod cell;
#[cfg(not(loom))]
pub mod chain;
pub mod clock;
pub mod event;
pub mod fork;
pub mod futex;
pub mod graph;
pub mod latch;
pub mod lock;
pub mod notifier;
pub mod semaphore;
pub mod site;
pub mod spin;
mod sync;
pub mod waiter;

#[cfg(all(test, loom))]
mod loom_tests;

pub use barrier::BarrierState;
pub use batch::{Batch, Unpark};
pub use cell::Cell;
pub use event::EventWord;
pub use latch::Latch;
pub use lock::LockWord;
pub use notifier::Notifier;
pub use semaphore::SemaphoreWord;
pub use site::Site;
pub use spin::Spin;
pub use waiter::{WaitList, Waiter};
