//! Memory for large values: a memfd of equal slots, with a word for the lease of each on its first page.
//!
//! The sender's [`Segment`] is written, the receiver's [`Mapped`] is read: there the first page alone can be written to. A
//! page of a slot is allocated when it is first written, by `pwrite`, which reports a lack of memory where a store into the
//! mapping would be a signal, and is faster than to have the kernel zero it and fault it in; later values are copied
//! through the mapping. A receiver reads what was written only, as far as the sender speaks the truth: past that it finds zeros.

use crate::lease::Word;
use crate::page::{checked, refuse_beyond_limit, refuse_beyond_memory, seal_size, sealed_size, unnamed};
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// The first page, where the words are.
pub const HEAD: usize = 4096;
/// Slots of a segment, at most.
pub const SLOTS: usize = 256;
const MAGIC: u64 = u64::from_le_bytes(*b"plaitseg");
/// What stands there once the sender has let go of it.
const DISCARDED: u64 = u64::from_le_bytes(*b"plaitnil");
const WORDS_AT: usize = 64;
/// Bytes from one word to the next.
const STRIDE: usize = 8;
const _: () = assert!(WORDS_AT + SLOTS * STRIDE <= HEAD && STRIDE >= size_of::<Word>());

/// A mapping of a whole segment.
#[derive(Debug)]
struct Mapping {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to the process; words are atomic, and bytes are touched as their lease allows.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(file: BorrowedFd<'_>, length: usize, access: libc::c_int) -> Result<Self> {
        // SAFETY: new mappings, where the kernel likes them; the head lies within the one just made.
        unsafe {
            let fd = file.as_raw_fd();
            let base = libc::mmap(std::ptr::null_mut(), length, access, libc::MAP_SHARED, fd, 0);
            if base == libc::MAP_FAILED {
                return Err(Error::last_os_error());
            }
            let Some(place) = NonNull::new(base.cast()) else {
                return Err(Error::from_raw_os_error(libc::ENOMEM));
            };
            let mapping = Self { base: place, length };
            if libc::mprotect(base, HEAD, libc::PROT_READ | libc::PROT_WRITE) != 0 {
                return Err(Error::last_os_error());
            }
            Ok(mapping)
        }
    }

    fn magic(&self) -> &AtomicU64 {
        // SAFETY: the head is mapped, readable and writable, as long as `self`.
        unsafe { self.base.cast::<AtomicU64>().as_ref() }
    }

    fn word(&self, slot: usize) -> Option<&Word> {
        // SAFETY: the head is mapped, readable and writable, as long as `self`; any value is a word.
        (slot < SLOTS).then(|| unsafe { self.base.add(WORDS_AT + slot * STRIDE).cast::<Word>().as_ref() })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and who has pointers into it keeps it.
        unsafe {
            libc::munmap(self.base.as_ptr().cast(), self.length);
        }
    }
}

/// The sender's side of a segment.
#[derive(Debug)]
pub struct Segment {
    file: OwnedFd,
    mapping: Mapping,
    slot_size: usize,
    slots: usize,
}

/// How much of a slot can be written to in which way.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extent {
    /// So many bytes have pages.
    allocated: usize,
    /// So many of them are in this process's page table.
    faulted: usize,
}

impl Segment {
    /// A new one, of `slots` slots of `slot_size` bytes (a multiple of a page), of which none is allocated yet.
    ///
    /// # Errors
    /// The system's: no memory (`ENOMEM`), beyond `RLIMIT_FSIZE` (`EFBIG`), no descriptors.
    pub fn new(slot_size: usize, slots: usize) -> Result<Self> {
        debug_assert!(slot_size.is_multiple_of(HEAD) && (1..=SLOTS).contains(&slots));
        let too_much = || Error::from_raw_os_error(libc::ENOMEM);
        let length = slot_size
            .checked_mul(slots)
            .and_then(|bytes| bytes.checked_add(HEAD))
            .ok_or_else(too_much)?;
        let size = libc::off_t::try_from(length).map_err(|_| too_much())?;
        refuse_beyond_limit(size)?;
        refuse_beyond_memory(size)?;
        let file = unnamed(c"plait-segment")?;
        // SAFETY: plain calls on a descriptor that we own.
        unsafe {
            checked(libc::ftruncate(file.as_raw_fd(), size))?;
            checked(libc::fallocate(file.as_raw_fd(), 0, 0, HEAD as libc::off_t))?;
        }
        seal_size(file.as_fd())?;
        let mapping = Mapping::new(file.as_fd(), length, libc::PROT_READ | libc::PROT_WRITE)?;
        mapping.magic().store(MAGIC, Ordering::Relaxed);
        Ok(Self {
            file,
            mapping,
            slot_size,
            slots,
        })
    }

    /// Bytes of a slot.
    #[must_use]
    pub fn slot_size(&self) -> usize {
        self.slot_size
    }

    /// How many slots there are.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Where a slot begins, from the segment's beginning.
    #[must_use]
    pub fn start(&self, slot: usize) -> usize {
        HEAD + slot * self.slot_size
    }

