//! The internal lock of a waiter list: held for a few instructions, never across Python or a wait.
//!
//! The word is 0 (free), or the fork generation of the holder with [`HELD`], and [`CONTENDED`] where
//! somebody may sleep on it. A latch that is held with an older generation belonged to a thread that
//! `fork()` left behind: it is free, and is taken over. What it guarded may be half changed then, which
//! is why [`WaitList`](crate::WaitList) drops what an older generation wrote.
//!
//! On a build with a GIL a latch is never contended: all holders are attached, and none detaches.

use crate::fork;
use crate::futex::Futex;
use crate::sync::{Ordering, Slot, pause};
use std::ops::{Deref, DerefMut};

const HELD: u32 = 1;
const CONTENDED: u32 = 2;
const SPINS: u32 = if cfg!(loom) { 1 } else { 100 };

/// A value behind a lock that survives `fork()`.
#[derive(Debug)]
pub struct Latch<T> {
    futex: Futex,
    value: Slot<T>,
}

// SAFETY: the value is reached only through a `Guard`, of which there is one at a time.
unsafe impl<T: Send> Send for Latch<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Latch<T> {}

impl<T> Latch<T> {
    /// A free latch around `value`.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self {
            futex: Futex::new(0),
            value: Slot::new(value),
        }
    }

    /// A free latch around `value`.
    #[cfg(loom)]
    #[must_use]
    pub fn new(value: T) -> Self {
        Self {
            futex: Futex::new(0),
            value: Slot::new(value),
        }
    }

    /// Takes the latch. Signals are not heard: the holder runs for nanoseconds.
    #[inline]
    pub fn lock(&self) -> Guard<'_, T> {
        let held = (fork::generation() << 2) | HELD;
        if self
            .futex
            .word
            .compare_exchange(0, held, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            self.lock_slow(held);
        }
        Guard { latch: self }
    }

    #[cold]
    fn lock_slow(&self, held: u32) {
        let word = &self.futex.word;
        let mut spins = 0;
        let mut mine = held;
        loop {
            let now = word.load(Ordering::Relaxed);
            if now == 0 || now >> 2 != held >> 2 {
                if word
                    .compare_exchange(now, mine, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
                {
                    return;
                }
            } else if spins < SPINS {
                spins += 1;
                pause();
            } else if now & CONTENDED != 0
                || word
                    .compare_exchange(now, now | CONTENDED, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok()
            {
                self.futex.wait(now | CONTENDED, None);
                // Others may still sleep: whoever has slept takes the latch as contended.
                mine = held | CONTENDED;
            }
        }
    }

    /// Takes the latch if it is free: for the garbage collector's walk, which may not wait.
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        let held = (fork::generation() << 2) | HELD;
        self.futex
            .word
            .compare_exchange(0, held, Ordering::Acquire, Ordering::Relaxed)
            .ok()
            .map(|_| Guard { latch: self })
    }
}

/// The latch held; released when dropped.
#[derive(Debug)]
#[must_use]
pub struct Guard<'a, T> {
    latch: &'a Latch<T>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard is the only one.
        self.latch.value.with_mut(|value| unsafe { &*value })
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard is the only one.
        self.latch.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let word = &self.latch.futex.word;
        if word.swap(0, Ordering::Release) & CONTENDED != 0 {
            Futex::wake(&raw const self.latch.futex);
        }
    }
}
