//! The word of a semaphore: the value, and whether somebody waits.
//!
//! The value stands in the upper bits, [`WAITERS`] in the lowest. The bit is set and cleared only under the
//! latch, and set only while the value is 0. A release adds to the value first; if it finds the bit it takes the latch
//! and wakes as many as it added. A waiter looks at the value under the latch, after which a release
//! either is seen by it, or sees the bit. Permits go to whoever takes them first, as in CPython.

use crate::batch::Batch;
use crate::latch::Latch;
use crate::site::Site;
use crate::spin::Spin;
use crate::sync::{AtomicU64, Ordering};
use crate::waiter::{WaitList, Waiter};

const WAITERS: u64 = 1;
const ONE: u64 = 2;

/// The largest value that a semaphore can hold.
pub const MOST: u64 = u64::MAX >> 2;

/// The state of a semaphore.
#[derive(Debug)]
pub struct SemaphoreWord {
    word: AtomicU64,
    waiters: Latch<WaitList>,
    spin: Spin,
}

impl SemaphoreWord {
    /// A semaphore that holds `value`, at most [`MOST`].
    #[must_use]
    pub fn new(value: u64) -> Self {
        Self {
            word: AtomicU64::new(value.min(MOST) * ONE),
            waiters: Latch::new(WaitList::new()),
            spin: Spin::new(),
        }
    }

    /// The value now.
    #[inline]
    #[must_use]
    pub fn value(&self) -> u64 {
        self.word.load(Ordering::Relaxed) / ONE
    }

    /// Sets the value: for constructors, before anybody waits.
    pub fn set(&self, value: u64) {
        self.word.store(value.min(MOST) * ONE, Ordering::Relaxed);
    }

    /// Takes one permit if there is one.
    #[inline]
    #[must_use]
    pub fn try_acquire(&self) -> bool {
        let mut now = self.word.load(Ordering::Relaxed);
        while now >= ONE {
            match self
                .word
                .compare_exchange_weak(now, now - ONE, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(changed) => now = changed,
            }
        }
        false
    }

    /// Adds `n` permits and wakes as many. False, and nothing done, if there would be more than `bound`.
    #[inline]
    #[must_use]
    pub fn release(&self, n: u64, bound: u64) -> bool {
        let mut now = self.word.load(Ordering::Relaxed);
        loop {
            if n > bound || now / ONE > bound - n {
                return false;
            }
            match self
                .word
                .compare_exchange_weak(now, now + n * ONE, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => break,
                Err(changed) => now = changed,
            }
        }
        if now & WAITERS != 0 {
            self.wake(n);
        }
        true
    }

    #[cold]
    fn wake(&self, n: u64) {
        let mut waiters = self.waiters.lock();
        let next = waiters.pop(usize::try_from(n).unwrap_or(usize::MAX));
        self.note_waiters(&waiters);
        drop(waiters);
        next.notify();
    }

    fn note_waiters(&self, waiters: &WaitList) {
        if waiters.is_empty() {
            self.word.fetch_and(!WAITERS, Ordering::Relaxed);
        }
    }

    /// Forgets the waiters: for a child after `fork()`.
    pub fn reset(&self) {
        let mut waiters = self.waiters.lock();
        *waiters = WaitList::new();
        self.note_waiters(&waiters);
    }
}

impl Site for SemaphoreWord {
    fn take_or_enqueue(&self, waiter: &Waiter, again: bool) -> bool {
        let mut waiters = self.waiters.lock();
        let mut now = self.word.load(Ordering::Relaxed);
        loop {
            let to = if now >= ONE { now - ONE } else { now | WAITERS };
            match self
                .word
                .compare_exchange(now, to, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) if now >= ONE => return true,
                Ok(_) => break,
                Err(changed) => now = changed,
            }
        }
        waiters.enqueue(waiter, again);
        false
    }

    fn leave(&self, waiter: &Waiter) -> bool {
        let mut waiters = self.waiters.lock();
        let was_there = waiters.remove(waiter);
        self.note_waiters(&waiters);
        was_there
    }

    fn pass_on(&self) {
        let mut waiters = self.waiters.lock();
        let next = if self.value() > 0 {
            waiters.pop(1)
        } else {
            Batch::EMPTY
        };
        self.note_waiters(&waiters);
        drop(waiters);
        next.notify();
    }

    fn spin(&self) -> &Spin {
        &self.spin
    }
}
