//! The word of a lock: who owns it, and whether somebody waits.
//!
//! The word is 0 (free), the owner's thread ident, or either of them with [`WAITERS`]. Idents are
//! `pthread_self()` values: never 0, and even. So the owner is recorded by the same instruction that
//! takes the lock, and the deadlock report costs nothing.
//!
//! A free lock goes to whoever takes it first (as in CPython); a release wakes one waiter to try again,
//! and one that was too late goes back to the front. [`WAITERS`] is set and cleared only under the latch,
//! and set only on an owned word: a release of such a word cannot take the fast path, so it takes the latch
//! and finds the waiter.

use crate::batch::Batch;
use crate::latch::Latch;
use crate::site::Site;
use crate::spin::Spin;
use crate::sync::{AtomicUsize, Ordering};
use crate::waiter::{WaitList, Waiter};

const WAITERS: usize = 1;

/// The state of a lock.
#[derive(Debug)]
pub struct LockWord {
    word: AtomicUsize,
    waiters: Latch<WaitList>,
    spin: Spin,
}

impl Default for LockWord {
    fn default() -> Self {
        Self::new()
    }
}

impl LockWord {
    /// A free lock.
    #[must_use]
    pub fn new() -> Self {
        Self {
            word: AtomicUsize::new(0),
            waiters: Latch::new(WaitList::new()),
            spin: Spin::new(),
        }
    }

    /// The owner's ident, or 0.
    #[inline]
    #[must_use]
    pub fn owner(&self) -> usize {
        self.word.load(Ordering::Relaxed) & !WAITERS
    }

    /// Takes the lock for the thread `me` if it is free.
    #[inline]
    #[must_use]
    pub fn try_acquire(&self, me: usize) -> bool {
        match self
            .word
            .compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed)
        {
            Ok(_) => true,
            Err(now) => now == WAITERS && self.try_acquire_slow(me),
        }
    }

    #[cold]
    fn try_acquire_slow(&self, me: usize) -> bool {
        let mut now = self.word.load(Ordering::Relaxed);
        while now & !WAITERS == 0 {
            match self
                .word
                .compare_exchange(now, now | me, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(changed) => now = changed,
            }
        }
        false
    }

    /// Releases the lock, whoever owns it. False if it was free.
    #[inline]
    #[must_use]
    pub fn release(&self) -> bool {
        let now = self.word.load(Ordering::Relaxed);
        if now & WAITERS == 0 && now != 0 {
            if self
                .word
                .compare_exchange(now, 0, Ordering::Release, Ordering::Relaxed)
                .is_ok()
            {
                return true;
            }
        } else if now == 0 {
            return false;
        }
        self.release_slow()
    }

    #[cold]
    fn release_slow(&self) -> bool {
        let mut waiters = self.waiters.lock();
        let mut now = self.word.load(Ordering::Relaxed);
        let next = loop {
            if now & !WAITERS == 0 {
                return false;
            }
            // With the latch held only a fast release or a new owner can interfere, and neither with WAITERS set.
            let next = waiters.pop(1);
            let left = if waiters.is_empty() { 0 } else { WAITERS };
            match self
                .word
                .compare_exchange(now, left, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => break next,
                Err(changed) => {
                    debug_assert!(next.is_empty(), "a word without WAITERS has waiters");
                    now = changed;
                }
            }
        };
        drop(waiters);
        next.notify();
        true
    }

    /// Whether somebody waits.
    #[inline]
    #[must_use]
    pub fn has_waiters(&self) -> bool {
        self.word.load(Ordering::Relaxed) & WAITERS != 0
    }

    /// Makes the lock free and forgets its waiters: for a child after `fork()`, whose other threads are gone.
    pub fn reset(&self) {
        let mut waiters = self.waiters.lock();
        *waiters = WaitList::new();
        self.word.store(0, Ordering::Release);
    }
}

/// A wait of the thread `me` for the lock.
#[derive(Debug, Clone, Copy)]
pub struct Acquire<'a> {
    /// The lock.
    pub lock: &'a LockWord,
    /// The ident that will own it.
    pub me: usize,
}

impl Site for Acquire<'_> {
    fn take_or_enqueue(&self, waiter: &Waiter, again: bool) -> bool {
        let word = &self.lock.word;
        let mut waiters = self.lock.waiters.lock();
        let mut now = word.load(Ordering::Relaxed);
        loop {
            let (to, order) = if now & !WAITERS == 0 {
                (now | self.me, Ordering::Acquire)
            } else {
                (now | WAITERS, Ordering::Relaxed)
            };
            match word.compare_exchange(now, to, order, Ordering::Relaxed) {
                Ok(_) if now & !WAITERS == 0 => return true,
                Ok(_) => break,
                Err(changed) => now = changed,
            }
        }
        waiters.enqueue(waiter, again);
        false
    }

    fn leave(&self, waiter: &Waiter) -> bool {
        let mut waiters = self.lock.waiters.lock();
        let was_there = waiters.remove(waiter);
        if waiters.is_empty() {
            self.lock.word.fetch_and(!WAITERS, Ordering::Relaxed);
        }
        was_there
    }

    fn pass_on(&self) {
        let mut waiters = self.lock.waiters.lock();
        let mut next = Batch::EMPTY;
        // An owned lock wakes the next when it is released.
        if self.lock.owner() == 0 {
            next = waiters.pop(1);
            if waiters.is_empty() {
                self.lock.word.fetch_and(!WAITERS, Ordering::Relaxed);
            }
        }
        drop(waiters);
        next.notify();
    }

    fn spin(&self) -> &Spin {
        &self.lock.spin
    }
}
