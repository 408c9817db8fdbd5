//! A large value on its way: a record's body says where its parts lie in a slot.
//!
//! The body, little-endian: segment u32, slot u32, life u32, count of buffers u32, then (offset u64, length u64) of the
//! pickle, and of each buffer. Offsets are from the segment's beginning. Buffers come first in the slot, so that a large one
//! begins at a page, each at a multiple of [`ALIGN`].

use crate::arena::Arena;
use crate::forks::{Moment, Since};
use crate::offer::{Offer, announced};
use crate::segment::Mapped;
use std::collections::HashMap;
use std::io::{ErrorKind, Result};
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Arc;

/// Each part begins at a multiple of this from the segment's beginning: enough for any vector instruction.
pub const ALIGN: usize = 64;
const FIXED: usize = 32;
const PART: usize = 16;

/// Puts a pickle and its buffers into a slot, and appends the body of the record that tells of them to `body`.
///
/// # Errors
/// The system's, where there is no memory; `body` is as it was then.
pub fn pack(arena: &Arc<Arena>, pickle: &[u8], buffers: &[&[u8]], body: &mut Vec<u8>) -> Result<Offer> {
    let parts = || buffers.iter().copied().chain([pickle]);
    let mut ends = Vec::with_capacity(buffers.len() + 1);
    let mut end = 0_usize;
    for part in parts() {
        let start = end.next_multiple_of(ALIGN);
        ends.push(start);
        // Lengths of memory that is there: their sum may still be more than there is.
        end = start.saturating_add(part.len());
        if end > isize::MAX as usize {
            return Err(std::io::Error::from_raw_os_error(libc::ENOMEM));
        }
    }
    let mut offer = arena.offer(end)?;
    offer.fill(ends.iter().copied().zip(parts()))?;
    let (slot, life) = offer.lease();
    #[expect(clippy::cast_possible_truncation, reason = "that many do not fit into memory")]
    for number in [offer.id(), slot, life, buffers.len() as u32] {
        body.extend_from_slice(&number.to_le_bytes());
    }
    let place = |(start, part): (&usize, &[u8])| [offer.start() + start, part.len()];
    let mut places: Vec<_> = ends.iter().zip(parts()).map(place).collect();
    places.rotate_right(1);
    for number in places.into_iter().flatten() {
        body.extend_from_slice(&(number as u64).to_le_bytes());
    }
    Ok(offer)
}

/// Why a body is refused: its sender is not to be trusted with anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused(pub &'static str);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a large value that cannot be: {}", self.0)
    }
}

impl std::error::Error for Refused {}

/// The right to read a slot. The last one who has it lets go of it by dropping it.
#[derive(Debug)]
struct Lease {
    segment: Arc<Mapped>,
    slot: u32,
    life: u32,
    taken: Moment,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(word) = self.segment.word(self.slot) else {
            return;
        };
        match self.taken.since() {
            Since::Nothing => word.release(self.life),
            Since::Parent => word.pin(self.life),
            Since::Child => {}
        }
    }
}

/// Bytes in another process's segment, readable as long as this is there. Their sender may change them if it does
/// not keep to the rules, so nothing may be concluded from having looked at them once.
#[derive(Debug, Clone)]
pub struct Part {
    lease: Arc<Lease>,
    start: usize,
    length: usize,
}

impl Part {
    /// Where they are.
    #[must_use]
    pub fn ptr(&self) -> *const u8 {
        self.lease.segment.at(self.start)
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// A large value that has come: its pickle and the buffers that belong to it. Dropped unread it goes back as well.
#[derive(Debug)]
pub struct Parcel {
    /// The pickle.
    pub pickle: Part,
    /// In the order in which the pickle asks for them.
    pub buffers: Vec<Part>,
}

/// The segments of one sender, as its receiver has them mapped.
#[derive(Debug)]
pub struct Inbox {
    segments: HashMap<u32, Arc<Mapped>>,
    /// A descriptor that is given up for the moment in which one is received: that one has a number then, also in a
    /// process that has no more of them, where the message would be lost.
    reserve: Option<OwnedFd>,
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Inbox {
    /// One without segments.
    #[must_use]
    pub fn new() -> Self {
        let _watched = Moment::now();
        Self {
            segments: HashMap::new(),
            reserve: reserve(),
        }
    }

    /// Takes what a record of this body tells of. If it names a segment that is not mapped, `receive` is asked for what was
    /// announced (text and descriptor), until it has no more.
    ///
    /// # Errors
    /// [`Refused`] if there is no such thing, or it is not offered (any more).
    pub fn open(
        &mut self,
        body: &[u8],
        mut receive: impl FnMut() -> Result<Option<(Vec<u8>, OwnedFd)>>,
    ) -> std::result::Result<Parcel, Refused> {
        let (head, parts) = body.split_at_checked(FIXED).ok_or(Refused("a short body"))?;
        let word = |at: usize| {
            head[at..at + 4]
                .iter()
                .rev()
                .fold(0, |all, byte| all << 8 | u32::from(*byte))
        };
        let (id, slot, life, count) = (word(0), word(4), word(8), word(12) as usize);
        if Some(parts.len()) != count.checked_mul(PART) {
            return Err(Refused("a count that does not fit"));
        }
        if !self.segments.contains_key(&id) {
            self.segments.retain(|_, segment| !segment.is_discarded());
            self.reserve = None;
            while let Some((text, file)) = receive().map_err(|_| Refused("nothing can be received"))? {
                self.insert(&text, &file)
                    .map_err(|_| Refused("an announcement that cannot be"))?;
            }
            self.reserve = reserve();
        }
        let segment = self.segments.get(&id).ok_or(Refused("no such segment"))?;
        let segment = Arc::clone(segment);
        let places: Vec<_> = head[FIXED - PART..]
            .chunks_exact(PART)
            .chain(parts.chunks_exact(PART))
            .map(place)
            .collect();
        if !places
            .iter()
            .all(|(start, length)| segment.contains(*start, *length))
        {
            return Err(Refused("bytes beyond the segment"));
        }
        let word = segment.word(slot).ok_or(Refused("no such slot"))?;
        if !word.take(life) {
            return Err(Refused("not offered"));
        }
        let lease = Arc::new(Lease {
            segment,
            slot,
            life,
            taken: Moment::now(),
        });
        #[expect(clippy::cast_possible_truncation, reason = "within the mapping")]
        let mut parts = places.into_iter().map(|(start, length)| Part {
            lease: Arc::clone(&lease),
            start: start as usize,
            length: length as usize,
        });
        let pickle = parts.next().ok_or(Refused("no pickle"))?;
        Ok(Parcel {
            pickle,
            buffers: parts.collect(),
        })
    }

    /// Maps a segment that has been announced.
    fn insert(&mut self, bytes: &[u8], file: &OwnedFd) -> Result<()> {
        let id = announced(bytes).ok_or(ErrorKind::InvalidData)?;
        self.segments.insert(id, Arc::new(Mapped::open(file)?));
        Ok(())
    }

    /// How many are mapped.
    #[must_use]
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }
}

/// A descriptor of no use.
fn reserve() -> Option<OwnedFd> {
    // SAFETY: a new descriptor, ours.
    unsafe {
        let fd = libc::eventfd(0, libc::EFD_CLOEXEC);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd))
    }
}

fn place(bytes: &[u8]) -> (u64, u64) {
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0, |all, byte| all << 8 | u64::from(*byte))
    };
    (number(&bytes[..8]), number(&bytes[8..]))
}
