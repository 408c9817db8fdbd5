//! The producers' side: finding room, growing, publishing.

use super::{JUMP, PAD, PREFIX, Position, Queue, Trouble, UNIT, corrupt};
use crate::How;
use crate::owner::Guard;
use crate::sync::Ordering;
use std::io::{self, Error};

impl Queue {
    /// Finds or allocates a region of `length` bytes at least that nobody uses yet; the latch of the back is held. Others may have
    /// been announced by producers that died before they used them: these are passed by if they are too small.
    pub(super) fn announce(&self, from: usize, length: usize) -> io::Result<usize> {
        for (number, region) in self.header().regions.iter().enumerate().skip(from) {
            let announced = region.length.load(Ordering::Relaxed);
            if announced == 0 {
                let offset = self.memory.grow(length)?;
                region.offset.store(offset as u64, Ordering::Relaxed);
                region.length.store(length as u64, Ordering::Release);
                return Ok(number);
            }
            if announced >= length as u64 {
                return Ok(number);
            }
        }
        Err(Error::from_raw_os_error(libc::ENOSPC))
    }

    /// Appends a record of a form below 0xfe. False if the queue has as many items as it may have.
    ///
    /// # Errors
    /// Busy; the system's: no memory.
    #[inline]
    pub fn put(&self, form: u8, bytes: &[u8], how: How) -> Result<bool, Trouble> {
        let header = self.header();
        let guard = header.back.latch.lock(how.patience)?;
        let done = self.put_latched(form, bytes, &guard)?;
        drop(guard);
        if done {
            if how.slept {
                header.room.0.pass_on(|| self.has_room());
            }
            header.items.0.ring();
        }
        Ok(done)
    }

    #[inline]
    fn put_latched(&self, form: u8, bytes: &[u8], _latch: &Guard<'_>) -> io::Result<bool> {
        let header = self.header();
        let back = &header.back;
        let tail = Position(back.tail.load(Ordering::Relaxed));
        let mut head = Position(back.head_seen.load(Ordering::Relaxed));
        let most = header.most.load(Ordering::Relaxed);
        if most > 0 && tail.count().wrapping_sub(head.count()) >= most {
            head = self.look_at_head();
            if tail.count().wrapping_sub(head.count()) >= most {
                return Ok(false);
            }
        }
        let length = bytes.len();
        let (base, capacity, unit) = self.region(tail.region())?;
        let needed = (PREFIX + length).next_multiple_of(unit);
        let mut found = fit(tail, head, needed, capacity, unit);
        if found.is_none() {
            head = self.look_at_head();
            found = fit(tail, head, needed, capacity, unit);
        }
        let count = tail.count().wrapping_add(1);
        let at = tail.at(unit);
        // SAFETY: what `fit` has found is within the region and free; one unit behind the tail is, too.
        unsafe {
            let Some(to) = found else {
                return self.put_elsewhere(form, bytes, tail, base.add(at));
            };
            if to != at {
                prefix(base.add(at), PAD, 0);
            }
            write(base.add(to), form, bytes);
            let next = (to + needed) % capacity;
            back.tail.store(
                Position::new(count, tail.region(), next, unit).0,
                Ordering::Release,
            );
        }
        Ok(true)
    }

    /// Goes on in a region twice as large; `here` is the place at which this one ends.
    ///
    /// # Safety
    /// The latch of the back is held, and a unit at `here` is free.
    #[cold]
    unsafe fn put_elsewhere(
        &self,
        form: u8,
        bytes: &[u8],
        tail: Position,
        here: *mut u8,
    ) -> io::Result<bool> {
        let length = bytes.len();
        let (_, before, _) = self.region(tail.region())?;
        let least = 2 * (PREFIX + length) + 2 * UNIT;
        let wanted = (2 * before).max(least.checked_next_power_of_two().ok_or_else(corrupt)?);
        let number = self.announce(tail.region() + 1, wanted)?;
        let (base, capacity, unit) = self.region(number)?;
        let needed = (PREFIX + length).next_multiple_of(unit);
        // SAFETY: the region is new and large enough; the rest is the caller's promise.
        unsafe {
            write(base, form, bytes);
            prefix(here, JUMP, number);
        }
        debug_assert!(needed < capacity);
        let next = Position::new(tail.count().wrapping_add(1), number, needed, unit);
        self.header().back.tail.store(next.0, Ordering::Release);
        Ok(true)
    }

    fn look_at_head(&self) -> Position {
        let header = self.header();
        let head = header.front.head.load(Ordering::Acquire);
        header.back.head_seen.store(head, Ordering::Relaxed);
        Position(head)
    }
}

/// Where a record of `needed` bytes can go: at the tail, or at the region's beginning.
#[inline]
fn fit(tail: Position, head: Position, needed: usize, capacity: usize, unit: usize) -> Option<usize> {
    let at = tail.at(unit);
    // A consumer in an older region has taken nothing of this one.
    let head = if head.region() == tail.region() {
        head.at(unit)
    } else {
        0
    };
    // The tail never meets the head from behind: then the queue would seem empty.
    if at >= head {
        if at + needed < capacity || at + needed == capacity && head > 0 {
            Some(at)
        } else {
            (needed < head).then_some(0)
        }
    } else {
        (at + needed < head).then_some(at)
    }
}

/// # Safety
/// 8 bytes there are writable, aligned, and nobody else uses them.
#[inline]
unsafe fn prefix(to: *mut u8, form: u64, length: usize) {
    // SAFETY: the caller's promise.
    unsafe { to.cast::<u64>().write((length as u64) << 8 | form) }
}

/// # Safety
/// As [`prefix`], for prefix and bytes.
#[inline]
unsafe fn write(to: *mut u8, form: u8, bytes: &[u8]) {
    // SAFETY: the caller's promise.
    unsafe {
        prefix(to, form.into(), bytes.len());
        to.add(PREFIX)
            .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
    }
}
