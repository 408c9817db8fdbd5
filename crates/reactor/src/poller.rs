//! `epoll(7)`, level-triggered: which descriptors are ready.
//!
//! Facts about epoll that the loop lives with. A descriptor that is closed leaves the set by itself only when no duplicate is left; so whoever
//! closes says so first. A hang-up or an error is reported whether asked for or not; both count as readable and writable, since a
//! read or write is what tells. Regular files are refused (`EPERM`). `epoll_wait` ends with `EINTR` at a signal, always.

use crate::Nanos;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// What is waited for at a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interest {
    /// That it can be read, or has come to its end.
    pub read: bool,
    /// That it can be written.
    pub write: bool,
}

impl Interest {
    /// Nothing.
    pub const NONE: Self = Self {
        read: false,
        write: false,
    };

    /// Whether it is nothing.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    fn bits(self) -> u32 {
        let read = if self.read {
            libc::EPOLLIN | libc::EPOLLPRI
        } else {
            0
        };
        let write = if self.write { libc::EPOLLOUT } else { 0 };
        (read | write).cast_unsigned()
    }
}

/// A descriptor is ready.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// Which one.
    pub fd: RawFd,
    /// It can be read, or a read tells what is wrong.
    pub read: bool,
    /// It can be written, or a write tells what is wrong.
    pub write: bool,
}

/// How many events one poll reports at most; the rest come with the next.
const BATCH: usize = 512;

/// `epoll_pwait2` (Linux 5.11) takes nanoseconds. Where it is not there, or not allowed, milliseconds have to do.
static NANOSECONDS: AtomicBool = AtomicBool::new(true);

/// The descriptors that a loop waits for.
#[derive(Debug)]
pub struct Poller(OwnedFd);

/// Where a poll puts what it found; kept from one poll to the next.
pub struct Events {
    found: Box<[libc::epoll_event; BATCH]>,
    count: usize,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Default for Events {
    fn default() -> Self {
        Self {
            found: Box::new([libc::epoll_event { events: 0, u64: 0 }; BATCH]),
            count: 0,
        }
    }
}

impl Events {
    /// Forgets what the last poll found.
    pub fn clear(&mut self) {
        self.count = 0;
    }

    /// What the last poll found.
    pub fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        self.found[..self.count].iter().map(|event| {
            let bits = event.events.cast_signed();
            let broken = bits & (libc::EPOLLHUP | libc::EPOLLERR) != 0;
            Event {
                #[expect(clippy::cast_possible_truncation, reason = "we stored a descriptor there")]
                fd: event.u64 as RawFd,
                read: broken || bits & (libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLRDHUP) != 0,
                write: broken || bits & libc::EPOLLOUT != 0,
            }
        })
    }

    /// Whether the last poll found nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether the last poll found as many as there was place for: there may be more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.count == BATCH
    }
}

