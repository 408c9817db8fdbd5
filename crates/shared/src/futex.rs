//! Sleeping on a word that several processes have mapped: `futex(2)` without the PRIVATE flag.

#[cfg(not(loom))]
use std::time::Duration;

/// Why a sleep is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// The word had changed, or somebody woke us; look again.
    Changed,
    /// It has lasted as long as it was to.
    TimedOut,
    /// This thread has handled a signal.
    Interrupted,
}

/// Sleeps while the word at `at` is `expected`, `at_most` so long.
#[cfg(not(loom))]
pub fn wait(at: *const u32, expected: u32, at_most: Duration) -> Woken {
    let limit = libc::timespec {
        tv_sec: libc::time_t::try_from(at_most.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: at_most.subsec_nanos().into(),
    };
    // SAFETY: the kernel checks the address; the limit, a relative time, outlives the call.
    let end = unsafe {
        libc::syscall(
            libc::SYS_futex,
            at.addr(),
            libc::FUTEX_WAIT,
            expected,
            std::ptr::from_ref(&limit),
        )
    };
    if end == 0 {
        return Woken::Changed;
    }
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::ETIMEDOUT) => Woken::TimedOut,
        Some(libc::EINTR) => Woken::Interrupted,
        _ => Woken::Changed,
    }
}

/// Wakes up to `n` that sleep on the word at `at`.
#[cfg(not(loom))]
pub fn wake(at: *const u32, n: i32) {
    // SAFETY: FUTEX_WAKE reads nothing from the address.
    unsafe {
        libc::syscall(libc::SYS_futex, at.addr(), libc::FUTEX_WAKE, n);
    }
}

/// The models' futex: a mutex and a condition variable, so that loom finds a wake that is missing.
#[cfg(loom)]
#[derive(Debug, Default)]
pub(crate) struct Gate(loom::sync::Mutex<()>, loom::sync::Condvar);

#[cfg(loom)]
impl Gate {
    pub(crate) fn wait(&self, unchanged: impl Fn() -> bool) -> Woken {
        let mut held = self.0.lock().unwrap();
        while unchanged() {
            held = self.1.wait(held).unwrap();
        }
        Woken::Changed
    }

    pub(crate) fn wake(&self) {
        drop(self.0.lock().unwrap());
        self.1.notify_all();
    }
}
