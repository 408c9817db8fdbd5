//! The memory of a ring: a memfd (see [`page`](crate::page)), mapped so that the bytes follow their end once more.

use crate::page::{create, sealed_size};
use crate::ring::{Consumer, Control, Producer};
use std::io::{Error, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
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

impl Memory {
    /// New memory for a ring of `capacity` bytes: rounded up to a power of two and a page at least.
    ///
    /// # Errors
    /// The system's: no memory, no descriptors.
    pub fn new(capacity: usize) -> Result<Self> {
        let capacity = capacity.max(PAGE).next_power_of_two();
        let file = create(c"plait-ring", BYTES_AT + capacity)?;
        Self::map(file, capacity)
    }

    /// The memory behind a descriptor that another process has handed over.
    ///
    /// # Errors
    /// The system's; `InvalidData` if it is not of the kind and size that [`new`](Self::new) makes.
    pub fn open(file: OwnedFd) -> Result<Self> {
        let wrong = || Error::new(std::io::ErrorKind::InvalidData, "not the memory of a ring");
        let capacity = sealed_size(file.as_fd())?.and_then(|size| size.checked_sub(BYTES_AT));
        match capacity {
            Some(capacity) if capacity.is_power_of_two() && capacity >= PAGE => Self::map(file, capacity),
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