/// A descriptor that is readable once the process `pid` has ended (`pidfd_open(2)`, Linux 5.3).
///
/// # Errors
/// What the call reports; `ENOSYS` where it is not there.
pub fn process(pid: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match RawFd::try_from(fd) {
        // SAFETY: the descriptor is new and nobody else's.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Poller {
    /// An empty one.
    ///
    /// # Errors
    /// What `epoll_create1(2)` reports.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory is involved.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The epoll descriptor itself.
    pub fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Waits for `interest` at `fd` from now on, where `before` was waited for until now.
    ///
    /// # Errors
    /// What `epoll_ctl(2)` reports: `EBADF` for what is not open, `EPERM` for a regular file.
    pub fn set(&self, fd: RawFd, before: Interest, interest: Interest) -> io::Result<()> {
        let control = |operation| {
            let mut event = libc::epoll_event {
                events: interest.bits(),
                u64: u64::from(fd.cast_unsigned()),
            };
            // SAFETY: `event` is a valid local; the kernel checks the descriptors.
            if unsafe { libc::epoll_ctl(self.descriptor(), operation, fd, &raw mut event) } == 0 {
                Ok(())
            } else {
                Err(io::Error::last_os_error())
            }
        };
        if interest.is_none() {
            return if before.is_none() {
                Ok(())
            } else {
                control(libc::EPOLL_CTL_DEL)
            };
        }
        // Somebody may have closed the descriptor without a word, and its number be in use again.
        if before.is_none() {
            match control(libc::EPOLL_CTL_ADD) {
                Err(error) if error.raw_os_error() == Some(libc::EEXIST) => control(libc::EPOLL_CTL_MOD),
                done => done,
            }
        } else {
            match control(libc::EPOLL_CTL_MOD) {
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => control(libc::EPOLL_CTL_ADD),
                done => done,
            }
        }
    }

    /// Waits until a descriptor is ready, for `timeout` at most; None is for ever. A signal ends it with nothing found.
    ///
    /// # Errors
    /// What `epoll_wait(2)` reports, but for `EINTR`.
    pub fn wait(&self, events: &mut Events, timeout: Option<Nanos>) -> io::Result<()> {
        events.count = 0;
        let found = match timeout {
            None => self.wait_milliseconds(events, -1),
            Some(0) => self.wait_milliseconds(events, 0),
            Some(timeout) => self.wait_nanoseconds(events, timeout),
        };
        if let Ok(found) = usize::try_from(found) {
            events.count = found;
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::Interrupted {
            return Ok(());
        }
        Err(error)
    }

    fn wait_milliseconds(&self, events: &mut Events, timeout: i32) -> i32 {
        // SAFETY: the place holds `BATCH` events.
        unsafe {
            libc::epoll_wait(
                self.descriptor(),
                events.found.as_mut_ptr(),
                BATCH as i32,
                timeout,
            )
        }
    }

    fn wait_nanoseconds(&self, events: &mut Events, timeout: Nanos) -> i32 {
        if NANOSECONDS.load(Ordering::Relaxed) {
            let limit = libc::timespec {
                tv_sec: i64::try_from(timeout / 1_000_000_000).unwrap_or(i64::MAX),
                tv_nsec: (timeout % 1_000_000_000).cast_signed(),
            };
            // SAFETY: the place holds `BATCH` events, `limit` is a local, and no signal mask is passed.
            let found = unsafe {
                libc::syscall(
                    libc::SYS_epoll_pwait2,
                    self.descriptor(),
                    events.found.as_mut_ptr(),
                    BATCH,
                    &raw const limit,
                    std::ptr::null::<libc::sigset_t>(),
                    0_usize,
                )
            };
            let refused = found < 0
                && matches!(
                    io::Error::last_os_error().raw_os_error(),
                    Some(libc::ENOSYS | libc::EPERM)
                );
            if !refused {
                return i32::try_from(found).unwrap_or(-1);
            }
            NANOSECONDS.store(false, Ordering::Relaxed);
        }
        // Rounded up: a timer that is not yet due would only have the loop turn in vain.
        self.wait_milliseconds(
            events,
            i32::try_from(timeout.div_ceil(1_000_000)).unwrap_or(i32::MAX),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Waker;

    const READ: Interest = Interest {
        read: true,
        write: false,
    };

    #[test]
    fn a_waker_ends_the_sleep_and_stays_quiet_when_nobody_sleeps() {
        let (poller, waker) = (Poller::new().unwrap(), Waker::new().unwrap());
        poller.set(waker.descriptor(), Interest::NONE, READ).unwrap();
        let mut events = Events::default();
        waker.wake();
        poller.wait(&mut events, Some(0)).unwrap();
        assert_eq!(events.iter().count(), 0);
        waker.about_to_sleep();
        waker.wake();
        poller.wait(&mut events, None).unwrap();
        waker.awake();
        let event = events.iter().next().unwrap();
        assert_eq!(
            (event.fd, event.read, event.write),
            (waker.descriptor(), true, false)
        );
        waker.drain();
        poller.wait(&mut events, Some(0)).unwrap();
        assert_eq!(events.iter().count(), 0);
    }

    #[test]
    fn what_is_not_open_and_regular_files_are_refused() {
        let poller = Poller::new().unwrap();
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let refused = poller.set(file.as_raw_fd(), Interest::NONE, READ).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
        let closed = poller.set(9_999, Interest::NONE, READ).unwrap_err();
        assert_eq!(closed.raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn a_descriptor_whose_number_is_in_use_again_is_waited_for() {
        let poller = Poller::new().unwrap();
        let waker = Waker::new().unwrap();
        // As if the number had been registered before and closed since.
        poller.set(waker.descriptor(), READ, READ).unwrap();
        poller.set(waker.descriptor(), Interest::NONE, READ).unwrap();
        poller.set(waker.descriptor(), READ, Interest::NONE).unwrap();
        assert!(poller.set(waker.descriptor(), READ, Interest::NONE).is_err());
    }

    #[test]
    fn a_timeout_is_kept_to_less_than_a_millisecond() {
        let poller = Poller::new().unwrap();
        let mut events = Events::default();
        let before = std::time::Instant::now();
        poller.wait(&mut events, Some(200_000)).unwrap();
        assert!(before.elapsed().as_nanos() >= 200_000);
    }
}
