//! What processes of a family share: locks, semaphores, events, conditions, barriers and queues in memory without a name.
//!
//! A process can be killed at any instruction, and the others go on. That rests on two things:
//!
//! - Whoever has something exclusively stands in the word of it, by process id and start time ([`life`]), from the very
//!   instruction that takes it. A waiter looks every [`BACKSTOP`] whether that process still lives, and takes over if not ([`owner`]).
//! - What a process changes under such a word becomes valid by one store of one word, or is written to a journal first, so
//!   that whoever takes over finds the state as it was, or as it was to be.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`life`] | who this process is, and whether another one still lives |
//! | [`futex`] | sleeping on a word that several processes have mapped |
//! | [`owner`] | the word of a lock: its holder. The internal latches are the same word |
//! | [`sleepers`] | those that sleep until something has been made, and cost its maker a load while nobody does |
//! | [`slab`] | small things of many objects on common pages, found again by descriptor and offset |
//! | [`lock`], [`semaphore`], [`event`], [`condition`], [`barrier`] | the primitives |
//! | [`queue`], [`regions`] | records in order from any process to any other, in memory that grows |
//!
//! Nothing here blocks: an operation ends, or says [`Busy`] or "not now", and [`Site::sleep`] sleeps for one slice. Who
//! calls decides about signals, deadlines and the interpreter's lock.

#![warn(missing_docs)]

#[cfg(not(loom))]
pub mod barrier;
#[cfg(not(loom))]
pub mod condition;
#[cfg(not(loom))]
pub mod event;
pub mod futex;
#[cfg(not(loom))]
pub mod life;
#[cfg(not(loom))]
pub mod lock;
pub mod owner;
#[cfg(not(loom))]
pub mod queue;
#[cfg(not(loom))]
pub mod regions;
#[cfg(not(loom))]
pub mod semaphore;
#[cfg(not(loom))]
pub mod slab;
pub mod sleepers;
mod sync;

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod tests;

use std::time::Duration;

pub use futex::Woken;

/// No sleep is longer than this: then the sleeper looks whether the one it waits for still lives.
pub const BACKSTOP: Duration = Duration::from_millis(100);

/// Another process (or thread) is in the middle of a change, for longer than it should take: it has been stopped, or has
/// lost its core. Try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

/// How long an operation may wait for another one's change to be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// A moment: the caller has the interpreter's lock.
    Brief,
    /// One slice of [`BACKSTOP`].
    Slice,
}

/// What an attempt may do.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// How long it may take.
    pub patience: Patience,
    /// Whether it looks if other processes live, where that matters.
    pub thorough: bool,
    /// Whether the caller has slept for it.
    pub slept: bool,
}

impl How {
    /// The first look, attached.
    pub const AT_ONCE: Self = Self {
        patience: Patience::Brief,
        thorough: false,
        slept: false,
    };
}

/// Something that can be waited for.
pub trait Site {
    /// What is had at the end.
    type Got;

    /// Whether a thorough attempt differs from another one.
    const THOROUGH: bool = false;

    /// Takes it if that can be done now.
    ///
    /// # Errors
    /// [`Busy`].
    fn attempt(&mut self, how: How) -> Result<Option<Self::Got>, Busy>;

    /// Sleeps until an attempt may succeed, `at_most` so long.
    fn sleep(&self, at_most: Duration) -> Woken;

    /// The caller has slept, and has taken what it slept for or will not: whoever else sleeps may be meant.
    fn pass_on(&self) {}
}
