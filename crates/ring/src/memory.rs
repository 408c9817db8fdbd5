//! Shared memory without a name.
//!
//! A [`Memory`] is a memfd: it is closed on exec, so it reaches another process only where its descriptor is handed over.
//! It is sealed against growing and shrinking, so nobody can take pages away under a reader (SIGBUS), and its pages are
//! allocated before it is used, so a machine that is short of memory says so here and not by a signal later. When the
//! last process that has it mapped or open is gone, however it went, so is the memory.

use crate::ring::{Consumer, Control, Producer};
use std::io::{Error, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

/// Where the ring's bytes begin: the control lies before them, on pages of its own.
const BYTES_AT: usize = PAGE;
const PAGE: usize = 4096;
const _: () = assert!(size_of::<Control>() <= BYTES_AT);

/// The memory of one ring, mapped into this process.
#[derive(Debug)]
pub struct Memory {
    file: OwnedFd,
    base: NonNull<u8>,
    capacity: usize,
}

// SAFETY: the mapping belongs to the process; what lies in it is reached through the ends of the ring only.
unsafe impl Send for Memory {}
// SAFETY: as above: shared references give the descriptor and the capacity.
unsafe impl Sync for Memory {}

fn checked(end: libc::c_int) -> Result<libc::c_int> {
    if end < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(end)
    }
}

impl Memory {
    /// New memory for a ring of `capacity` bytes: rounded up to a power of two and a page at least.
    ///
    /// # Errors
    /// The system's: no memory, no descriptors.
    pub fn new(capacity: usize) -> Result<Self> {
        let capacity = capacity.max(PAGE).next_power_of_two();
        let size = libc::off_t::try_from(BYTES_AT + capacity).map_err(Error::other)?;
        // SAFETY: the name is a C string; the descriptor is new and ours.
        let file = unsafe {
            let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
            OwnedFd::from_raw_fd(checked(libc::memfd_create(c"plait-ring".as_ptr(), flags))?)
        };
        // SAFETY: plain calls on a descriptor that we own.
        unsafe {
            checked(libc::ftruncate(file.as_raw_fd(), size))?;
            checked(libc::fallocate(file.as_raw_fd(), 0, 0, size))?;
            let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
            checked(libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals))?;
        }
        Self::map(file, capacity)
    }

    /// The memory behind a descriptor that another process has handed over.
    ///
    /// # Errors
    /// The system's; `InvalidData` if it is not of the kind and size that [`new`](Self::new) makes.
    pub fn open(file: OwnedFd) -> Result<Self> {
        let wrong = || Error::new(std::io::ErrorKind::InvalidData, "not the memory of a ring");
        // SAFETY: a zeroed stat is valid, and fstat fills it in; F_GET_SEALS takes no argument.
        let (size, seals) = unsafe {
            let mut stat: libc::stat = std::mem::zeroed();
            checked(libc::fstat(file.as_raw_fd(), &raw mut stat))?;
            (stat.st_size, libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS))
        };
        let needed = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW;
        let capacity = usize::try_from(size)
            .ok()
            .and_then(|size| size.checked_sub(BYTES_AT));
        match capacity {
            Some(capacity)
                if capacity.is_power_of_two()
                    && capacity >= PAGE
                    && seals >= 0
                    && seals & needed == needed =>
            {
                Self::map(file, capacity)
            }
            _ => Err(wrong()),
        }
    }

    /// Maps control and bytes, and the bytes once more behind them.
    fn map(file: OwnedFd, capacity: usize) -> Result<Self> {
        const RW: libc::c_int = libc::PROT_READ | libc::PROT_WRITE;
        let once = BYTES_AT + capacity;
        // SAFETY: the reservation is new, and both mappings lie within it; on failure it is given back.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            let base = libc::mmap(
                std::ptr::null_mut(),
                once + capacity,
                libc::PROT_NONE,
                flags,
                -1,
                0,
            );
            if base == libc::MAP_FAILED {
                return Err(Error::last_os_error());
            }
            let fixed = libc::MAP_SHARED | libc::MAP_FIXED;
            let again = base.cast::<u8>().add(once).cast();
            let fd = file.as_raw_fd();
            #[expect(clippy::cast_possible_wrap, reason = "a page")]
            let bytes_at = BYTES_AT as libc::off_t;
            if libc::mmap(base, once, RW, fixed, fd, 0) == libc::MAP_FAILED
                || libc::mmap(again, capacity, RW, fixed, fd, bytes_at) == libc::MAP_FAILED
            {
                let error = Error::last_os_error();
                libc::munmap(base, once + capacity);
                return Err(error);
            }
            let base = NonNull::new_unchecked(base.cast());
            Ok(Self { file, base, capacity })
        }
    }

    /// Bytes that the ring holds.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn bytes(&self) -> NonNull<u8> {
        // SAFETY: they lie in the mapping.
        unsafe { self.base.add(BYTES_AT) }
    }

    /// The writing end.
    ///
    /// # Safety
    /// One is made in all, in one process, before anything was written; it does not outlive the memory.
    #[must_use]
    pub unsafe fn producer(&self) -> Producer {
        // SAFETY: the mapping is as the ring wants it; the rest is the caller's promise.
        unsafe { Producer::new(self.base.cast(), self.bytes(), self.capacity) }
    }

    /// The reading end.
    ///
    /// # Safety
    /// As [`producer`](Self::producer).
    #[must_use]
    pub unsafe fn consumer(&self) -> Consumer {
        // SAFETY: as above.
        unsafe { Consumer::new(self.base.cast(), self.bytes(), self.capacity) }
    }
}

impl AsFd for Memory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and the ends do not outlive it.
        unsafe {
            libc::munmap(self.base.as_ptr().cast(), BYTES_AT + 2 * self.capacity);
        }
    }
}
