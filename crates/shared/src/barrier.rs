//! A barrier: rounds that end once, tripped or broken.
//!
//! Those of a round sleep on its number. How it ended stands in a history of 64 rounds, so nobody has to wait until
//! all have left, and one that dies on the way out keeps nobody. If a process dies in the middle of a change, or in the action,
//! the round ends broken.

use crate::futex::{self, Woken};
use crate::life;
use crate::owner::{Guard, Identity, Latch};
use crate::slab::Shared;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::{Busy, How, Patience, Site};
use std::time::Duration;

const FILLING: u32 = 0;
/// All are there, and the last one runs the action.
const ACTING: u32 = 1;
const BROKEN: u32 = 2;

/// In shared memory; zeroed, then [`init`](Self::init).
#[derive(Debug)]
#[repr(C)]
pub struct Barrier {
    latch: Latch,
    parties: AtomicU32,
    count: AtomicU32,
    state: AtomicU32,
    round: AtomicU32,
    /// Bit n % 64: round n ended broken.
    history: AtomicU64,
    actor: AtomicU64,
}

// SAFETY: atomics only.
unsafe impl Shared for Barrier {}

/// What became of one that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    /// It is one of this round: its place, and the round.
    Waits(u32, u32),
    /// It is the last; where there is an action it has to run it and then call [`Barrier::acted`] with the round.
    Last(u32, u32),
    /// The barrier is broken.
    Broken,
    /// The action of this round is being run: wait until it is over, and come again.
    Later(u32),
}

impl Barrier {
    /// Before others know of it.
    pub fn init(&self, parties: u32) {
        self.parties.store(parties, Ordering::Release);
    }

    fn lock(&self, patience: Patience) -> Result<Guard<'_>, Busy> {
        let guard = self.latch.lock(patience)?;
        if guard.from_dead {
            self.end(BROKEN, true);
        }
        Ok(guard)
    }

    /// Ends the round; the latch is held.
    fn end(&self, next: u32, broken: bool) {
        let round = self.round.load(Ordering::Relaxed);
        let bit = 1 << (round % 64);
        if broken {
            self.history.fetch_or(bit, Ordering::Relaxed);
        } else {
            self.history.fetch_and(!bit, Ordering::Relaxed);
        }
        self.count.store(0, Ordering::Relaxed);
        self.state.store(next, Ordering::Relaxed);
        self.round.store(round.wrapping_add(1), Ordering::Release);
        futex::wake(self.round.as_ptr(), i32::MAX);
    }

    /// Comes to the barrier.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn enter(&self, has_action: bool, patience: Patience) -> Result<Entered, Busy> {
        let _guard = self.lock(patience)?;
        let round = self.round.load(Ordering::Relaxed);
        match self.state.load(Ordering::Relaxed) {
            BROKEN => return Ok(Entered::Broken),
            ACTING => return Ok(Entered::Later(round)),
            _ => {}
        }
        let place = self.count.fetch_add(1, Ordering::Relaxed);
        if place + 1 < self.parties.load(Ordering::Relaxed) {
            return Ok(Entered::Waits(place, round));
        }
        if has_action {
            self.actor.store(life::me().0, Ordering::Relaxed);
            self.state.store(ACTING, Ordering::Relaxed);
        } else {
            self.end(FILLING, false);
        }
        Ok(Entered::Last(place, round))
    }

    /// The action has been run, `well` or not. False if the round had ended already, broken.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn acted(&self, round: u32, well: bool, patience: Patience) -> Result<bool, Busy> {
        let _guard = self.lock(patience)?;
        if !self.is_round(round) {
            return Ok(false);
        }
        self.end(if well { FILLING } else { BROKEN }, !well);
        Ok(true)
    }

    /// Whether this round lasts.
    #[must_use]
    pub fn is_round(&self, round: u32) -> bool {
        self.round.load(Ordering::Acquire) == round
    }

    /// Whether a round that is over ended broken.
    #[must_use]
    pub fn ended_broken(&self, round: u32) -> bool {
        self.history.load(Ordering::Acquire) & 1 << (round % 64) != 0
    }

    /// Sleeps while this round lasts.
    pub fn sleep(&self, round: u32, at_most: Duration) -> Woken {
        futex::wait(self.round.as_ptr(), round, at_most)
    }

    /// Breaks the round if the process that runs its action has died.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn look_after(&self, round: u32, patience: Patience) -> Result<(), Busy> {
        let _guard = self.lock(patience)?;
        let actor = Identity::from_word(self.actor.load(Ordering::Relaxed));
        if self.is_round(round)
            && self.state.load(Ordering::Relaxed) == ACTING
            && actor.is_none_or(|actor| !life::is_alive(actor))
        {
            self.end(BROKEN, true);
        }
        Ok(())
    }

    /// One of the round leaves it. False if it is over.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn leave(&self, round: u32, patience: Patience) -> Result<bool, Busy> {
        let _guard = self.lock(patience)?;
        let lasts = self.is_round(round) && self.state.load(Ordering::Relaxed) == FILLING;
        if lasts {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(lasts)
    }

    /// Breaks the barrier; with a round, only if that one lasts. Whether it did.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn abort(&self, round: Option<u32>, patience: Patience) -> Result<bool, Busy> {
        let _guard = self.lock(patience)?;
        let lasts = round.is_none_or(|round| self.is_round(round));
        if lasts && self.state.load(Ordering::Relaxed) != BROKEN {
            self.end(BROKEN, true);
        }
        Ok(lasts)
    }

    /// Makes it whole and empty; those that wait are told that it was broken.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn reset(&self, patience: Patience) -> Result<(), Busy> {
        let _guard = self.lock(patience)?;
        if self.count.load(Ordering::Relaxed) > 0 {
            self.end(FILLING, true);
        } else {
            self.state.store(FILLING, Ordering::Relaxed);
        }
        Ok(())
    }

    /// How many a round needs.
    #[must_use]
    pub fn parties(&self) -> u32 {
        self.parties.load(Ordering::Relaxed)
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        if self.state.load(Ordering::Relaxed) == FILLING {
            self.count.load(Ordering::Relaxed)
        } else {
            0
        }
    }

    /// Whether it is broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.state.load(Ordering::Relaxed) == BROKEN
    }
}

/// The end of a round, tripped or broken.
#[derive(Debug, Clone, Copy)]
pub struct End<'a>(pub &'a Barrier, pub u32);

impl Site for End<'_> {
    type Got = ();
    const THOROUGH: bool = true;

    fn attempt(&mut self, how: How) -> Result<Option<()>, Busy> {
        if how.thorough && self.0.is_round(self.1) {
            self.0.look_after(self.1, how.patience)?;
        }
        Ok((!self.0.is_round(self.1)).then_some(()))
    }

    fn sleep(&self, at_most: Duration) -> Woken {
        self.0.sleep(self.1, at_most)
    }
}
