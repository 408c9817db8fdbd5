//! How a process that sleeps is woken by another, and costs it one load while it does not sleep.
//!
//! The word is [`AWAKE`] or [`ASLEEP`]. Who wants to sleep stores ASLEEP, fences, looks once more for work, and sleeps in
//! `futex(2)` while the word is ASLEEP. Who has made work (a store that the other will see) fences, loads the word, and if
//! it is ASLEEP takes it back to AWAKE and wakes.
//!
//! **No wake-up is lost.** Both sides store, fence (SeqCst), then load what the other stores. So not both loads can miss:
//! either the sleeper sees the work and does not sleep, or the ringer sees ASLEEP. In that case it changes the
//! word before the wake, and the futex call of a sleeper that has not got there yet returns at once. A ringer
//! that is killed between the two leaves AWAKE without a wake: so every sleep has an end, after which the sleeper looks
//! again ([`BACKSTOP`]); and whoever watches over the processes hears of the death anyway.
//!
//! The word lies in shared memory: no PRIVATE flag. A process that writes nonsense to it wakes the other side or lets it
//! sleep until the backstop; nothing else depends on its value.

use crate::sync::{AtomicU32, Ordering, fence};
use std::time::Duration;

/// Nobody sleeps.
pub const AWAKE: u32 = 0;
/// Somebody sleeps, or is about to.
pub const ASLEEP: u32 = 1;
/// No sleep is longer than this.
pub const BACKSTOP: Duration = Duration::from_millis(500);

/// Why a sleep is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// There may be work: look.
    Rung,
    /// It has lasted as long as it was to.
    TimedOut,
    /// This thread has handled a signal.
    Interrupted,
}

/// The word. One may sleep on it at a time; anybody may ring.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Bell {
    word: AtomicU32,
    #[cfg(loom)]
    gate: (loom::sync::Mutex<()>, loom::sync::Condvar),
}

impl Default for Bell {
    fn default() -> Self {
        Self {
            word: AtomicU32::new(AWAKE),
            #[cfg(loom)]
            gate: Default::default(),
        }
    }
}

impl Bell {
    /// Wakes who sleeps, if somebody does. The caller has published its work before.
    #[inline]
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.word.load(Ordering::Relaxed) == ASLEEP {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        // One ringer of several makes the call.
        if self.word.swap(AWAKE, Ordering::Relaxed) == ASLEEP {
            self.futex_wake();
        }
    }

    /// Sleeps until somebody rings, for `at_most` (and [`BACKSTOP`]), unless `has_work` finds that there is some now.
    pub fn sleep(&self, at_most: Duration, has_work: impl FnOnce() -> bool) -> Woken {
        // A swap and not a store, which would do: loom does not see that a store cannot come between what a
        // ringer's swap has read and what it wrote.
        self.word.swap(ASLEEP, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let woken = if has_work() {
            Woken::Rung
        } else {
            self.futex_wait(at_most.min(BACKSTOP))
        };
        self.word.store(AWAKE, Ordering::Relaxed);
        woken
    }

    #[cfg(not(loom))]
    fn futex_wait(&self, at_most: Duration) -> Woken {
        let limit = libc::timespec {
            tv_sec: libc::time_t::try_from(at_most.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: at_most.subsec_nanos().into(),
        };
        // SAFETY: word and limit outlive the call; FUTEX_WAIT takes a relative time.
        let end = unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.word.as_ptr(),
                libc::FUTEX_WAIT,
                ASLEEP,
                std::ptr::from_ref(&limit),
            )
        };
        if end == 0 {
            return Woken::Rung;
        }
        match std::io::Error::last_os_error().raw_os_error() {
            Some(libc::ETIMEDOUT) => Woken::TimedOut,
            Some(libc::EINTR) => Woken::Interrupted,
            _ => Woken::Rung,
        }
    }

    #[cfg(not(loom))]
    fn futex_wake(&self) {
        // SAFETY: FUTEX_WAKE reads nothing from the address, which is a mapped word.
        unsafe {
            libc::syscall(libc::SYS_futex, self.word.as_ptr(), libc::FUTEX_WAKE, 1);
        }
    }

    #[cfg(loom)]
    fn futex_wait(&self, _at_most: Duration) -> Woken {
        let mut held = self.gate.0.lock().unwrap();
        while self.word.load(Ordering::Relaxed) == ASLEEP {
            held = self.gate.1.wait(held).unwrap();
        }
        Woken::Rung
    }

    #[cfg(loom)]
    fn futex_wake(&self) {
        drop(self.gate.0.lock().unwrap());
        self.gate.1.notify_all();
    }
}
