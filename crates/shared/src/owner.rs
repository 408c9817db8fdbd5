//! The word of a lock: 0, or who holds it, and whether others sleep for it.
//!
//! | bits | meaning |
//! | --- | --- |
//! | 0–30 | the holder's process id |
//! | 31 | somebody sleeps for it, or did |
//! | 32–63 | the holder's start time, in ticks of the system |
//!
//! So a process is known as the holder from the instruction that makes it one, whenever it is killed; and a process that
//! later gets the same id is another one.
//!
//! **No wake-up is lost.** A sleeper sets the bit by compare-exchange on the word that it found taken, and sleeps while the
//! lower half (the futex) is what it has written. A release is a swap with 0: it comes before that compare-exchange, which then fails; or
//! it finds the bit and wakes one. A sleeper that is woken takes the lock with the bit set, since it cannot know
//! whether others sleep: so its own release wakes the next. One that is killed between being woken and taking leaves
//! the others asleep and the word free: they look after [`BACKSTOP`](crate::BACKSTOP).

use crate::futex::Woken;
use crate::sync::{AtomicU64, Ordering};
use std::time::Duration;

/// Somebody sleeps for it, or did.
const WAITED: u64 = 1 << 31;

/// Who holds a lock: the word without the bit. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity(pub(crate) u64);

impl Identity {
    /// Of the process with that id and start time.
    #[must_use]
    pub fn new(pid: u32, start: u32) -> Self {
        Self(u64::from(start) << 32 | u64::from(pid) & (WAITED - 1))
    }

    /// The process id.
    #[must_use]
    pub fn pid(self) -> i32 {
        i32::try_from(self.0 & (WAITED - 1)).unwrap_or(i32::MAX)
    }

    /// The start time.
    #[must_use]
    pub fn start(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// As it stands in a word.
    #[inline]
    #[must_use]
    pub fn word(self) -> u64 {
        self.0
    }

    /// As it stands in a word, 0 is nobody.
    #[must_use]
    pub fn from_word(word: u64) -> Option<Self> {
        let who = word & !WAITED;
        (who != 0).then_some(Self(who))
    }
}

/// A lock's word, in shared memory. All zeroes is a free one.
#[derive(Debug, Default)]
#[repr(C, align(8))]
pub struct OwnerWord {
    word: AtomicU64,
    #[cfg(loom)]
    gate: crate::futex::Gate,
}

impl OwnerWord {
    /// Takes it if it is free.
    #[inline]
    pub fn take(&self, me: Identity) -> bool {
        self.word
            .compare_exchange(0, me.0, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// As [`take`](Self::take), for one that has slept for it.
    pub fn take_slept(&self, me: Identity) -> bool {
        self.word
            .compare_exchange(0, me.0 | WAITED, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Takes it from `dead`, which holds it and lives no more.
    pub fn take_over(&self, dead: Identity, me: Identity) -> bool {
        [dead.0, dead.0 | WAITED].into_iter().any(|word| {
            self.word
                .compare_exchange(word, me.0 | WAITED, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        })
    }

    /// Frees it and wakes one that sleeps for it. False if it was free.
    #[inline]
    pub fn free(&self) -> bool {
        let old = self.word.swap(0, Ordering::Release);
        if old & WAITED != 0 {
            self.wake();
        }
        old != 0
    }

    /// Who holds it.
    #[inline]
    pub fn holder(&self) -> Option<Identity> {
        Identity::from_word(self.word.load(Ordering::Relaxed))
    }

    /// Sleeps while it is taken.
    pub fn sleep(&self, at_most: Duration) -> Woken {
        let now = self.word.load(Ordering::Relaxed);
        if now == 0 {
            return Woken::Changed;
        }
        if now & WAITED == 0
            && self
                .word
                .compare_exchange(now, now | WAITED, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            return Woken::Changed;
        }
        self.futex_wait(now | WAITED, at_most)
    }

    #[cfg(not(loom))]
    fn futex_wait(&self, expected: u64, at_most: Duration) -> Woken {
        const { assert!(cfg!(target_endian = "little"), "the id is in the first half") };
        #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
        crate::futex::wait(self.word.as_ptr().cast(), expected as u32, at_most)
    }

    #[cold]
    #[cfg(not(loom))]
    fn wake(&self) {
        crate::futex::wake(self.word.as_ptr().cast(), 1);
    }

    #[cfg(loom)]
    fn futex_wait(&self, expected: u64, _: Duration) -> Woken {
        self.gate
            .wait(|| self.word.load(Ordering::Relaxed) as u32 == expected as u32)
    }

    #[cfg(loom)]
    fn wake(&self) {
        self.gate.wake();
    }
}

#[cfg(not(loom))]
pub use latch::{Guard, Latch};

#[cfg(not(loom))]
mod latch {
    use super::OwnerWord;
    use crate::{BACKSTOP, Busy, Patience, life};
    use std::time::{Duration, Instant};

    /// So many looks at a latch before a thread that may not wait gives up: some microseconds.
    const LOOKS: u32 = 200;
    /// So long a thread that may wait yields its core before it sleeps.
    const YIELD: Duration = Duration::from_micros(50);

    /// A lock for some instructions: what lies behind it is consistent whenever it is free.
    #[derive(Debug, Default)]
    #[repr(transparent)]
    pub struct Latch(OwnerWord);

    /// Who has it may change what lies behind the latch.
    #[derive(Debug)]
    #[must_use]
    pub struct Guard<'a> {
        latch: &'a Latch,
        /// It was taken over from a process that died with it: what lies behind has to be repaired.
        pub from_dead: bool,
    }

    impl Drop for Guard<'_> {
        #[inline]
        fn drop(&mut self) {
            self.latch.0.free();
        }
    }

    impl Latch {
        /// Takes it.
        ///
        /// # Errors
        /// [`Busy`] if it was not to be had in the time that `patience` gives.
        #[inline]
        pub fn lock(&self, patience: Patience) -> Result<Guard<'_>, Busy> {
            if self.0.take(life::me()) {
                return Ok(Guard {
                    latch: self,
                    from_dead: false,
                });
            }
            self.lock_slowly(patience)
        }

        #[cold]
        fn lock_slowly(&self, patience: Patience) -> Result<Guard<'_>, Busy> {
            let me = life::me();
            let got = |from_dead| {
                Ok(Guard {
                    latch: self,
                    from_dead,
                })
            };
            for _ in 0..LOOKS {
                std::hint::spin_loop();
                if self.0.holder().is_none() && self.0.take(me) {
                    return got(false);
                }
            }
            if patience == Patience::Brief {
                return Err(Busy);
            }
            let begin = Instant::now();
            while begin.elapsed() < YIELD {
                std::thread::yield_now();
                if self.0.holder().is_none() && self.0.take(me) {
                    return got(false);
                }
            }
            while begin.elapsed() < BACKSTOP {
                self.0.sleep(Duration::from_millis(20));
                if self.0.take_slept(me) {
                    return got(false);
                }
                if let Some(holder) = self.0.holder()
                    && !life::is_alive(holder)
                    && self.0.take_over(holder, me)
                {
                    return got(true);
                }
            }
            Err(Busy)
        }
    }
}
