//! The word of an event: clear, clear with waiters, or set.
//!
//! `CLEAR → SET` and back are the fast paths. [`WAITED`] (clear, with waiters) is entered and left only under the
//! latch: setting such an event stores [`SET`] and pops all waiters in one critical section, so that a
//! waiter that came after a later `clear()` is never woken by an earlier `set()`.
//! A waiter that has been notified has seen the event set, whatever it is by then (as in CPython).

use crate::latch::Latch;
use crate::site::Site;
use crate::spin::Spin;
use crate::sync::{AtomicU32, Ordering};
use crate::waiter::{WaitList, Waiter};

const CLEAR: u32 = 0;
const SET: u32 = 1;
const WAITED: u32 = 2;

/// The state of an event.
#[derive(Debug)]
pub struct EventWord {
    word: AtomicU32,
    spin: Spin,
    waiters: Latch<WaitList>,
}

impl Default for EventWord {
    fn default() -> Self {
        Self::new()
    }
}

impl EventWord {
    /// A clear event.
    #[must_use]
    pub fn new() -> Self {
        Self {
            word: AtomicU32::new(CLEAR),
            waiters: Latch::new(WaitList::new()),
            spin: Spin::new(),
        }
    }

    /// Whether it is set.
    #[inline]
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.word.load(Ordering::Acquire) == SET
    }

    /// Sets it and wakes all that wait.
    #[inline]
    pub fn set(&self) {
        if self
            .word
            .compare_exchange(CLEAR, SET, Ordering::Release, Ordering::Relaxed)
            == Err(WAITED)
        {
            self.set_slow();
        }
    }

    #[cold]
    fn set_slow(&self) {
        let mut waiters = self.waiters.lock();
        self.word.store(SET, Ordering::Release);
        let all = waiters.pop(usize::MAX);
        drop(waiters);
        all.notify();
    }

    /// Clears it.
    #[inline]
    pub fn clear(&self) {
        let _was_clear = self
            .word
            .compare_exchange(SET, CLEAR, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Forgets the waiters: for a child after `fork()`.
    pub fn reset(&self) {
        let mut waiters = self.waiters.lock();
        *waiters = WaitList::new();
        let _none_waited = self
            .word
            .compare_exchange(WAITED, CLEAR, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Site for EventWord {
    fn take_or_enqueue(&self, waiter: &Waiter, again: bool) -> bool {
        if again {
            return true;
        }
        let mut waiters = self.waiters.lock();
        // Under the latch only a set or a clear of an event without waiters can interfere.
        match self
            .word
            .compare_exchange(CLEAR, WAITED, Ordering::Acquire, Ordering::Acquire)
        {
            Err(SET) => return true,
            Ok(_) | Err(_) => waiters.enqueue(waiter, false),
        }
        false
    }

    fn leave(&self, waiter: &Waiter) -> bool {
        let mut waiters = self.waiters.lock();
        let was_there = waiters.remove(waiter);
        if waiters.is_empty() {
            let _was_set = self
                .word
                .compare_exchange(WAITED, CLEAR, Ordering::Relaxed, Ordering::Relaxed);
        }
        was_there
    }

    fn pass_on(&self) {
        // Everybody was notified.
    }

    fn spin(&self) -> &Spin {
        &self.spin
    }
}
