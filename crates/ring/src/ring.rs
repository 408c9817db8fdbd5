//! Records in order, from one producer to one consumer.
//!
//! Positions count bytes since the beginning and never wrap (a u64 lasts for centuries); the place of a position is
//! its remainder by the capacity, a power of two. A record is a header of [`HEADER`] bytes (its length, little-endian u32,
//! and a tag that the ring does not look at) and its bytes, padded to [`ALIGN`]. The memory behind the ring is
//! mapped twice in a row, so that a record never wraps.
//!
//! | field | written by | read by |
//! | --- | --- | --- |
//! | `tail`: end of what is published | the producer | both |
//! | `head`: end of what has been taken | the consumer | both |
//! | `bell`: whether the consumer sleeps | both | both |
//! | `room`: whether the producer sleeps for room | both | both |
//!
//! Each end keeps its own position and a copy of the other's in its own memory, so that a process cannot be
//! confused by what another writes over, and the shared line is read only when the copy does not suffice.

use crate::bell::Bell;
use crate::sync::{AtomicU64, Ordering};
use std::ptr::NonNull;

/// Bytes of a record's header.
pub const HEADER: usize = 8;
/// Records begin at multiples of this.
pub const ALIGN: usize = 8;

/// What both ends share. Fields on lines of their own: each is written by one side.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Control {
    tail: Line,
    head: Line,
    /// Rung by the producer.
    pub bell: Bell,
    /// Rung by the consumer.
    pub room: Bell,
    /// Stand for the bytes, so that loom checks who touches them when: one for each [`ALIGN`] of them.
    #[cfg(loom)]
    pub(crate) touched: [loom::cell::UnsafeCell<()>; crate::loom_tests::CAPACITY / ALIGN],
}

#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Line(AtomicU64);

/// The other side wrote what cannot be: its ring is not to be used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupt(&'static str);

impl std::fmt::Display for Corrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the other process wrote nonsense to a ring: {}", self.0)
    }
}

impl std::error::Error for Corrupt {}

/// Bytes that a record of `length` takes.
#[must_use]
pub const fn footprint(length: usize) -> usize {
    (HEADER + length + ALIGN - 1) & !(ALIGN - 1)
}

/// A ring's memory as one end sees it.
#[derive(Debug)]
struct View {
    control: NonNull<Control>,
    bytes: NonNull<u8>,
    capacity: usize,
}

impl View {
    fn control(&self) -> &Control {
        // SAFETY: who made the end has promised that the memory outlives it; its fields are atomics.
        unsafe { self.control.as_ref() }
    }

    /// Where the byte at `position` lies; `capacity` bytes can be reached from there.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the capacity is a usize, so the remainder is one"
    )]
    fn at(&self, position: u64) -> *mut u8 {
        let offset = (position & (self.capacity as u64 - 1)) as usize;
        // SAFETY: the bytes are mapped twice in a row, so offsets below the capacity have that much behind them.
        unsafe { self.bytes.as_ptr().add(offset) }
    }
}

#[cfg(loom)]
impl View {
    /// Tells loom that `length` bytes from `position` on are read, or written.
    fn touch(&self, position: u64, length: usize, write: bool) {
        for at in (0..length).step_by(ALIGN) {
            let place = (position as usize + at) % self.capacity / ALIGN;
            let cell = &self.control().touched[place];
            if write {
                cell.with_mut(|_| ())
            } else {
                cell.with(|_| ())
            }
        }
    }
}

/// The end that writes.
#[derive(Debug)]
pub struct Producer {
    view: View,
    tail: u64,
    head: u64,
}

/// The end that reads.
#[derive(Debug)]
pub struct Consumer {
    view: View,
    head: u64,
    tail: u64,
}

// SAFETY: an end may be used by any thread, one at a time (`&mut`); what it shares is atomic or handed over by atomics.
unsafe impl Send for Producer {}
// SAFETY: as above.
unsafe impl Send for Consumer {}

impl Producer {
    /// The writing end of a new ring.
    ///
    /// # Safety
    /// `control` is zeroed and shared with one [`Consumer`] only; `bytes` is followed by `2 * capacity` mapped
    /// bytes, of which the second half is the first once more; both outlive the end; `capacity` is a power of two.
    #[must_use]
    pub unsafe fn new(control: NonNull<Control>, bytes: NonNull<u8>, capacity: usize) -> Self {
        debug_assert!(capacity.is_power_of_two() && capacity >= ALIGN);
        let view = View {
            control,
            bytes,
            capacity,
        };
        Self {
            view,
            tail: 0,
            head: 0,
        }
    }

