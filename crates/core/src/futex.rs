//! The only place that sleeps: a 32-bit word with `futex(2)`.
//!
//! Unlike std's and parking_lot's parkers this one reports `EINTR`, so that Ctrl-C can be heard, and
//! keeps no table of its own, so that nothing is left over after `fork()`.
//!
//! Under loom the futex is a mutex and a condition variable, so that the model finds a wake that is
//! missing, not only a wrong word.

use crate::clock::Nanos;
use crate::sync::{AtomicU32, Ordering};

/// Why [`Futex::wait`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// The word had changed, or somebody woke us; look again.
    Changed,
    /// The deadline has passed.
    TimedOut,
    /// A signal was handled by this thread.
    Interrupted,
}

/// A word to sleep on.
#[derive(Debug)]
pub struct Futex {
    pub(crate) word: AtomicU32,
    #[cfg(loom)]
    gate: (loom::sync::Mutex<()>, loom::sync::Condvar),
}

impl Futex {
    /// A word that holds `value`.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new(value: u32) -> Self {
        Self {
            word: AtomicU32::new(value),
        }
    }

    /// A word that holds `value`.
    #[cfg(loom)]
    #[must_use]
    pub fn new(value: u32) -> Self {
        Self {
            word: AtomicU32::new(value),
            gate: (loom::sync::Mutex::new(()), loom::sync::Condvar::new()),
        }
    }

    /// Sleeps while the word is `expected`, until `deadline` at the latest.
    #[cfg(not(loom))]
    pub fn wait(&self, expected: u32, deadline: Option<Nanos>) -> Woken {
        let until = deadline.map(|at| libc::timespec {
            tv_sec: libc::time_t::try_from(at / 1_000_000_000).unwrap_or(libc::time_t::MAX),
            tv_nsec: (at % 1_000_000_000).cast_signed(),
        });
        let until = until.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the word outlives the call, `until` is null or a valid timespec; FUTEX_WAIT_BITSET takes an
        // absolute CLOCK_MONOTONIC time.
        let end = unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.word.as_ptr(),
                libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG,
                expected,
                until,
                std::ptr::null::<u32>(),
                u32::MAX,
            )
        };
        if end == 0 {
            return Woken::Changed;
        }
        // SAFETY: errno is this thread's own.
        match unsafe { *libc::__errno_location() } {
            libc::ETIMEDOUT => Woken::TimedOut,
            libc::EINTR => Woken::Interrupted,
            _ => Woken::Changed,
        }
    }

    /// Wakes one thread that sleeps on the word at `this`, if there is one.
    ///
    /// Only the address is used, so the word may be gone by now: then the worst that can happen is that
    /// somebody else's futex at that address is woken once too often, which every wait allows for.
    #[cfg(not(loom))]
    pub fn wake(this: *const Self) {
        // SAFETY: FUTEX_WAKE reads nothing from the address.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                this.addr(),
                libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                1,
            );
        }
    }

    /// Sleeps while the word is `expected`.
    #[cfg(loom)]
    pub fn wait(&self, expected: u32, _deadline: Option<Nanos>) -> Woken {
        let mut held = self.gate.0.lock().unwrap();
        while self.word.load(Ordering::Relaxed) == expected {
            held = self.gate.1.wait(held).unwrap();
        }
        Woken::Changed
    }

    /// Wakes the thread that sleeps on the word at `this`. (The models leak their words.)
    #[cfg(loom)]
    pub fn wake(this: *const Self) {
        // SAFETY: the models leak every futex.
        let this = unsafe { &*this };
        drop(this.gate.0.lock().unwrap());
        this.gate.1.notify_all();
    }

    /// The value now.
    #[inline]
    #[must_use]
    pub fn load(&self, order: Ordering) -> u32 {
        self.word.load(order)
    }
}
