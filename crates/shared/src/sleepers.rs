//! Those that sleep until something has been made; who makes it pays a fence and a load while nobody sleeps.
//!
//! The word is 0, or [`ASLEEP`]. Who finds nothing stores ASLEEP, fences, looks once more, and sleeps while the
//! word is ASLEEP. Who has made something fences, loads the word, and if it is ASLEEP takes it back to 0 and wakes one.
//!
//! **No wake-up is lost.** Both store, fence (SeqCst), then load what the other stores; so not both loads can miss. Several
//! may sleep behind the one word: the one that is woken does not know of the others, so once it has taken
//! something (or will not) it calls [`pass_on`](Sleepers::pass_on), which says ASLEEP again for those that may
//! still sleep, and wakes one more if there is more to take.
//! One that is killed between being woken and that leaves the others asleep: they look after [`BACKSTOP`](crate::BACKSTOP).

use crate::futex::Woken;
use crate::sync::{AtomicU32, Ordering, fence};
use std::time::Duration;

const ASLEEP: u32 = 1;

/// The word, in shared memory. All zeroes: nobody sleeps.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Sleepers {
    word: AtomicU32,
    #[cfg(loom)]
    gate: crate::futex::Gate,
}

impl Sleepers {
    /// Wakes one, if any sleeps. What it waits for has been stored.
    #[inline]
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.word.load(Ordering::Relaxed) == ASLEEP {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        if self.word.swap(0, Ordering::Relaxed) == ASLEEP {
            self.futex_wake();
        }
    }

    /// Sleeps until somebody rings, `at_most` so long, unless `is_there` finds that there is something now.
    pub fn sleep(&self, at_most: Duration, is_there: impl FnOnce() -> bool) -> Woken {
        // A swap and not a store: see `bell` of plait-ring.
        self.word.swap(ASLEEP, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if is_there() {
            return Woken::Changed;
        }
        self.futex_wait(at_most)
    }

    /// Called by one that has slept, once it has taken something or gives up: others may sleep.
    pub fn pass_on(&self, is_there: impl FnOnce() -> bool) {
        self.word.swap(ASLEEP, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if is_there() {
            self.wake();
        }
    }

    #[cfg(not(loom))]
    fn futex_wait(&self, at_most: Duration) -> Woken {
        crate::futex::wait(self.word.as_ptr(), ASLEEP, at_most)
    }

    #[cfg(not(loom))]
    fn futex_wake(&self) {
        crate::futex::wake(self.word.as_ptr(), 1);
    }

    #[cfg(loom)]
    fn futex_wait(&self, _: Duration) -> Woken {
        self.gate.wait(|| self.word.load(Ordering::Relaxed) == ASLEEP)
    }

    #[cfg(loom)]
    fn futex_wake(&self) {
        self.gate.wake();
    }
}
