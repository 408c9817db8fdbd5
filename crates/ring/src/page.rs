//! Anonymous shared memory: a memfd and its mapping.
//!
//! It is closed on exec, so it reaches another process only where its descriptor is handed over (or by fork). It is
//! sealed against growing and shrinking, so nobody can take pages away under a reader (SIGBUS), and its pages are
//! allocated before it is used, so a machine that is short of memory says so here and not by a signal later. When the
//! last process that has it mapped or open is gone, however it went, so is the memory.

use crate::available::available;
use std::ffi::CStr;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

/// The seals that keep its size.
const FIXED_SIZE: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW;
/// So much is allocated by one system call: a signal that comes meanwhile undoes that much and no more.
const STEP: libc::off_t = 16 << 20;
/// From here on the system is asked first whether there is so much.
const LARGE: libc::off_t = 16 << 20;

pub(crate) fn checked(end: libc::c_int) -> Result<libc::c_int> {
    if end < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(end)
    }
}

/// A new sealed memfd of `size` zeroed bytes, all allocated.
pub(crate) fn create(name: &CStr, size: usize) -> Result<OwnedFd> {
    let size = libc::off_t::try_from(size).map_err(|_| Error::from_raw_os_error(libc::ENOMEM))?;
    refuse_beyond_limit(size)?;
    refuse_beyond_memory(size)?;
    let file = unnamed(name)?;
    let fd = file.as_raw_fd();
    // SAFETY: a plain call on a descriptor that we own.
    checked(unsafe { libc::ftruncate(fd, size) })?;
    let mut at = 0;
    while at < size {
        // SAFETY: as above.
        match checked(unsafe { libc::fallocate(fd, 0, at, STEP.min(size - at)) }) {
            Ok(_) => at += STEP,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    seal_size(file.as_fd())?;
    Ok(file)
}

/// From here on the size is as it is.
pub(crate) fn seal_size(file: BorrowedFd<'_>) -> Result<()> {
    let seals = FIXED_SIZE | libc::F_SEAL_SEAL;
    // SAFETY: a plain call on an open descriptor.
    checked(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) }).map(drop)
}

/// The limit on files holds for memfds too, and who exceeds it gets a signal (SIGXFSZ), which kills where it is not ignored.
pub(crate) fn refuse_beyond_limit(size: libc::off_t) -> Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the limit outlives the call.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) })?;
    if limit.rlim_cur < size.unsigned_abs() {
        return Err(Error::from_raw_os_error(libc::EFBIG));
    }
    Ok(())
}

/// `fallocate` would not fail, it would have the kernel kill somebody.
pub(crate) fn refuse_beyond_memory(size: libc::off_t) -> Result<()> {
    if size >= LARGE && available().is_some_and(|bytes| bytes < size.unsigned_abs()) {
        return Err(Error::from_raw_os_error(libc::ENOMEM));
    }
    Ok(())
}

/// A memfd that cannot be made executable, where the kernel knows that (from 6.3 on, where others are frowned upon).
pub(crate) fn unnamed(name: &CStr) -> Result<OwnedFd> {
    const NOEXEC_SEAL: libc::c_uint = 8;
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    for flags in [flags | NOEXEC_SEAL, flags] {
        // SAFETY: the name is a C string; the descriptor is new and ours.
        match checked(unsafe { libc::memfd_create(name.as_ptr(), flags) }) {
            // SAFETY: as above.
            Ok(fd) => return Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::from_raw_os_error(libc::EINVAL))
}

/// The size of a descriptor that another process has handed over, if it is a memfd whose size is sealed.
pub(crate) fn sealed_size(file: BorrowedFd<'_>) -> Result<Option<usize>> {
    // SAFETY: a zeroed stat is valid, and fstat fills it in; F_GET_SEALS takes no argument.
    let (size, seals) = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        checked(libc::fstat(file.as_raw_fd(), &raw mut stat))?;
        (stat.st_size, libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS))
    };
    Ok(usize::try_from(size)
        .ok()
        .filter(|_| seals >= 0 && seals & FIXED_SIZE == FIXED_SIZE))
}

/// Shared memory of a fixed size, mapped into this process.
#[derive(Debug)]
pub struct Page {
    file: OwnedFd,
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to the process; what lies in it is for the user of `ptr` to guard.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Page {
    /// New memory of `size` zeroed bytes, at least one. `name` is what `/proc/PID/maps` shows.
    ///
    /// # Errors
    /// The system's: no memory (`ENOMEM`, `ENOSPC`), beyond `RLIMIT_FSIZE` (`EFBIG`), no descriptors.
    pub fn new(name: &CStr, size: usize) -> Result<Self> {
        let size = size.max(1);
        Self::map(create(name, size)?, size)
    }

    /// The memory behind a descriptor that another process has handed over.
    ///
    /// # Errors
    /// The system's; `InvalidData` if it is no memfd whose size is sealed, or an empty one.
    pub fn open(file: OwnedFd) -> Result<Self> {
        match sealed_size(file.as_fd())? {
            Some(size) if size > 0 => Self::map(file, size),
            _ => Err(Error::new(
                ErrorKind::InvalidData,
                "not memory that can be shared",
            )),
        }
    }

    fn map(file: OwnedFd, length: usize) -> Result<Self> {
        // SAFETY: a new mapping, where the kernel likes it.
        let base = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(
                std::ptr::null_mut(),
                length,
                access,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        match NonNull::new(base.cast()) {
            Some(base) => Ok(Self { file, base, length }),
            None => Err(Error::from_raw_os_error(libc::ENOMEM)),
        }
    }

    /// Where it is mapped, at the beginning of a page. Others that have it may write to it at any time.
    #[must_use]
    pub fn ptr(&self) -> NonNull<u8> {
        self.base
    }

    /// Its size in bytes, as it was asked for.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.length
    }
}

impl AsFd for Page {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and who uses `ptr` keeps the page.
        unsafe {
            libc::munmap(self.base.as_ptr().cast(), self.length);
        }
    }
}
