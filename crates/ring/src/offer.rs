//! A slot of an [`Arena`] while its sender holds it.

use crate::arena::Arena;
use crate::forks::{Moment, Since};
use crate::segment::{Extent, HEAD, Segment};
use std::io::Result;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// What goes with a segment's descriptor.
fn announcement(id: u32) -> [u8; 8] {
    let mut bytes = *b"seg:\0\0\0\0";
    bytes[4..].copy_from_slice(&id.to_le_bytes());
    bytes
}

/// The number in an [`announcement`].
pub(crate) fn announced(bytes: &[u8]) -> Option<u32> {
    match bytes {
        [b's', b'e', b'g', b':', id @ ..] => id.try_into().ok().map(u32::from_le_bytes),
        _ => None,
    }
}

/// A slot that its sender holds: to be filled, shown, and either [sent](Self::send) for good or kept until it is known that
/// nobody needs it again. To drop it is to withdraw it from whoever has not taken it.
#[derive(Debug)]
#[must_use]
pub struct Offer {
    arena: Arc<Arena>,
    segment: Arc<Segment>,
    id: u32,
    slot: usize,
    life: u32,
    extent: Extent,
    filled: bool,
    sent: bool,
    made: Moment,
}

impl Offer {
    pub(crate) fn new(
        arena: Arc<Arena>,
        segment: Arc<Segment>,
        id: u32,
        slot: usize,
        life: u32,
        extent: Extent,
    ) -> Self {
        Self {
            arena,
            segment,
            id,
            slot,
            life,
            extent,
            filled: false,
            sent: false,
            made: Moment::now(),
        }
    }

    /// The segment's number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The number of the lease's word, and the life that the receiver has to name.
    #[must_use]
    pub fn lease(&self) -> (u32, u32) {
        #[expect(clippy::cast_possible_truncation, reason = "at most SLOTS")]
        (self.slot as u32, self.life)
    }

    /// Where its bytes begin, from the segment's beginning.
    #[must_use]
    pub fn start(&self) -> usize {
        self.segment.start(self.slot)
    }

    /// Writes the parts, each `at` from the slot's beginning, and opens the lease. They are in order, lie within the size
    /// that was asked for, and leave no gap of a page.
    ///
    /// # Errors
    /// The system's, when there is no memory.
    pub fn fill<'a>(&mut self, parts: impl IntoIterator<Item = (usize, &'a [u8])>) -> Result<()> {
        let mut end = 0;
        for (at, bytes) in parts {
            debug_assert!(at >= end && at - end < HEAD);
            // SAFETY: the lease is the sender's until it is offered, below; `&mut` keeps others away.
            unsafe { self.segment.write(self.slot, &mut self.extent, at, bytes)? };
            end = at + bytes.len();
        }
        Segment::written(&mut self.extent, end);
        self.segment.word(self.slot).offer(self.life);
        self.filled = true;
        Ok(())
    }

    /// Hands the segment's descriptor over by `send` (what the [inbox](crate::Inbox) is to be told, and the descriptor), unless
    /// `receiver` has it, and notes that the receiver may take the lease. To be called before the record that names it is
    /// published to that receiver, also when it was shown to another (or the same) before. `send` runs under the arena's lock.
    ///
    /// # Errors
    /// What `send` fails with; nothing has been shown then.
    pub fn show(&self, receiver: u64, send: impl FnOnce(&[u8], BorrowedFd<'_>) -> Result<()>) -> Result<()> {
        self.arena.show(self.id, self.slot, receiver, |segment| {
            send(&announcement(self.id), segment.as_fd())
        })
    }

    /// It is the receiver's from here on, and comes back when that lets go of it: for what is sent once.
    pub fn send(mut self) {
        self.sent = true;
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if self.made.since() == Since::Child {
            return;
        }
        let word = self.segment.word(self.slot);
        let withdrawn = !self.filled || (!self.sent && word.withdraw(self.life));
        self.arena.leave(self.id, self.slot, self.extent, !withdrawn);
    }
}
