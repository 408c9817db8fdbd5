//! What can be waited for: an item, room for one, the end of all.

use super::{Queue, Trouble};
use crate::futex::Woken;
use crate::{Busy, How, Site};
use std::io::{Error, Result};
use std::time::Duration;

/// What an attempt came to: `None` is "not now".
fn outcome<T>(
    result: std::result::Result<Option<T>, Trouble>,
) -> std::result::Result<Option<Result<T>>, Busy> {
    match result {
        Ok(got) => Ok(got.map(Ok)),
        Err(Trouble::Busy) => Err(Busy),
        Err(Trouble::System(error)) => Ok(Some(Err::<T, Error>(error))),
    }
}

/// All items are done with, or were at some time since this was made: what `join` waits for.
#[derive(Debug)]
pub struct AllDone<'a>(&'a Queue, u32);

impl<'a> AllDone<'a> {
    /// From now on.
    #[must_use]
    pub fn of(queue: &'a Queue) -> Self {
        Self(queue, queue.header().all_done.count())
    }
}

impl Site for AllDone<'_> {
    type Got = ();

    fn attempt(&mut self, _: How) -> std::result::Result<Option<()>, Busy> {
        let seen = self.0.unfinished() == 0 || self.0.header().all_done.was_set_since(self.1);
        Ok(seen.then_some(()))
    }

    fn sleep(&self, at_most: Duration) -> Woken {
        self.0.header().all_done.sleep(at_most)
    }
}

/// Waits for an item: its bytes are appended, its form is had.
#[derive(Debug)]
pub struct Item<'a> {
    /// Where it comes from.
    pub queue: &'a Queue,
    /// Where its bytes go.
    pub to: &'a mut Vec<u8>,
}

impl Site for Item<'_> {
    type Got = Result<u8>;

    #[inline]
    fn attempt(&mut self, how: How) -> std::result::Result<Option<Self::Got>, Busy> {
        if self.queue.is_empty() {
            return Ok(None);
        }
        outcome(self.queue.get(self.to, how))
    }

    fn sleep(&self, at_most: Duration) -> Woken {
        let queue = self.queue;
        queue.header().items.0.sleep(at_most, || !queue.is_empty())
    }

    fn pass_on(&self) {
        self.queue.header().items.0.pass_on(|| !self.queue.is_empty());
    }
}

/// Waits for room for an item, and puts it there.
#[derive(Debug)]
pub struct Room<'a> {
    /// Where it goes.
    pub queue: &'a Queue,
    /// Its form, below 0xfe.
    pub form: u8,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl Site for Room<'_> {
    type Got = Result<()>;

    #[inline]
    fn attempt(&mut self, how: How) -> std::result::Result<Option<Self::Got>, Busy> {
        let put = self.queue.put(self.form, self.bytes, how);
        outcome(put.map(|done| done.then_some(())))
    }

    fn sleep(&self, at_most: Duration) -> Woken {
        let queue = self.queue;
        queue.header().room.0.sleep(at_most, || queue.has_room())
    }

    fn pass_on(&self) {
        self.queue.header().room.0.pass_on(|| self.queue.has_room());
    }
}
