//! A counter of permits, and who has how many.
//!
//! What a permit means is up to the program: one that takes may be another than the one that gives. So permits come back from
//! a process only if it was *killed* while it had more than it has given back, and never beyond the value that the
//! semaphore began with; one that began with 0 is a signal, and is never given back. A process that ends in order
//! calls [`forget`](Semaphore::forget): what it has taken stays taken.
//!
//! Value and ledger are changed together: the new values are written to the journal, which is then armed, and whoever takes the
//! latch over from a dead one writes them once more.

use crate::futex::{self, Woken};
use crate::life;
use crate::owner::{Guard, Identity, Latch};
use crate::slab::Shared;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::{Busy, How, Patience, Site};
use std::time::Duration;

/// So many processes can have permits that would come back.
const LEDGER: usize = 58;
/// The lowest bit of `word`: somebody sleeps, or did.
const WAITED: u32 = 1;
const ONE: u32 = 2;
/// The largest value.
pub const MOST: u32 = i32::MAX.cast_unsigned();
/// No entry.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
#[repr(C)]
struct Entry {
    who: AtomicU64,
    held: AtomicU32,
}

#[derive(Debug)]
#[repr(C)]
struct Journal {
    armed: AtomicU32,
    value: AtomicU32,
    entry: AtomicU32,
    held: AtomicU32,
}

/// In shared memory; zeroed, then [`init`](Self::init).
#[derive(Debug)]
#[repr(C)]
pub struct Semaphore {
    latch: Latch,
    /// Twice the value, and [`WAITED`].
    word: AtomicU32,
    most: AtomicU32,
    initial: AtomicU32,
    journal: Journal,
    ledger: [Entry; LEDGER],
}

// SAFETY: atomics only.
unsafe impl Shared for Semaphore {}

/// It would have been more than the semaphore may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

impl Semaphore {
    /// Before others know of it: both at most [`MOST`].
    pub fn init(&self, value: u32, most: u32) {
        self.word.store(value * ONE, Ordering::Relaxed);
        self.most.store(most, Ordering::Relaxed);
        self.initial.store(value, Ordering::Release);
    }

    /// The value now.
    #[must_use]
    pub fn value(&self) -> u32 {
        self.word.load(Ordering::Relaxed) / ONE
    }

    /// The value beyond which it cannot be released.
    #[must_use]
    pub fn most(&self) -> u32 {
        self.most.load(Ordering::Relaxed)
    }

