//! What a pool of processes decides: which task goes to which worker, and what becomes of it when something goes wrong.
//!
//! [`Policy`] is a state machine without I/O. Events go in (a task was submitted, a worker is up, has finished, has
//! died, the time has come), [`Action`]s come out, and whoever drives it carries them out: writes records, starts and kills
//! processes, completes futures. It asks no clock (the time is an argument), starts nothing and waits for nothing; so it
//! is tested without a process, a thousand histories a second.
//!
//! **Promises**, kept whatever the order of events:
//! 1. Each task is settled once: [`finished`](Policy::finished) for it is reported by a worker that had it, or an
//!    [`Action::Settle`] says why not. Never both, never twice.
//! 2. A death costs the task that ran, and no other. What was queued behind it goes back to the front of the line, in its
//!    order, uncharged. What ran is charged an attempt, and runs again if it has retries left.
//! 3. A worker that has been told to die, or that is being replaced, is given nothing more.
//! 4. A task that is cancelled, late or too big is settled only once its worker is known to be done with it: so it
//!    never runs on behind a caller's back, and no retry runs beside it.
//!
//! **Words.** A task is *waiting* in the line; *leased* to a worker once its record is in that worker's ring; *running*
//! once the worker says so (in shared memory: the driver reports it for tasks whose start matters, or finds it
//! at a death). *Withdrawing* takes back a lease before the worker claims it; the driver tries that by
//! compare-and-swap on the record, and the answer is an event.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`policy`] | the events, and what follows from them |
//! | `placing` | which worker gets the next task, and when another one is started |
//! | `balance` | tasks that lie behind a long one go to whoever has nothing to do |
//! | `ending` | closing, giving up, workers that are made to go |
//! | [`task`] | one call: its promises and where it is |
//! | [`worker`] | one process as the policy sees it, and how deep its ring is filled |
//! | [`line`] | the tasks that wait, by priority, then in order |

#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod balance;
mod ending;
#[cfg(test)]
mod histories;
pub mod line;
mod placing;
pub mod policy;
mod slab;
pub mod task;
#[cfg(test)]
mod tests;
mod timing;
pub mod worker;

pub use policy::{Action, Cancelling, Policy, Settings};
pub use task::{Call, TaskId, Verdict};
pub use worker::WorkerId;

/// Nanoseconds of a monotonic clock.
pub type Nanos = u64;
