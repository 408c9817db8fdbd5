//! Small things of many objects on common pages.
//!
//! A descriptor for each lock would be too many, and a page too much: so a process hands out the space of one [`Page`]
//! after the other, and a thing is known to other processes by the page's descriptor and an offset. Space is never
//! handed out twice, because nobody knows who else still uses it; a page goes when nothing of it is used by any process.

use crate::life;
use crate::owner::Identity;
use plait_core::Latch;
use plait_ring::page::Page;
use std::io::{Error, ErrorKind, Result};
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::Arc;

const SIZE: usize = 64 << 10;
/// Things lie on cache lines of their own.
const LINE: usize = 64;

/// What may lie in shared memory.
///
/// # Safety
/// All zeroes is a value of it, it consists of atomics, and whatever other processes write to it is one, too.
pub unsafe trait Shared: Sync {}

/// A thing on a page, for as long as this lives.
#[derive(Debug)]
pub struct Place<T> {
    page: Arc<Page>,
    offset: usize,
    kind: PhantomData<T>,
}

// Not derived: the thing itself is not cloned.
impl<T> Clone for Place<T> {
    fn clone(&self) -> Self {
        Self {
            page: Arc::clone(&self.page),
            offset: self.offset,
            kind: PhantomData,
        }
    }
}

/// Where new things are put: by whom, on which page, how much of it is used.
static CURRENT: Latch<Option<(Identity, Arc<Page>, usize)>> = Latch::new(None);
/// Pages of other processes, by device and inode. They are kept, since a descriptor that was inherited by its number may be named again.
static FOREIGN: Latch<Vec<(u64, u64, Arc<Page>)>> = Latch::new(Vec::new());

impl<T: Shared> Place<T> {
    /// A new thing, all zeroes.
    ///
    /// # Errors
    /// The system's: no memory, no descriptors.
    pub fn new() -> Result<Self> {
        const { assert!(size_of::<T>() <= SIZE && align_of::<T>() <= LINE) };
        let needed = size_of::<T>().next_multiple_of(LINE);
        let mut current = CURRENT.lock();
        // What a parent has begun is the parent's to go on with.
        if let Some((whose, page, used)) = current.as_mut()
            && *whose == life::me()
            && *used + needed <= SIZE
        {
            let offset = *used;
            *used += needed;
            return Ok(Self {
                page: Arc::clone(page),
                offset,
                kind: PhantomData,
            });
        }
        let page = Arc::new(Page::new(c"plait-shared", SIZE)?);
        *current = Some((life::me(), Arc::clone(&page), needed));
        Ok(Self {
            page,
            offset: 0,
            kind: PhantomData,
        })
    }

    /// The thing that another process has made.
    ///
    /// # Errors
    /// The system's; `InvalidData` if there can be no such thing.
    pub fn open(file: OwnedFd, offset: usize) -> Result<Self> {
        let page = known(file)?;
        let end = offset.checked_add(size_of::<T>());
        if !offset.is_multiple_of(LINE) || end.is_none_or(|end| end > page.len()) {
            return Err(Error::new(ErrorKind::InvalidData, "not a place on a shared page"));
        }
        Ok(Self {
            page,
            offset,
            kind: PhantomData,
        })
    }

    /// The thing.
    #[inline]
    #[must_use]
    pub fn get(&self) -> &T {
        // SAFETY: it lies within the page, aligned; any bytes are a T (its promise), and the page lives as long as self.
        unsafe { self.page.ptr().add(self.offset).cast::<T>().as_ref() }
    }

    /// Where it lies on the page behind the descriptor.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl<T> AsFd for Place<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.page.as_fd()
    }
}

/// Device and inode of what is behind a descriptor.
///
/// # Errors
/// The system's.
pub fn file_id(file: RawFd) -> Result<(u64, u64)> {
    // SAFETY: a zeroed stat is valid, and fstat fills it in.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        if libc::fstat(file, &raw mut stat) != 0 {
            return Err(Error::last_os_error());
        }
        Ok((stat.st_dev, stat.st_ino))
    }
}

/// The page behind a descriptor, mapped once however often it is named.
fn known(file: OwnedFd) -> Result<Arc<Page>> {
    let id = file_id(file.as_raw_fd())?;
    let mut foreign = FOREIGN.lock();
    if let Some((.., page)) = foreign.iter().find(|(dev, inode, _)| (*dev, *inode) == id) {
        if page.as_fd().as_raw_fd() == file.as_raw_fd() {
            // Named twice by the number under which it was inherited: the page owns it.
            let _: RawFd = file.into_raw_fd();
        }
        return Ok(Arc::clone(page));
    }
    let page = Arc::new(Page::open(file)?);
    foreign.push((id.0, id.1, Arc::clone(&page)));
    Ok(page)
}
