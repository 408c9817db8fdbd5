//! A queue of records from any process to any other.
//!
//! Producers take the latch of the back, consumers that of the front, each for as long as it takes to copy a record; so one
//! producer and one consumer never meet. What is in the queue lies between two words:
//!
//! | bits of `tail` and `head` | meaning |
//! | --- | --- |
//! | 0–26 | place within the region, in units of 16 bytes (more in regions beyond 2 GiB) |
//! | 27–31 | the region |
//! | 32–63 | how many records were put, and taken, in all |
//!
//! **Deaths.** A record is there from the one store of `tail` that comes behind it, and gone from the one store of `head`. A
//! producer killed before its store leaves bytes that the next one overwrites; a consumer killed before its store
//! leaves the record to the next one. The number of unfinished tasks is that of records put, less one counter that `task_done` advances: nothing
//! can get out of step.
//!
//! **Room.** A queue is bounded by items, or not at all: if a region is full the producer goes on in another, twice as large, and says
//! so by a record ([`JUMP`]) at the end of what it leaves. At a region's end a record that does not fit is put at its
//! beginning, and a record says that, too ([`PAD`]). One unit is always free behind the tail, so there is room for either.
//!
//! **Copies of words.** `head_seen` and `tail_seen` save the loads of a word that the other side writes. Each lies under its side's latch, and is only
//! ever behind what it is a copy of.

mod back;
mod front;
mod sites;

pub use sites::{AllDone, Item, Room};

use crate::event::Event;
use crate::owner::Latch;
use crate::regions::{self, Regions};
use crate::sleepers::Sleepers;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::{Busy, Patience};
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Each record begins with so many bytes: its length, shifted by 8, and its form.
const PREFIX: usize = 8;
/// Forms from here on are the queue's own.
const PAD: u64 = 0xfe;
const JUMP: u64 = 0xff;
/// The smallest unit of places, and what each region begins with.
const UNIT: usize = 16;
const FIRST: usize = 64 << 10;
/// A queue that has grown beyond this gives its memory back when it is empty.
const PLENTY: usize = 4 << 20;
const PLACE: u64 = (1 << 27) - 1;

#[derive(Debug)]
#[repr(C)]
struct Region {
    offset: AtomicU64,
    length: AtomicU64,
}

#[derive(Debug)]
#[repr(C, align(64))]
struct Back {
    latch: Latch,
    tail: AtomicU64,
    head_seen: AtomicU64,
}

#[derive(Debug)]
#[repr(C, align(64))]
struct Front {
    latch: Latch,
    head: AtomicU64,
    tail_seen: AtomicU64,
    /// Bytes that have passed a large region since its memory was given back.
    passed: AtomicU64,
}

#[derive(Debug)]
#[repr(C, align(64))]
struct Sleeping(Sleepers);

#[derive(Debug)]
#[repr(C, align(64))]
struct Header {
    /// The most items; 0: any number.
    most: AtomicU32,
    back: Back,
    front: Front,
    items: Sleeping,
    room: Sleeping,
    /// How many items are done with, in all.
    done: AtomicU32,
    all_done: Event,
    regions: [Region; regions::MOST],
}
const _: () = assert!(size_of::<Header>() <= regions::HEADER);

/// A place in the queue: one of the two words.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Position(u64);

impl Position {
    fn region(self) -> usize {
        ((self.0 >> 27) & 31) as usize
    }

    fn at(self, unit: usize) -> usize {
        (self.0 & PLACE) as usize * unit
    }