    fn lock(&self, patience: Patience) -> Result<Guard<'_>, Busy> {
        let guard = self.latch.lock(patience)?;
        if guard.from_dead && self.journal.armed.load(Ordering::Acquire) != 0 {
            self.apply();
        }
        Ok(guard)
    }

    /// Changes value and holdings together; the latch is held.
    fn change(&self, value: u32, entry: Option<usize>, held: u32) {
        let number = entry.and_then(|entry| u32::try_from(entry).ok()).unwrap_or(NONE);
        self.journal.value.store(value, Ordering::Relaxed);
        self.journal.entry.store(number, Ordering::Relaxed);
        self.journal.held.store(held, Ordering::Relaxed);
        self.journal.armed.store(1, Ordering::Release);
        self.apply();
    }

    fn apply(&self) {
        let entry = self.journal.entry.load(Ordering::Relaxed);
        if let Some(entry) = usize::try_from(entry)
            .ok()
            .and_then(|entry| self.ledger.get(entry))
        {
            entry
                .held
                .store(self.journal.held.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        let value = self.journal.value.load(Ordering::Relaxed);
        // A sleeper sets its bit without the latch.
        let keep_bit = |word| Some((value * ONE) | (word & WAITED));
        let _done = self
            .word
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, keep_bit);
        self.journal.armed.store(0, Ordering::Release);
    }

    /// Where this process's permits are counted, if they are.
    fn entry(&self, me: Identity, make: bool) -> Option<usize> {
        if self.initial.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let find = |who| {
            self.ledger
                .iter()
                .position(|entry| entry.who.load(Ordering::Relaxed) == who)
        };
        if let Some(mine) = find(me.0) {
            return Some(mine);
        }
        if !make {
            return None;
        }
        let free = find(0).or_else(|| {
            self.ledger
                .iter()
                .position(|entry| entry.held.load(Ordering::Relaxed) == 0)
        })?;
        self.ledger[free].held.store(0, Ordering::Relaxed);
        self.ledger[free].who.store(me.0, Ordering::Relaxed);
        Some(free)
    }

    /// Gives back what killed processes had. Whether there was anything; the latch is held.
    fn restore(&self) -> bool {
        let initial = self.initial.load(Ordering::Relaxed);
        let mut any = false;
        for (number, entry) in self.ledger.iter().enumerate() {
            let held = entry.held.load(Ordering::Relaxed);
            if held == 0 {
                continue;
            }
            let who = Identity::from_word(entry.who.load(Ordering::Relaxed));
            if who.is_none_or(life::is_alive) {
                continue;
            }
            let value = self.value();
            let restored = value.saturating_add(held).min(initial.max(value));
            any |= restored > value;
            self.change(restored, Some(number), 0);
        }
        any
    }

    /// Adds one permit and wakes one that waits.
    ///
    /// # Errors
    /// [`Busy`]; inside, [`TooMany`].
    pub fn release(&self, patience: Patience) -> Result<Result<(), TooMany>, Busy> {
        let guard = self.lock(patience)?;
        let value = self.value();
        if value >= self.most() {
            return Ok(Err(TooMany));
        }
        let entry = self.entry(life::me(), false);
        let held = entry.map_or(0, |entry| self.ledger[entry].held.load(Ordering::Relaxed));
        self.change(value + 1, entry, held.saturating_sub(1));
        let waited = self.word.fetch_and(!WAITED, Ordering::Relaxed) & WAITED != 0;
        drop(guard);
        if waited {
            self.wake();
        }
        Ok(Ok(()))
    }

    fn wake(&self) {
        futex::wake(self.word.as_ptr(), 1);
    }

    /// What this process has taken is not given back when it is gone: it ends in order.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn forget(&self, patience: Patience) -> Result<(), Busy> {
        let _guard = self.lock(patience)?;
        if let Some(entry) = self.entry(life::me(), false) {
            self.change(self.value(), Some(entry), 0);
        }
        Ok(())
    }
}

impl Site for &Semaphore {
    /// Whether permits had come back from one that died.
    type Got = bool;
    const THOROUGH: bool = true;

    fn attempt(&mut self, how: How) -> Result<Option<bool>, Busy> {
        if self.value() == 0 && !how.thorough && !how.slept {
            return Ok(None);
        }
        let guard = self.lock(how.patience)?;
        let mut restored = false;
        if self.value() == 0 {
            restored = how.thorough && self.restore();
            if !restored {
                return Ok(None);
            }
        }
        let entry = self.entry(life::me(), true);
        let held = entry.map_or(0, |entry| self.ledger[entry].held.load(Ordering::Relaxed));
        let left = self.value() - 1;
        self.change(left, entry, held + 1);
        if how.slept {
            // Others may sleep; if there is more, they are woken now.
            self.word.fetch_or(WAITED, Ordering::Relaxed);
        }
        drop(guard);
        if left > 0 && (how.slept || restored) {
            self.wake();
        }
        Ok(Some(restored))
    }

    fn sleep(&self, at_most: Duration) -> Woken {
        // Only while there is nothing: a release in between fails the exchange, or finds the bit.
        match self
            .word
            .compare_exchange(0, WAITED, Ordering::Relaxed, Ordering::Relaxed)
        {
            Ok(_) | Err(WAITED) => futex::wait(self.word.as_ptr(), WAITED, at_most),
            Err(_) => Woken::Changed,
        }
    }

    fn pass_on(&self) {
        if self.value() > 0 {
            self.wake();
        }
    }
}
