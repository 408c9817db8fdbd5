//! The tasks that wait: by priority, then in order.
//!
//! Almost all have priority 0 and arrive in order: for them it is a deque. The others, and those that come back, lie
//! in a heap. A task that is cancelled stays where it is, and is passed over when its turn comes; whoever takes
//! one asks whether it still waits.

use crate::task::TaskId;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Where a task stands: what is greater goes first.
type Rank = (i32, Reverse<u64>);

/// The line.
#[derive(Debug, Default)]
pub struct Line {
    plain: VecDeque<(u64, TaskId)>,
    other: BinaryHeap<(Rank, TaskId)>,
}

impl Line {
    /// Puts a task where its priority and its turn say.
    pub fn put(&mut self, priority: i32, turn: u64, task: TaskId) {
        if priority == 0 && self.plain.back().is_none_or(|(last, _)| *last < turn) {
            self.plain.push_back((turn, task));
        } else {
            self.other.push(((priority, Reverse(turn)), task));
        }
    }

    /// Takes the first.
    pub fn take(&mut self) -> Option<TaskId> {
        let plain = self.plain.front().map(|(turn, _)| (0, Reverse(*turn)));
        match (plain, self.other.peek()) {
            (Some(plain), Some((other, _))) if *other > plain => self.other.pop().map(|(_, task)| task),
            (Some(_), _) => self.plain.pop_front().map(|(_, task)| task),
            (None, _) => self.other.pop().map(|(_, task)| task),
        }
    }

    /// Whether nobody is in it, cancelled ones included.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.other.is_empty()
    }
}