    /// The longest record that fits into an empty ring.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.view.capacity - HEADER
    }

    /// Appends a record of the pieces in `parts`, one after the other. False if there is no room for it now.
    /// It is not seen before [`publish`](Self::publish).
    ///
    /// # Errors
    /// [`Corrupt`] if the consumer claims to have taken what was never there.
    pub fn push(&mut self, tag: u32, parts: &[&[u8]]) -> Result<bool, Corrupt> {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let Ok(header) = u32::try_from(length) else {
            return Ok(false);
        };
        if !self.has_room(footprint(length))? {
            return Ok(false);
        }
        #[cfg(loom)]
        self.view.touch(self.tail, footprint(length), true);
        let mut to = self.view.at(self.tail);
        // SAFETY: the footprint is free: the consumer has taken what was there, and nobody else writes.
        unsafe {
            to.cast::<[u8; 4]>().write(header.to_le_bytes());
            to.add(4).cast::<[u8; 4]>().write(tag.to_le_bytes());
            to = to.add(HEADER);
            for part in parts {
                to.copy_from_nonoverlapping(part.as_ptr(), part.len());
                to = to.add(part.len());
            }
        }
        self.tail += footprint(length) as u64;
        Ok(true)
    }

    fn has_room(&mut self, needed: usize) -> Result<bool, Corrupt> {
        let needed = needed as u64;
        let capacity = self.view.capacity as u64;
        if self.tail + needed - self.head <= capacity {
            return Ok(true);
        }
        let head = self.view.control().head.0.load(Ordering::Acquire);
        // Its own view may lag behind what is pushed and not published yet, never be ahead of it.
        if head < self.head || head > self.tail {
            return Err(Corrupt("a head beyond the tail"));
        }
        self.head = head;
        Ok(self.tail + needed - head <= capacity)
    }

    /// Shows what was pushed to the consumer, and wakes it if it sleeps.
    #[inline]
    pub fn publish(&mut self) {
        let control = self.view.control();
        control.tail.0.store(self.tail, Ordering::Release);
        control.bell.ring();
    }

    /// Whether the consumer has taken all that was published.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.view.control().head.0.load(Ordering::Acquire) == self.tail
    }

    /// What is shared, for sleeping on `room`.
    #[must_use]
    pub fn control(&self) -> &Control {
        self.view.control()
    }

    /// Whether a record of `length` has room now: what to look for before sleeping.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn fits(&mut self, length: usize) -> Result<bool, Corrupt> {
        self.has_room(footprint(length))
    }
}

impl Consumer {
    /// The reading end of a new ring.
    ///
    /// # Safety
    /// As [`Producer::new`].
    #[must_use]
    pub unsafe fn new(control: NonNull<Control>, bytes: NonNull<u8>, capacity: usize) -> Self {
        debug_assert!(capacity.is_power_of_two() && capacity >= ALIGN);
        let view = View {
            control,
            bytes,
            capacity,
        };
        Self {
            view,
            head: 0,
            tail: 0,
        }
    }

    /// Whether a record is there.
    ///
    /// # Errors
    /// [`Corrupt`] if the tail cannot be.
    pub fn has_record(&mut self) -> Result<bool, Corrupt> {
        if self.tail != self.head {
            return Ok(true);
        }
        let tail = self.view.control().tail.0.load(Ordering::Acquire);
        let capacity = self.view.capacity as u64;
        if tail < self.head || tail - self.head > capacity || !tail.is_multiple_of(ALIGN as u64) {
            return Err(Corrupt("a tail that cannot be"));
        }
        self.tail = tail;
        Ok(tail != self.head)
    }

    /// Copies the next record behind what is in `to`, and returns its tag. None if there is none. Its space is the
    /// producer's again only after [`release`](Self::release).
    ///
    /// # Errors
    /// [`Corrupt`] if tail or length cannot be; nothing is taken then.
    pub fn pop(&mut self, to: &mut Vec<u8>) -> Result<Option<u32>, Corrupt> {
        if !self.has_record()? {
            return Ok(None);
        }
        let from = self.view.at(self.head);
        // SAFETY: at least ALIGN bytes are published at `head`, and that many are mapped there.
        let header = unsafe { from.cast::<[u8; HEADER]>().read() };
        let [a, b, c, d, tag @ ..] = header;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let taken = footprint(length) as u64;
        if taken > self.tail - self.head {
            return Err(Corrupt("a record longer than what is published"));
        }
        #[cfg(loom)]
        self.view.touch(self.head, footprint(length), false);
        to.reserve(length);
        // SAFETY: the record is within what is published, hence within the capacity, and mapped in one piece; the
        // bytes are copied raw, whatever the producer may do to them meanwhile; the room is reserved.
        unsafe {
            to.as_mut_ptr()
                .add(to.len())
                .copy_from_nonoverlapping(from.add(HEADER), length);
            to.set_len(to.len() + length);
        }
        self.head += taken;
        Ok(Some(u32::from_le_bytes(tag)))
    }

    /// Gives the space of what was popped back, and wakes the producer if it sleeps for room.
    #[inline]
    pub fn release(&mut self) {
        let control = self.view.control();
        control.head.0.store(self.head, Ordering::Release);
        control.room.ring();
    }

    /// What is shared, for sleeping on `bell`.
    #[must_use]
    pub fn control(&self) -> &Control {
        self.view.control()
    }
}
