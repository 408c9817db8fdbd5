//! How much of a process is in memory: `/proc/PID/statm`.
//!
//! The file is opened once, while the process is known to be the one that is meant: what is read from it afterwards is
//! about that process, and fails (`ESRCH`) when it is gone, whoever has its number then.

use crate::again;
use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::AsRawFd;

/// Measures one process.
#[derive(Debug)]
pub struct Meter(File);

/// What was measured, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// All pages that are in memory.
    pub resident: u64,
    /// Those among them that others may have mapped as well: of files, and of shared memory.
    pub shared: u64,
}

impl Usage {
    /// What would be free if the process were gone.
    #[must_use]
    pub fn private(self) -> u64 {
        self.resident.saturating_sub(self.shared)
    }
}

impl Meter {
    /// For the process that has this number now.
    ///
    /// # Errors
    /// The system's: no such process, no descriptors.
    pub fn open(pid: libc::pid_t) -> Result<Self> {
        File::open(format!("/proc/{pid}/statm")).map(Self)
    }

    /// What it uses now: one system call, some two microseconds.
    ///
    /// # Errors
    /// `ESRCH` when the process is gone.
    pub fn read(&self) -> Result<Usage> {
        let mut text = [0_u8; 128];
        let fd = self.0.as_raw_fd();
        // SAFETY: the array is alive.
        let length = again(|| unsafe { libc::pread(fd, text.as_mut_ptr().cast(), text.len(), 0) })?;
        let mut pages = text[..length]
            .split(|byte| *byte == b' ')
            .skip(1)
            .map_while(|field| std::str::from_utf8(field).ok()?.parse::<u64>().ok());
        match (pages.next(), pages.next()) {
            // A zombie has no pages.
            (Some(0) | None, _) | (_, None) => Err(Error::from_raw_os_error(libc::ESRCH)),
            (Some(resident), Some(shared)) => {
                // SAFETY: a plain question.
                let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) })
                    .map_err(|_| Error::from(ErrorKind::Unsupported))?;
                Ok(Usage {
                    resident: resident * page,
                    shared: shared * page,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_sees_what_was_taken() {
        let meter = Meter::open(std::process::id().cast_signed()).unwrap();
        let before = meter.read().unwrap();
        let taken = vec![1_u8; 64 << 20];
        let after = meter.read().unwrap();
        assert!(
            after.private() >= before.private() + (48 << 20),
            "{before:?} {after:?}"
        );
        drop(taken);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let meter = Meter::open(child.id().cast_signed()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(meter.read().unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}
