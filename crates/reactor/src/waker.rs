//! How another thread ends the loop's sleep: the flag of [`Sleep`], and an `eventfd(2)` that the loop polls.

use crate::sleep::Sleep;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Ends the sleep of one loop.
#[derive(Debug)]
pub struct Waker {
    sleep: Sleep,
    descriptor: OwnedFd,
}

impl Waker {
    /// A new one.
    ///
    /// # Errors
    /// What `eventfd(2)` reports.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory is involved.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            sleep: Sleep::new(),
            // SAFETY: the descriptor is new and nobody else's.
            descriptor: unsafe { OwnedFd::from_raw_fd(fd) },
        })
    }

    /// What the loop polls.
    pub fn descriptor(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    /// See [`Sleep::about_to`].
    #[inline]
    pub fn about_to_sleep(&self) {
        self.sleep.about_to();
    }

    /// See [`Sleep::over`].
    #[inline]
    pub fn awake(&self) {
        self.sleep.over();
    }

    /// Ends the sleep, if there is one. Called after work was put in the queue, by any thread.
    #[inline]
    pub fn wake(&self) {
        if self.sleep.interrupt() {
            self.write();
        }
    }

    #[cold]
    fn write(&self) {
        let one = 1_u64;
        // SAFETY: eight bytes are read from a local. A full counter (`EAGAIN`) is readable, which is all that is wanted.
        unsafe { libc::write(self.descriptor(), (&raw const one).cast(), size_of::<u64>()) };
    }

    /// Makes the descriptor unreadable again.
    pub fn drain(&self) {
        let mut count = 0_u64;
        // SAFETY: eight bytes are written to a local.
        unsafe { libc::read(self.descriptor(), (&raw mut count).cast(), size_of::<u64>()) };
    }
}
