//! Memory of a queue: a memfd that grows by regions, mapped as they are needed.
//!
//! The first page is the queue's header; behind it lie the regions, each at least twice as large as the one before. A region is
//! allocated before it is announced, and never moves. Once it has been drained for good its pages are given back.

use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::OnceLock;

/// The size of the header.
pub const HEADER: usize = 4096;
/// The most regions that there can be.
pub const MOST: usize = 32;

#[derive(Debug)]
struct Mapping {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to the process; what lies in it is for the user to guard.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(file: BorrowedFd<'_>, offset: usize, length: usize) -> Result<Self> {
        let offset = libc::off_t::try_from(offset).map_err(Error::other)?;
        // SAFETY: a new mapping, where the kernel likes it.
        let base = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(
                std::ptr::null_mut(),
                length,
                access,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                offset,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        match NonNull::new(base.cast()) {
            Some(base) => Ok(Self { base, length }),
            None => Err(Error::from_raw_os_error(libc::ENOMEM)),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: ours, and the users of its address keep it.
        unsafe {
            libc::munmap(self.base.as_ptr().cast(), self.length);
        }
    }
}

/// The file, and what of it this process has mapped.
#[derive(Debug)]
pub struct Regions {
    file: OwnedFd,
    header: Mapping,
    mapped: [OnceLock<Mapping>; MOST],
}

fn checked(end: libc::c_int) -> Result<libc::c_int> {
    if end < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(end)
    }
}

impl Regions {
    /// A new file with a zeroed header.
    ///
    /// # Errors
    /// The system's: no memory, no descriptors.
    pub fn new() -> Result<Self> {
        let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
        // SAFETY: the name is a C string; the descriptor is new and ours; plain calls on it.
        let file = unsafe {
            let file = checked(libc::memfd_create(c"plait-queue".as_ptr(), flags))?;
            let file = OwnedFd::from_raw_fd(file);
            checked(libc::fcntl(
                file.as_raw_fd(),
                libc::F_ADD_SEALS,
                libc::F_SEAL_SHRINK,
            ))?;
            file
        };
        allocate(file.as_fd(), 0, HEADER)?;
        Self::map(file)
    }

    /// The file that another process has made.
    ///
    /// # Errors
    /// The system's; `InvalidData` if it is none.
    pub fn open(file: OwnedFd) -> Result<Self> {
        // SAFETY: F_GET_SEALS takes no argument.
        let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
        if seals < 0 || seals & libc::F_SEAL_SHRINK == 0 || size(file.as_fd())? < HEADER {
            return Err(Error::new(ErrorKind::InvalidData, "not the memory of a queue"));
        }
        Self::map(file)
    }

    fn map(file: OwnedFd) -> Result<Self> {
        Ok(Self {
            header: Mapping::new(file.as_fd(), 0, HEADER)?,
            file,
            mapped: [const { OnceLock::new() }; MOST],
        })
    }

    /// Where the header lies.
    #[inline]
    #[must_use]
    pub fn header(&self) -> NonNull<u8> {
        self.header.base
    }

    /// Where region `number` lies, which is at `offset` of the file and has `length` bytes.
    ///
    /// # Errors
    /// The system's; `InvalidData` if the file is not that long.
    #[inline]
    pub fn region(&self, number: usize, offset: usize, length: usize) -> Result<NonNull<u8>> {
        match self.mapped[number].get() {
            Some(mapping) if mapping.length == length => Ok(mapping.base),
            _ => self.map_region(number, offset, length),
        }
    }

    #[cold]
    fn map_region(&self, number: usize, offset: usize, length: usize) -> Result<NonNull<u8>> {
        let wrong = || Error::new(ErrorKind::InvalidData, "a region that cannot be");
        let end = offset.checked_add(length).ok_or_else(wrong)?;
        if offset < HEADER || !offset.is_multiple_of(HEADER) || end > size(self.file.as_fd())? {
            return Err(wrong());
        }
        let mapping = Mapping::new(self.file.as_fd(), offset, length)?;
        let mapping = self.mapped[number].get_or_init(|| mapping);
        if mapping.length == length {
            Ok(mapping.base)
        } else {
            Err(wrong())
        }
    }

    /// Allocates a region of `length` bytes at the end of the file; returns its offset.
    ///
    /// # Errors
    /// The system's: no memory.
    pub fn grow(&self, length: usize) -> Result<usize> {
        let offset = size(self.file.as_fd())?.next_multiple_of(HEADER);
        allocate(self.file.as_fd(), offset, length)?;
        Ok(offset)
    }

    /// Gives the pages of a region back that nobody uses any more.
    pub fn give_back(&self, offset: usize, length: usize) {
        if let (Ok(offset), Ok(length)) = (libc::off_t::try_from(offset), libc::off_t::try_from(length)) {
            // SAFETY: a plain call on a descriptor that we own. If it fails, the memory is given back later.
            unsafe {
                let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
                libc::fallocate(self.file.as_raw_fd(), mode, offset, length);
            }
        }
    }
}

impl AsFd for Regions {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn size(file: BorrowedFd<'_>) -> Result<usize> {
    // SAFETY: a zeroed stat is valid, and fstat fills it in.
    let size = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        checked(libc::fstat(file.as_raw_fd(), &raw mut stat))?;
        stat.st_size
    };
    usize::try_from(size).map_err(Error::other)
}

/// Allocates in steps: a signal that comes meanwhile undoes one step and no more.
fn allocate(file: BorrowedFd<'_>, offset: usize, length: usize) -> Result<()> {
    const STEP: usize = 16 << 20;
    refuse_beyond_limit(offset + length)?;
    let mut done = 0;
    while done < length {
        let step = STEP.min(length - done);
        let at = libc::off_t::try_from(offset + done).map_err(Error::other)?;
        let bytes = libc::off_t::try_from(step).map_err(Error::other)?;
        // SAFETY: a plain call on a descriptor that is open.
        match checked(unsafe { libc::fallocate(file.as_raw_fd(), 0, at, bytes) }) {
            Ok(_) => done += step,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The limit on files holds for memfds too, and who exceeds it gets a signal that kills.
fn refuse_beyond_limit(size: usize) -> Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the limit outlives the call.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) })?;
    if limit.rlim_cur < size as u64 {
        return Err(Error::from_raw_os_error(libc::EFBIG));
    }
    Ok(())
}
