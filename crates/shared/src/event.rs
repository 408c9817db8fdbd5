//! A flag: set or clear.
//!
//! One word: bit 0 is the flag, bit 1 says that somebody sleeps, and the rest counts how often it was set. A waiter that finds
//! the count advanced has seen the flag set, also if somebody has cleared it since.

use crate::futex::{self, Woken};
use crate::slab::Shared;
use crate::sync::{AtomicU32, Ordering};
use crate::{Busy, How, Site};
use std::time::Duration;

const SET: u32 = 1;
const WAITED: u32 = 2;
const ONCE: u32 = 4;

/// In shared memory; all zeroes is clear.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Event {
    word: AtomicU32,
}

// SAFETY: atomics only.
unsafe impl Shared for Event {}

impl Event {
    /// Whether the flag is set.
    #[inline]
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.word.load(Ordering::Acquire) & SET != 0
    }

    /// Sets it and wakes all.
    pub fn set(&self) {
        let update = |word: u32| (word & SET == 0).then(|| (word & !WAITED).wrapping_add(ONCE) | SET);
        if let Ok(old) = self
            .word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, update)
            && old & WAITED != 0
        {
            futex::wake(self.word.as_ptr(), i32::MAX);
        }
    }

    /// Wakes all, as if it had been set and cleared again at once.
    pub fn pulse(&self) {
        let update = |word: u32| Some((word & !WAITED).wrapping_add(ONCE));
        if let Ok(old) = self
            .word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, update)
            && old & WAITED != 0
        {
            futex::wake(self.word.as_ptr(), i32::MAX);
        }
    }

    /// Clears it.
    pub fn clear(&self) {
        self.word.fetch_and(!SET, Ordering::AcqRel);
    }

    /// How often it was set: what [`was_set_since`](Self::was_set_since) is asked with.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.word.load(Ordering::Acquire) / ONCE
    }

    /// Whether it is set, or was after `count` was read.
    #[inline]
    #[must_use]
    pub fn was_set_since(&self, count: u32) -> bool {
        let word = self.word.load(Ordering::Acquire);
        word & SET != 0 || word / ONCE != count
    }

    /// Sleeps while it is clear.
    pub fn sleep(&self, at_most: Duration) -> Woken {
        let word = self.word.load(Ordering::Acquire);
        if word & SET != 0 {
            return Woken::Changed;
        }
        if word & WAITED == 0
            && self
                .word
                .compare_exchange(word, word | WAITED, Ordering::AcqRel, Ordering::Acquire)
                .is_err()
        {
            return Woken::Changed;
        }
        futex::wait(self.word.as_ptr(), word | WAITED, at_most)
    }
}

/// The flag, set since the count was read.
#[derive(Debug, Clone, Copy)]
pub struct SetSince<'a>(pub &'a Event, pub u32);

impl Site for SetSince<'_> {
    type Got = ();

    fn attempt(&mut self, _: How) -> Result<Option<()>, Busy> {
        Ok(self.0.was_set_since(self.1).then_some(()))
    }

    fn sleep(&self, at_most: Duration) -> Woken {
        self.0.sleep(at_most)
    }
}
