//! The asyncio face: loop, task, future and primitives, all native.
//!
//! The ready queue of the loop ([`looping`]) holds tasks themselves. A [`future`](future::Future) that is done pushes the task that
//! waits for it there; [`Task::step`](task::Task::step) resumes its coroutine. Everything native that waits, waits for such a future.

pub mod await_;
pub mod function;
pub mod future;
pub mod group;
pub mod looping;
pub mod net;
pub mod streams;
pub mod sync;
pub mod task;
pub mod tls;
