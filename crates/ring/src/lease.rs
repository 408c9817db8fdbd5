//! The word of a lease: who may touch the bytes that lie behind it.
//!
//! ```text
//!   FREE ──offer──► OFFERED ──take──► TAKEN ──release──► RELEASED ──offer──► …
//!                    ▲  │               └─────pin───────► PINNED
//!                    │  └──withdraw─────────────────────► RELEASED
//!                    └──again── any of them
//! ```
//! The sender writes the bytes before it offers them, and again only after it has seen RELEASED, or has withdrawn them.
//! The receiver reads them from `take` to `release`. Each offer is a *life* of its own, which the record that announces the
//! bytes names and the word contains: what belongs to an earlier life changes nothing.
//!
//! PINNED is for bytes that a child of the receiver, forked meanwhile, may go on reading: nobody can say when it is done,
//! so they are never written again. *Again* is for bytes that are sent a second time; if the first receiver may still
//! read, the sender will never write to them either, and the word means no more than that they may be taken.
//!
//! Either side may die at any instruction: a word that stays OFFERED or TAKEN is given up with its memory.

use crate::sync::{AtomicU32, Ordering};

const FREE: u32 = 0;
const OFFERED: u32 = 1;
const TAKEN: u32 = 2;
const RELEASED: u32 = 3;
const PINNED: u32 = 4;
/// Bits of the state; the rest is the life.
const STATE: u32 = 3;
/// Lives are counted modulo this.
pub const LIVES: u32 = 1 << (32 - STATE);

/// What the sender reads of a lease that it has let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Standing {
    /// The receiver has not taken it yet.
    Offered,
    /// The receiver reads.
    Taken,
    /// The bytes are the sender's again.
    Back,
    /// They never will be.
    Lost,
}

/// The word, in shared memory.
#[derive(Debug)]
#[repr(transparent)]
pub struct Word(AtomicU32);

impl Default for Word {
    fn default() -> Self {
        Self(AtomicU32::new(FREE))
    }
}

const fn word(life: u32, state: u32) -> u32 {
    (life << STATE) | state
}

impl Word {
    /// Sender: the bytes are written, and whoever is told of `life` may take them. The lease is free, or back.
    pub fn offer(&self, life: u32) {
        self.0.store(word(life, OFFERED), Ordering::Release);
    }

    /// Receiver: they are mine to read. False if they are not offered (any more).
    #[must_use]
    pub fn take(&self, life: u32) -> bool {
        self.turn(life, OFFERED, TAKEN)
    }

    /// Receiver: I have read them.
    pub fn release(&self, life: u32) {
        self.turn(life, TAKEN, RELEASED);
    }

    /// Receiver: somebody may go on reading them.
    pub fn pin(&self, life: u32) {
        self.turn(life, TAKEN, PINNED);
    }

    /// Sender: nobody shall take them. False if somebody has.
    #[must_use]
    pub fn withdraw(&self, life: u32) -> bool {
        self.turn(life, OFFERED, RELEASED)
    }

    /// Sender: offers the same bytes once more. [`Standing::Lost`] if somebody may still read them from before, so that
    /// they may never be written to; else [`Standing::Offered`].
    pub fn again(&self, life: u32) -> Standing {
        let offered = word(life, OFFERED);
        let before = self.0.swap(offered, Ordering::AcqRel);
        if before == offered || before == word(life, RELEASED) {
            Standing::Offered
        } else {
            Standing::Lost
        }
    }

    /// Sender: what has become of them. A word that makes no sense is lost.
    pub fn standing(&self, life: u32) -> Standing {
        let seen = self.0.load(Ordering::Acquire);
        if seen >> STATE != life {
            return Standing::Lost;
        }
        match seen & (word(1, 0) - 1) {
            OFFERED => Standing::Offered,
            TAKEN => Standing::Taken,
            RELEASED => Standing::Back,
            _ => Standing::Lost,
        }
    }

    fn turn(&self, life: u32, from: u32, to: u32) -> bool {
        let (from, to) = (word(life, from), word(life, to));
        self.0
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}
