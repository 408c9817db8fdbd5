//! One call: what was promised for it, and where it is.

use crate::Nanos;
use crate::slab::Key;
use crate::worker::WorkerId;

/// A task's name. Never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(pub(crate) Key);

impl TaskId {
    /// As one number, for a record.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0.to_bits()
    }

    /// Its place among those that are not settled: small numbers, used again for others when it is settled.
    #[must_use]
    pub const fn place(self) -> usize {
        self.0.place()
    }

    /// From a record. A number that names no task is found out when it is used.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(Key::from_bits(bits))
    }
}

/// What was promised for a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Call {
    /// Higher goes first; equal ones in the order of their submission.
    pub priority: i32,
    /// How often it runs again when its worker dies.
    pub retries: u32,
    /// How long one attempt may run.
    pub timeout: Option<Nanos>,
}

/// Why a task was settled without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The worker that ran it died, and it has no retries left.
    WorkerDied,
    /// It ran longer than it may.
    TimedOut,
    /// Its worker used more memory than it may.
    OutOfMemory,
    /// The caller took it back.
    Cancelled,
    /// No worker can be had any more.
    Broken,
}

/// Why a worker is made to stop what it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sentence {
    Late,
    TooBig,
    Unwanted,
}

impl From<Sentence> for Verdict {
    fn from(why: Sentence) -> Self {
        match why {
            Sentence::Late => Self::TimedOut,
            Sentence::TooBig => Self::OutOfMemory,
            Sentence::Unwanted => Self::Cancelled,
        }
    }
}

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Waiting,
    Leased(WorkerId),
    /// Its record is being taken back; the caller does not want it any more.
    Withdrawing(WorkerId),
    Running(WorkerId),
}

#[derive(Debug)]
pub(crate) struct Task {
    pub call: Call,
    /// Its turn among those of the same priority. Kept when it goes back to the line.
    pub turn: u64,
    pub place: Place,
    pub attempts: u32,
    /// When the attempt that runs is late.
    pub deadline: Option<Nanos>,
    /// Its worker has been asked, or made, to stop it.
    pub sentence: Option<Sentence>,
}
