//! What an event loop sleeps with: no Python.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`poller`] | `epoll(7)`: which descriptors are ready, or until when |
//! | [`waker`] | how another thread ends the sleep: a flag and an `eventfd(2)` |
//! | [`sleep`] | the flag's protocol: no wake-up is lost, and none is sent to a loop that is awake |
//! | [`timers`] | what is due, in order of time and then of arrival |
//!
//! What is absent: callbacks. The poller hands out tokens, the timers hand out values; what they mean is the caller's
//! business. No thread of its own.

#![warn(missing_docs)]

/// Nanoseconds of the monotonic clock.
pub type Nanos = u64;

#[cfg(not(loom))]
pub mod poller;
pub mod sleep;
pub mod timers;
#[cfg(not(loom))]
pub mod waker;

#[cfg(not(loom))]
pub use poller::{Event, Interest, Poller};
pub use sleep::Sleep;
pub use timers::{TimerKey, Timers};
#[cfg(not(loom))]
pub use waker::Waker;