    fn count(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn new(count: u32, region: usize, at: usize, unit: usize) -> Self {
        Self(u64::from(count) << 32 | (region as u64) << 27 | (at / unit) as u64 & PLACE)
    }
}

/// The unit of a region of that many bytes.
fn unit(length: usize) -> usize {
    UNIT.max(length >> 27)
}

/// A queue, as this process has it.
#[derive(Debug)]
pub struct Queue {
    memory: Regions,
}

/// Why an operation did not come about.
#[derive(Debug)]
pub enum Trouble {
    /// Try again.
    Busy,
    /// No memory, or memory that has been overwritten.
    System(Error),
}

impl From<Busy> for Trouble {
    fn from(_: Busy) -> Self {
        Self::Busy
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::System(error)
    }
}

fn corrupt() -> Error {
    Error::new(ErrorKind::InvalidData, "the queue's memory has been overwritten")
}

impl Queue {
    /// A new queue of at most `most` items; 0: of any number.
    ///
    /// # Errors
    /// The system's: no memory, no descriptors.
    pub fn new(most: u32) -> Result<Self> {
        let queue = Self {
            memory: Regions::new()?,
        };
        let header = queue.header();
        header.most.store(most, Ordering::Relaxed);
        queue.announce(0, FIRST)?;
        Ok(queue)
    }

    /// The queue behind a descriptor of another process.
    ///
    /// # Errors
    /// The system's; `InvalidData` if it is none.
    pub fn open(file: OwnedFd) -> Result<Self> {
        Ok(Self {
            memory: Regions::open(file)?,
        })
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: the header is mapped as long as self lives, aligned to a page, and consists of atomics.
        unsafe { self.memory.header().cast().as_ref() }
    }

    /// Base, length and unit of a region.
    #[inline]
    fn region(&self, number: usize) -> Result<(*mut u8, usize, usize)> {
        let region = &self.header().regions[number];
        let length = usize::try_from(region.length.load(Ordering::Relaxed)).map_err(Error::other)?;
        let offset = usize::try_from(region.offset.load(Ordering::Relaxed)).map_err(Error::other)?;
        let base = self.memory.region(number, offset, length)?;
        Ok((base.as_ptr(), length, unit(length)))
    }

    /// Gives the memory of regions back that have been left for good.
    #[cold]
    fn drained(&self, from: usize, to: usize) {
        for region in &self.header().regions[from..to] {
            let offset = region.offset.load(Ordering::Relaxed);
            let length = region.length.load(Ordering::Relaxed);
            if let (Ok(offset), Ok(length)) = (usize::try_from(offset), usize::try_from(length)) {
                self.memory.give_back(offset, length);
            }
        }
    }

    /// Gives the memory of a large region back if nothing is in it now.
    #[cold]
    fn shrink(&self) {
        let header = self.header();
        if !self.is_empty() {
            return;
        }
        let (Ok(_back), Ok(_front)) = (
            header.back.latch.lock(Patience::Brief),
            header.front.latch.lock(Patience::Brief),
        ) else {
            return;
        };
        let region = Position(header.back.tail.load(Ordering::Relaxed)).region();
        if self.is_empty() {
            header.front.passed.store(0, Ordering::Relaxed);
            self.drained(region, region + 1);
        }
    }

    /// Whether nothing is in it.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let header = self.header();
        header.front.head.load(Ordering::Acquire) == header.back.tail.load(Ordering::Acquire)
    }

    /// How many items are in it.
    #[must_use]
    pub fn len(&self) -> u32 {
        let header = self.header();
        let head = Position(header.front.head.load(Ordering::Acquire));
        let tail = Position(header.back.tail.load(Ordering::Acquire));
        tail.count().wrapping_sub(head.count())
    }

    /// The most items; 0: any number.
    #[must_use]
    pub fn most(&self) -> u32 {
        self.header().most.load(Ordering::Relaxed)
    }

    /// Whether another item may be put.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let most = self.most();
        most == 0 || self.len() < most
    }

    /// How many items were put and are not done with.
    #[must_use]
    pub fn unfinished(&self) -> u32 {
        let header = self.header();
        let done = header.done.load(Ordering::Acquire);
        let put = Position(header.back.tail.load(Ordering::Acquire)).count();
        put.wrapping_sub(done)
    }

    /// One more is done with. False if there is none that is not.
    #[must_use]
    pub fn task_done(&self) -> bool {
        let header = self.header();
        let one_more = |done: u32| {
            let put = Position(header.back.tail.load(Ordering::Acquire)).count();
            (put != done).then(|| done.wrapping_add(1))
        };
        let done = header
            .done
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more)
            .is_ok();
        if done && self.unfinished() == 0 {
            header.all_done.pulse();
        }
        done
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}
