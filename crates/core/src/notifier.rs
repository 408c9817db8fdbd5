//! Waiters that are woken by name of number: what a condition, or one end of a line, is made of.
//!
//! There is no state to look at but the list itself: whoever enqueues is woken by a later [`notify`](Notifier::notify).
//! What is waited for is guarded by a lock of the user's, who enqueues before releasing it and notifies
//! while holding it; so the count, read without the latch, is right for whoever holds that lock.

use crate::batch::Batch;
use crate::latch::Latch;
use crate::site::Site;
use crate::spin::Spin;
use crate::sync::{AtomicUsize, Ordering};
use crate::waiter::{WaitList, Waiter};

/// Waiters in order, and how many there are.
#[derive(Debug)]
pub struct Notifier {
    count: AtomicUsize,
    waiters: Latch<WaitList>,
    spin: Spin,
}

impl Default for Notifier {
    fn default() -> Self {
        Self::new()
    }
}

impl Notifier {
    /// Nobody waits.
    #[must_use]
    pub fn new() -> Self {
        Self {
            count: AtomicUsize::new(0),
            waiters: Latch::new(WaitList::new()),
            spin: Spin::new(),
        }
    }

    /// How many wait. (After `fork()` the count may still include waiters that are gone.)
    #[inline]
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Puts `waiter` at the end: before the user's lock is released.
    pub fn enqueue(&self, waiter: &Waiter) {
        let mut waiters = self.waiters.lock();
        if waiters.is_empty() {
            self.count.store(0, Ordering::Relaxed);
        }
        waiters.enqueue(waiter, false);
        self.count.store(self.count() + 1, Ordering::Relaxed);
    }

    /// Pops up to `n` that wait; the caller notifies them, with its own lock held or not.
    #[inline]
    pub fn pop(&self, n: usize) -> Batch {
        if self.count() == 0 {
            Batch::EMPTY
        } else {
            self.pop_slow(n)
        }
    }

    #[cold]
    fn pop_slow(&self, n: usize) -> Batch {
        let mut waiters = self.waiters.lock();
        let batch = waiters.pop(n);
        let left = if waiters.is_empty() {
            0
        } else {
            self.count() - batch.len()
        };
        self.count.store(left, Ordering::Relaxed);
        batch
    }

    /// Wakes up to `n` that wait.
    #[inline]
    pub fn notify(&self, n: usize) {
        self.pop(n).notify();
    }

    /// Forgets the waiters: for a child after `fork()`.
    pub fn reset(&self) {
        let mut waiters = self.waiters.lock();
        *waiters = WaitList::new();
        self.count.store(0, Ordering::Relaxed);
    }
}

/// The waiter is enqueued by [`Notifier::enqueue`] before the door is entered.
impl Site for Notifier {
    fn take_or_enqueue(&self, _waiter: &Waiter, again: bool) -> bool {
        again
    }

    fn leave(&self, waiter: &Waiter) -> bool {
        let mut waiters = self.waiters.lock();
        let was_there = waiters.remove(waiter);
        if was_there {
            self.count
                .store(self.count().saturating_sub(1), Ordering::Relaxed);
        }
        was_there
    }

    fn pass_on(&self) {
        self.notify(1);
    }

    fn spin(&self) -> &Spin {
        &self.spin
    }
}
