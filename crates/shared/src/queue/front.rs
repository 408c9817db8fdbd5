//! The consumers' side.

use super::{JUMP, PAD, PLENTY, PREFIX, Position, Queue, Trouble, corrupt};
use crate::owner::Guard;
use crate::sync::Ordering;
use crate::{How, Patience, regions};
use std::io::{Error, ErrorKind};

/// Longer records are copied by those only who do not hold the interpreter's lock.
const LONG: usize = 64 << 10;

impl Queue {
    /// Takes the next record: appends it to `to` and returns its form. None if there is none.
    ///
    /// # Errors
    /// Busy, also where a record is long and patience brief; `InvalidData` if what lies in memory cannot be.
    #[inline]
    pub fn get(&self, to: &mut Vec<u8>, how: How) -> Result<Option<u8>, Trouble> {
        let header = self.header();
        let guard = header.front.latch.lock(how.patience)?;
        let got = self.get_latched(to, how.patience, &guard)?;
        drop(guard);
        if got.is_some() {
            if how.slept {
                header.items.0.pass_on(|| !self.is_empty());
            }
            if header.most.load(Ordering::Relaxed) > 0 {
                header.room.0.ring();
            }
            if header.front.passed.load(Ordering::Relaxed) > PLENTY as u64 {
                self.shrink();
            }
        }
        Ok(got)
    }

    #[inline]
    fn get_latched(
        &self,
        to: &mut Vec<u8>,
        patience: Patience,
        _latch: &Guard<'_>,
    ) -> Result<Option<u8>, Trouble> {
        let front = &self.header().front;
        let head = Position(front.head.load(Ordering::Relaxed));
        if head.0 == front.tail_seen.load(Ordering::Relaxed) {
            let tail = self.header().back.tail.load(Ordering::Acquire);
            front.tail_seen.store(tail, Ordering::Relaxed);
            if head.0 == tail {
                return Ok(None);
            }
        }
        let mut number = head.region();
        let (mut base, mut capacity, mut unit) = self.region(number)?;
        let mut at = head.at(unit);
        let (form, length) = loop {
            if at + PREFIX > capacity {
                return Err(corrupt().into());
            }
            // SAFETY: within the region.
            let prefix = unsafe { base.add(at).cast::<u64>().read() };
            let length = usize::try_from(prefix >> 8).map_err(Error::other)?;
            match prefix & 0xff {
                PAD if at != 0 => at = 0,
                JUMP if length > number && length < regions::MOST => {
                    number = length;
                    (base, capacity, unit) = self.region(number)?;
                    at = 0;
                }
                PAD | JUMP => return Err(corrupt().into()),
                form => break (form, length),
            }
        };
        if length > capacity - at - PREFIX {
            return Err(corrupt().into());
        }
        if length > LONG && patience == Patience::Brief {
            return Err(Trouble::Busy);
        }
        to.try_reserve(length)
            .map_err(|_| Error::from(ErrorKind::OutOfMemory))?;
        // SAFETY: within the region; the room is reserved.
        unsafe {
            to.as_mut_ptr()
                .add(to.len())
                .copy_from_nonoverlapping(base.add(at + PREFIX), length);
            to.set_len(to.len() + length);
        }
        let next = (at + (PREFIX + length).next_multiple_of(unit)) % capacity;
        let count = head.count().wrapping_add(1);
        let next = Position::new(count, number, next, unit);
        front.head.store(next.0, Ordering::Release);
        if number != head.region() {
            self.drained(head.region(), number);
        }
        if capacity > PLENTY {
            front
                .passed
                .fetch_add((PREFIX + length) as u64, Ordering::Relaxed);
        }
        #[expect(clippy::cast_possible_truncation, reason = "the lowest byte")]
        Ok(Some(form as u8))
    }
}
