//! Those that wait for a condition, in order, each with a word of its own.
//!
//! The user's lock is not this module's: a waiter stands in the table before it frees that lock, so a notification
//! that comes after is for it. A slot is FREE, WAITING or NOTIFIED; each change is one store. A notification passes by those that have died
//! waiting, and frees their slots.

use crate::futex::{self, Woken};
use crate::life;
use crate::owner::{Identity, Latch};
use crate::slab::Shared;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::{Busy, How, Patience, Site};
use std::time::Duration;

/// So many can wait at once.
const SLOTS: usize = 500;
const FREE: u32 = 0;
const WAITING: u32 = 1;
const NOTIFIED: u32 = 2;

#[derive(Debug)]
#[repr(C)]
struct Slot {
    state: AtomicU32,
    who: AtomicU64,
    /// Who came first is notified first.
    ticket: AtomicU64,
}

/// In shared memory; all zeroes: nobody waits.
#[derive(Debug)]
#[repr(C)]
pub struct Condition {
    latch: Latch,
    tickets: AtomicU64,
    /// No slot from here on was ever used.
    used: AtomicU32,
    slots: [Slot; SLOTS],
}

// SAFETY: atomics only.
unsafe impl Shared for Condition {}

impl Condition {
    fn slots(&self) -> &[Slot] {
        let used = usize::try_from(self.used.load(Ordering::Relaxed)).unwrap_or(SLOTS);
        &self.slots[..used.min(SLOTS)]
    }

    /// Stands in line; `None` if the table is full.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn enter(&self, patience: Patience) -> Result<Option<usize>, Busy> {
        let _guard = self.latch.lock(patience)?;
        let free = |slot: &Slot| slot.state.load(Ordering::Relaxed) == FREE;
        let mut at = self.slots().iter().position(free);
        if at.is_none() && self.slots().len() < SLOTS {
            at = Some(self.slots().len());
            self.used.fetch_add(1, Ordering::Relaxed);
        }
        if at.is_none() {
            self.bury();
            at = self.slots.iter().position(free);
        }
        let Some(at) = at else { return Ok(None) };
        let slot = &self.slots[at];
        slot.who.store(life::me().0, Ordering::Relaxed);
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        slot.ticket.store(ticket, Ordering::Relaxed);
        slot.state.store(WAITING, Ordering::Release);
        Ok(Some(at))
    }

    /// Frees the slots of dead processes; the latch is held.
    fn bury(&self) {
        for slot in self.slots() {
            let who = Identity::from_word(slot.who.load(Ordering::Relaxed));
            if slot.state.load(Ordering::Relaxed) != FREE && who.is_none_or(|who| !life::is_alive(who)) {
                slot.state.store(FREE, Ordering::Relaxed);
            }
        }
    }

    /// Whether the one in this slot has been notified.
    #[must_use]
    pub fn is_notified(&self, at: usize) -> bool {
        self.slots[at].state.load(Ordering::Acquire) == NOTIFIED
    }

    /// Sleeps while the one in this slot is not notified.
    pub fn sleep(&self, at: usize, at_most: Duration) -> Woken {
        futex::wait(self.slots[at].state.as_ptr(), WAITING, at_most)
    }

    /// Leaves the slot. Whether it had been notified.
    pub fn leave(&self, at: usize) -> bool {
        self.slots[at].state.swap(FREE, Ordering::AcqRel) == NOTIFIED
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let waits = |slot: &&Slot| slot.state.load(Ordering::Relaxed) == WAITING;
        self.slots().iter().filter(waits).count()
    }

    /// Notifies the `n` that have waited longest.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn notify(&self, n: usize, patience: Patience) -> Result<usize, Busy> {
        let _guard = self.latch.lock(patience)?;
        let mut done = 0;
        while done < n {
            let waiting = self
                .slots()
                .iter()
                .filter(|slot| slot.state.load(Ordering::Relaxed) == WAITING);
            let Some(first) = waiting.min_by_key(|slot| slot.ticket.load(Ordering::Relaxed)) else {
                break;
            };
            let who = Identity::from_word(first.who.load(Ordering::Relaxed));
            if who.is_none_or(|who| !life::seems_alive(who)) {
                first.state.store(FREE, Ordering::Relaxed);
                continue;
            }
            // Fails if it has just left.
            if first
                .state
                .compare_exchange(WAITING, NOTIFIED, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            {
                futex::wake(first.state.as_ptr(), 1);
                done += 1;
            }
        }
        Ok(done)
    }
}

/// The one in this slot has been notified.
#[derive(Debug, Clone, Copy)]
pub struct Notified<'a>(pub &'a Condition, pub usize);

impl Site for Notified<'_> {
    type Got = ();

    fn attempt(&mut self, _: How) -> Result<Option<()>, Busy> {
        Ok(self.0.is_notified(self.1).then_some(()))
    }

    fn sleep(&self, at_most: Duration) -> Woken {
        self.0.sleep(self.1, at_most)
    }
}