    /// The word of a slot's lease.
    pub(crate) fn word(&self, slot: usize) -> &Word {
        debug_assert!(slot < self.slots);
        // SAFETY: as in `Mapping::word`; a slot's number is less than SLOTS.
        unsafe {
            let at = self.mapping.base.add(WORDS_AT + slot % SLOTS * STRIDE);
            at.cast::<Word>().as_ref()
        }
    }

    /// Writes `bytes` into a slot, `at` from its beginning: through the mapping where pages are, else by `pwrite`.
    ///
    /// # Safety
    /// The slot's lease is the sender's, and nobody else writes to it meanwhile.
    ///
    /// # Errors
    /// The system's, when there is no memory. `InvalidInput` if they do not fit.
    pub(crate) unsafe fn write(
        &self,
        slot: usize,
        extent: &mut Extent,
        at: usize,
        bytes: &[u8],
    ) -> Result<()> {
        if at.checked_add(bytes.len()).is_none_or(|end| end > self.slot_size) {
            return Err(ErrorKind::InvalidInput.into());
        }
        let start = self.start(slot);
        let through = extent.allocated.saturating_sub(at).min(bytes.len());
        let (known, new) = bytes.split_at(through);
        if !known.is_empty() {
            self.fault_in(start, extent, at + through);
            // SAFETY: within the slot, which is mapped, and ours as the caller promises.
            unsafe {
                let to = self.mapping.base.add(start + at).as_ptr();
                to.copy_from_nonoverlapping(known.as_ptr(), known.len());
            }
        }
        let mut new = new;
        let mut at = at + through;
        while !new.is_empty() {
            let place = (start + at) as libc::off_t;
            // SAFETY: the bytes outlive the call.
            let wrote = unsafe { libc::pwrite(self.file.as_raw_fd(), new.as_ptr().cast(), new.len(), place) };
            match usize::try_from(wrote) {
                Ok(0) => return Err(Error::from_raw_os_error(libc::ENOSPC)),
                Ok(wrote) => {
                    new = &new[wrote..];
                    at += wrote;
                }
                Err(_) => match Error::last_os_error() {
                    error if error.kind() == ErrorKind::Interrupted => {}
                    error => return Err(error),
                },
            }
        }
        Ok(())
    }

    /// All up to `end` of a slot has been written, except for gaps between values that are less than a page long.
    pub(crate) fn written(extent: &mut Extent, end: usize) {
        extent.allocated = extent.allocated.max(end);
    }

    /// Puts the slot's pages into the page table at once: a fault for each would take five times as long.
    fn fault_in(&self, start: usize, extent: &mut Extent, end: usize) {
        const POPULATE_WRITE: libc::c_int = 23;
        let from = extent.faulted / HEAD * HEAD;
        if end <= extent.faulted {
            return;
        }
        // SAFETY: within the mapping. Where the kernel (before 5.14) does not know it, the pages come one by one.
        unsafe {
            let at = self.mapping.base.add(start + from).as_ptr();
            libc::madvise(at.cast(), end - from, POPULATE_WRITE);
        }
        extent.faulted = end;
    }

    /// The sender forgets it: receivers may too, when nobody reads it any more.
    pub(crate) fn forget(&self) {
        self.mapping.magic().store(DISCARDED, Ordering::Relaxed);
    }

    /// Gives the memory of all slots back to the system, also where others have it mapped.
    pub(crate) fn discard(&self) {
        let flags = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        let bytes = (self.slot_size * self.slots) as libc::off_t;
        // SAFETY: a plain call on a descriptor that we own. If it fails the memory goes with the last mapping.
        unsafe {
            libc::fallocate(self.file.as_raw_fd(), flags, HEAD as libc::off_t, bytes);
        }
    }
}

impl AsFd for Segment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The receiver's side of a segment. No descriptor is kept.
#[derive(Debug)]
pub struct Mapped(Mapping);

impl Mapped {
    /// The memory behind a descriptor that another process has handed over.
    ///
    /// # Errors
    /// The system's; `InvalidData` if it is no segment.
    pub fn open(file: &OwnedFd) -> Result<Self> {
        let wrong = || Error::new(ErrorKind::InvalidData, "not a segment");
        let length = sealed_size(file.as_fd())?
            .filter(|length| *length > HEAD)
            .ok_or_else(wrong)?;
        let mapping = Mapping::new(file.as_fd(), length, libc::PROT_READ)?;
        if mapping.magic().load(Ordering::Relaxed) != MAGIC {
            return Err(wrong());
        }
        Ok(Self(mapping))
    }

    /// Whether the sender has no more use for it.
    pub(crate) fn is_discarded(&self) -> bool {
        self.0.magic().load(Ordering::Relaxed) != MAGIC
    }

    pub(crate) fn word(&self, slot: u32) -> Option<&Word> {
        self.0.word(slot as usize)
    }

    /// Whether `length` bytes at `offset` lie behind the first page.
    #[must_use]
    pub fn contains(&self, offset: u64, length: u64) -> bool {
        let end = offset.checked_add(length);
        offset >= HEAD as u64 && end.is_some_and(|end| end <= self.0.length as u64)
    }

    /// Where the bytes at `offset` are. Who reads them has the lease, and has asked [`contains`](Self::contains).
    pub(crate) fn at(&self, offset: usize) -> *const u8 {
        debug_assert!(offset <= self.0.length);
        self.0.base.as_ptr().wrapping_add(offset)
    }
}
