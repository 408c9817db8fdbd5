//! One process as the policy sees it, and how deep its ring is filled.
//!
//! A deep ring lets a worker go on without waiting for us: it matters for tasks of a microsecond. A shallow one keeps
//! tasks where any worker can have them: it matters for long ones. So the depth is a time: as many tasks as the
//! worker does in [`AHEAD`], by the mean of what it has done so far; [`SHALLOW`] at least.

use crate::Nanos;
use crate::slab::Key;
use crate::task::TaskId;
use std::collections::VecDeque;

/// So much work may lie in a worker's ring.
pub const AHEAD: Nanos = 1_000_000;
/// So many tasks may, however long they take: one that runs, and one so that the worker need not wait.
pub const SHALLOW: usize = 2;
/// And so many at most.
pub const DEEP: usize = 512;
/// What is known of a new worker's tasks: nothing, so they may be long. The first one tells.
const UNKNOWN: usize = SHALLOW;

/// A worker's name. Never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub(crate) Key);

impl WorkerId {
    /// As one number.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0.to_bits()
    }

    /// From such a number. One that names no worker is found out when it is used.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(Key::from_bits(bits))
    }

    /// Its place among those that are there: small numbers, used again for others.
    #[must_use]
    pub const fn place(self) -> usize {
        self.0.place()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Being started: can be given nothing yet.
    Starting,
    Up,
    /// Has been given all that it may have; goes when it has done that.
    Worn,
    /// Has been told to go.
    Retired,
    /// Has been killed; its death is not reported yet.
    Doomed,
}

#[derive(Debug)]
pub(crate) struct Worker {
    pub life: Life,
    /// If it does not come up, that does not tell whether workers can be had: somebody has killed it.
    pub excused: bool,
    /// In the order of its ring; the first may be running.
    pub leases: VecDeque<TaskId>,
    /// How many tasks it was given in all.
    pub given: u32,
    done: u32,
    /// Mean time of a task, in nanoseconds; 0 while none has ended.
    mean: Nanos,
}

impl Worker {
    pub fn new() -> Self {
        Self {
            life: Life::Starting,
            excused: false,
            leases: VecDeque::new(),
            given: 0,
            done: 0,
            mean: 0,
        }
    }

    /// Whether it may be given one more now.
    pub fn has_room(&self) -> bool {
        self.life == Life::Up && self.leases.len() < self.depth()
    }

    /// Whether it is there and has nothing to do.
    pub fn is_free(&self) -> bool {
        self.life == Life::Up && self.leases.is_empty()
    }

    fn depth(&self) -> usize {
        if self.done == 0 {
            return UNKNOWN;
        }
        usize::try_from(AHEAD / self.mean.max(1)).map_or(DEEP, |depth| depth.clamp(SHALLOW, DEEP))
    }

    /// It was given a task.
    pub fn lend(&mut self, task: TaskId) {
        self.given += 1;
        self.leases.push_back(task);
    }

    /// It has done one, which took so long. False if it never had it.
    pub fn return_done(&mut self, task: TaskId, took: Nanos) -> bool {
        if !self.take_back(task) {
            return false;
        }
        self.done = self.done.saturating_add(1);
        // Quick to see that tasks have become long, slow to believe that they are short.
        self.mean = if self.done == 1 || took > self.mean {
            took.midpoint(self.mean.max(1))
        } else {
            self.mean - (self.mean - took) / 8
        };
        true
    }

    /// It does not have it any more.
    pub fn take_back(&mut self, task: TaskId) -> bool {
        if self.leases.front() == Some(&task) {
            self.leases.pop_front();
            return true;
        }
        match self.leases.iter().position(|lease| *lease == task) {
            Some(at) => self.leases.remove(at).is_some(),
            None => false,
        }
    }
}
