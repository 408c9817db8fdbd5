//! The states of a cell, and how each attempt to change them can end.

use super::{COMPLETING, STATE};
use crate::batch::Batch;
use smallvec::SmallVec;

/// The observers of one cell: seldom more than one.
pub type Few<O> = SmallVec<[O; 1]>;

/// Where in its life a cell is. The names are those of `concurrent.futures`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// Nobody has begun.
    Pending = 0,
    /// A worker has begun.
    Running = 1,
    /// Cancelled before anybody began.
    Cancelled = 2,
    /// Cancelled, and the worker has noticed.
    Notified = 3,
    /// There is a result.
    Finished = 4,
}

impl State {
    pub(super) const fn of(word: u32) -> Self {
        match word & STATE {
            // Whoever completes a pending cell has begun.
            0 if word & COMPLETING != 0 => Self::Running,
            0 => Self::Pending,
            1 => Self::Running,
            2 => Self::Cancelled,
            3 => Self::Notified,
            _ => Self::Finished,
        }
    }

    /// Whether there is nothing to wait for any more.
    #[must_use]
    pub const fn is_done(self) -> bool {
        matches!(self, Self::Cancelled | Self::Notified | Self::Finished)
    }
}

/// What is told when a cell is done.
pub trait Observer {
    /// Whether it is told of a cancelling at once, or only when the worker has noticed.
    fn hears_cancel(&self) -> bool;
}

/// Those to be told by whoever made the transition: the threads at once, then the observers, in order.
#[derive(Debug)]
#[must_use = "waiting threads sleep for ever unless they are notified"]
pub struct Crowd<O> {
    /// The threads that wait.
    pub threads: Batch,
    /// The observers, in the order in which they came.
    pub observers: Few<O>,
}

impl<O> Crowd<O> {
    pub(super) fn nobody() -> Self {
        Self {
            threads: Batch::EMPTY,
            observers: Few::new(),
        }
    }
}

/// The end of [`Cell::start`].
#[derive(Debug)]
#[must_use]
pub enum Start<O> {
    /// The caller is to do the work.
    Started,
    /// It was cancelled; these have waited for the worker to notice.
    Cancelled(Crowd<O>),
    /// It had been started, or was done.
    Invalid(State),
    /// See the module's text.
    Manual,
}

/// The end of [`Cell::finish`].
#[derive(Debug)]
#[must_use]
pub enum Finish<T, O> {
    /// The result stands.
    Finished(Crowd<O>),
    /// It was done already; the value comes back.
    Invalid(T, State),
    /// See the module's text; the value comes back.
    Manual(T),
}

/// The end of [`Cell::cancel`].
#[derive(Debug)]
#[must_use]
pub enum Cancel<O> {
    /// It is cancelled; these wait to hear it.
    Cancelled(Crowd<O>),
    /// It was already.
    Already,
    /// It runs or has finished.
    TooLate,
    /// See the module's text.
    Manual,
}

/// The end of [`Cell::observe`].
#[derive(Debug)]
#[must_use]
pub enum Observe<O> {
    /// It will be told.
    Added,
    /// There is nothing to wait for: the observer comes back.
    Done(O),
    /// See the module's text; the observer comes back.
    Manual(O),
}
