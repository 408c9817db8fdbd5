//! A process by a descriptor, which means that process and no other, whoever gets its number afterwards.
//!
//! Facts about it. It is readable from the moment that the process has ended, before anybody has reaped it. A signal sent through
//! it reaches that process or nobody (`ESRCH`). Only the parent of the process can ask for its status, once.

use crate::{again, checked};
use std::io::{Error, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// A process.
#[derive(Debug)]
pub struct Pidfd(OwnedFd);

impl Pidfd {
    /// The process that has this number now. Of a child that nobody has reaped yet, or of oneself, that is certain.
    ///
    /// # Errors
    /// The system's: no such process, no descriptors.
    pub fn open(pid: libc::pid_t) -> Result<Self> {
        // SAFETY: a plain system call; the descriptor is new and ours, and closed on exec.
        unsafe {
            let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
            let fd = RawFd::try_from(fd).map_err(Error::other)?;
            Ok(Self(OwnedFd::from_raw_fd(checked(fd)?)))
        }
    }

    /// Sends a signal (0: only looks whether it could be).
    ///
    /// # Errors
    /// The system's: `ESRCH` once the process has been reaped.
    pub fn signal(&self, number: libc::c_int) -> Result<()> {
        send(self.as_fd(), number)
    }

    /// Waits until it has ended, for that long at most. Whether it has.
    ///
    /// # Errors
    /// The system's.
    pub fn wait(&self, timeout: Duration) -> Result<bool> {
        readable(self.as_fd(), timeout)
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.wait(Duration::ZERO).unwrap_or(false)
    }

    /// Reaps it, if it has ended: its exit code, or the negative number of the signal that ended it.
    ///
    /// # Errors
    /// `ECHILD` if it is not this process's child, or has been reaped.
    pub fn reap(&self) -> Result<Option<i32>> {
        // SAFETY: a zeroed siginfo is valid, and waitid fills it in.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let id = libc::id_t::try_from(self.as_raw_fd()).map_err(Error::other)?;
            let options = libc::WEXITED | libc::WNOHANG;
            again(|| libc::waitid(libc::P_PIDFD, id, &raw mut info, options) as isize)?;
            Ok(match info.si_code {
                _ if info.si_pid() == 0 => None,
                libc::CLD_EXITED => Some(info.si_status()),
                _ => Some(-info.si_status()),
            })
        }
    }

    /// How a process ended that is not this one's child, as [`reap`](Self::reap) would say: as long as its parent, whoever that is, has
    /// not reaped it, or, on Linux 6.15, ever. `pid` is its number, or was.
    #[must_use]
    pub fn told(&self, pid: libc::pid_t) -> Option<i32> {
        for _ in 0..20 {
            if let Some(status) = self.told_by_itself().or_else(|| self.told_by_proc(pid)) {
                let signal = status & 0x7f;
                return Some(if signal == 0 {
                    (status >> 8) & 0xff
                } else {
                    -signal
                });
            }
            // It is reaped at this moment; or the system is older, and it has been.
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    }

    /// `wait`'s status of a process that has been reaped (Linux 6.15).
    fn told_by_itself(&self) -> Option<i32> {
        /// `struct pidfd_info` as it first was; its last field is the status.
        #[repr(C)]
        struct Info {
            mask: u64,
            _others: [u32; 13],
            status: i32,
        }
        const EXIT: u64 = 1 << 3;
        const _: () = assert!(size_of::<Info>() == 64);
        /// `_IOWR(0xFF, 11, struct pidfd_info)`
        const GET_INFO: libc::c_ulong = 0xC040_FF0B;
        let mut info = Info {
            mask: EXIT,
            _others: [0; 13],
            status: 0,
        };
        // SAFETY: the system writes as many bytes as the request's number says, which is its size.
        let end = unsafe { libc::ioctl(self.as_raw_fd(), GET_INFO as _, &raw mut info) };
        (end >= 0 && info.mask & EXIT != 0).then_some(info.status)
    }

    /// `wait`'s status of a zombie: the last field of its `stat`.
    fn told_by_proc(&self, pid: libc::pid_t) -> Option<i32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(')')?;
        let status = fields.trim_start().strip_prefix('Z')?.split_whitespace().last()?;
        // Nobody has reaped it to this moment, so the number was its own when the file was read.
        self.signal(0).ok()?;
        status.parse().ok()
    }
}

/// Sends a signal to the process behind the descriptor.
///
/// # Errors
/// The system's: `ESRCH` once the process has been reaped.
pub fn send(process: BorrowedFd<'_>, number: libc::c_int) -> Result<()> {
    // SAFETY: a plain system call on a descriptor that is open.
    let end = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            number,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if end < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Waits until the descriptor can be read, or has nothing more to come, for that long at most.
///
/// # Errors
/// The system's.
pub fn readable(fd: BorrowedFd<'_>, timeout: Duration) -> Result<bool> {
    let deadline = Instant::now().checked_add(timeout);
    loop {
        let mut one = libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let left = deadline.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
        let millis = i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        // SAFETY: one entry, alive.
        let found = again(|| unsafe { libc::poll(&raw mut one, 1, millis) as isize })?;
        if found > 0 {
            return Ok(true);
        }
        if deadline.is_some_and(|end| Instant::now() >= end) {
            return Ok(false);
        }
    }
}

impl From<OwnedFd> for Pidfd {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<Pidfd> for OwnedFd {
    fn from(process: Pidfd) -> Self {
        process.0
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Pidfd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[expect(clippy::zombie_processes, reason = "the tests reap it by its pidfd")]
    fn child(program: &str, argument: &str) -> Pidfd {
        let child = Command::new(program).arg(argument).spawn().unwrap();
        Pidfd::open(child.id().cast_signed()).unwrap()
    }

    #[test]
    fn a_child_is_watched_signalled_and_reaped() {
        let process = child("sleep", "60");
        assert!(!process.has_ended());
        assert_eq!(process.reap().unwrap(), None);
        process.signal(libc::SIGKILL).unwrap();
        assert!(process.wait(Duration::from_secs(20)).unwrap());
        assert_eq!(process.reap().unwrap(), Some(-libc::SIGKILL));
        assert!(process.reap().is_err());
        assert_eq!(process.signal(0).unwrap_err().raw_os_error(), Some(libc::ESRCH));
        assert!(process.has_ended());
    }

    #[expect(clippy::zombie_processes, reason = "reaped by its pidfd")]
    #[test]
    fn how_it_ended_is_told_without_reaping_it() {
        let process = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
        let pid = process.id().cast_signed();
        let process = Pidfd::open(pid).unwrap();
        assert!(process.wait(Duration::from_secs(20)).unwrap());
        assert_eq!(process.told(pid), Some(7));
        assert_eq!(process.reap().unwrap(), Some(7));

        let process = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = process.id().cast_signed();
        let process = Pidfd::open(pid).unwrap();
        assert_eq!(process.told_by_proc(pid), None);
        process.signal(libc::SIGTERM).unwrap();
        assert!(process.wait(Duration::from_secs(20)).unwrap());
        assert_eq!(process.told(pid), Some(-libc::SIGTERM));
        assert_eq!(process.reap().unwrap(), Some(-libc::SIGTERM));
        assert_eq!(process.told_by_proc(pid), None);
    }

    #[test]
    fn an_exit_code_is_told() {
        let process = child("false", "");
        assert!(process.wait(Duration::from_secs(20)).unwrap());
        assert_eq!(process.reap().unwrap(), Some(1));
    }
}
