//! The sender's segments: which slots are free, who has which, and what is kept for the next values.
//!
//! A slot has up to two holders: the [`Offer`], as long as its sender may send it (again), and the receiver, by the lease. It
//! is used again when there is neither. Sizes are rounded up to classes, four between two powers of two. The first segment
//! of a class has one slot, and the more there are of it the more slots has the next: many values of one size that are on
//! their way at once need few descriptors, and one value needs no more memory than it has.
//!
//! A segment is *retired* when some of its bytes may be read by nobody knows whom (its receiver died with a lease, or
//! has forked): nothing is written to it any more, and it is let go when the last offer of it is.
//!
//! Segments in which nothing is out are kept, within [`Limits`]; the others are not limited but by the system.

use crate::forks::Moment;
use crate::lease::{LIVES, Standing};
use crate::offer::Offer;
use crate::segment::{Extent, HEAD, SLOTS, Segment};
use std::io::{Error, ErrorKind, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The smallest slot.
const LEAST: usize = 64 << 10;
/// A segment of more than one slot is no longer than this.
const SHARED: usize = 32 << 20;

/// What is kept of segments in which nothing is out.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes.
    pub bytes: usize,
    /// Segments: each has a descriptor.
    pub segments: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 512 << 20,
            segments: 32,
        }
    }
}

/// What an arena has now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Segments, each with a descriptor.
    pub segments: usize,
    /// Their bytes, allocated or not.
    pub bytes: usize,
    /// Slots that somebody has.
    pub out: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    Nobody,
    /// An offer.
    Sender,
    /// The lease alone.
    Receiver,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    holder: Holder,
    life: u32,
    extent: Extent,
    /// Whom it was shown to last.
    shown: Option<u64>,
}

#[derive(Debug)]
struct Entry {
    id: u32,
    segment: Arc<Segment>,
    slots: Vec<Slot>,
    /// Who has been handed the descriptor.
    receivers: Vec<u64>,
    retired: bool,
    used: Instant,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    last: u32,
}

/// The segments of one sender.
#[derive(Debug)]
pub struct Arena {
    state: Mutex<State>,
    limits: Limits,
}

/// The size of the slot for a value of `size` bytes.
fn class(size: usize) -> Option<usize> {
    let size = size.max(LEAST);
    let step = (size.checked_next_power_of_two()? / 8).max(HEAD);
    size.checked_next_multiple_of(step)
}

impl Entry {
    /// Looks what has come back. True if nothing is out.
    fn sweep(&mut self) -> bool {
        let mut idle = true;
        for (at, slot) in self.slots.iter_mut().enumerate() {
            if slot.holder == Holder::Receiver {
                match self.segment.word(at).standing(slot.life) {
                    Standing::Back => slot.holder = Holder::Nobody,
                    Standing::Offered | Standing::Taken => {}
                    Standing::Lost => self.retired = true,
                }
            }
            idle &= slot.holder == Holder::Nobody;
        }
        idle
    }

    fn is_wanted(&self) -> bool {
        !self.retired || self.slots.iter().any(|slot| slot.holder == Holder::Sender)
    }

    fn bytes(&self) -> usize {
        self.segment.slot_size() * self.segment.slots()
    }
}

impl State {
    /// A slot of the class that nobody has.
    fn find(&mut self, slot_size: usize) -> Option<(&mut Entry, usize)> {
        for entry in &mut self.entries {
            if entry.segment.slot_size() != slot_size || entry.retired {
                continue;
            }
            let free = |slot: &Slot| slot.holder == Holder::Nobody;
            let mut at = entry.slots.iter().position(free);
            if at.is_none() {
                entry.sweep();
                at = entry.slots.iter().position(free);
            }
            // To have swept may have retired it.
            if let (Some(at), false) = (at, entry.retired) {
                return Some((entry, at));
            }
        }
        None
    }

    /// How many slots the next segment of a class has.
    fn slots_of_next(&self, slot_size: usize) -> usize {
        let there = self
            .entries
            .iter()
            .filter(|entry| entry.segment.slot_size() == slot_size)
            .count();
        let wish = 1_usize << (2 * there).min(8);
        wish.min(SHARED / slot_size).clamp(1, SLOTS)
    }

    /// Takes out what is not to be kept: the retired, and of the idle the oldest beyond `limits` or older than `age`.
    fn weed(&mut self, limits: Limits, age: Option<Duration>) -> Vec<Entry> {
        let mut idle: Vec<(Instant, u32, usize)> = Vec::new();
        for entry in &mut self.entries {
            if entry.sweep() && !entry.retired {
                idle.push((entry.used, entry.id, entry.bytes()));
            }
        }
        idle.sort_unstable();
        let mut bytes: usize = idle.iter().map(|(.., bytes)| bytes).sum();
        let mut count = idle.len();
        let mut leave = Vec::new();
        for (used, id, size) in idle {
            if bytes <= limits.bytes && count <= limits.segments && age.is_none_or(|age| used.elapsed() < age)
            {
                break;
            }
            bytes -= size;
            count -= 1;
            leave.push(id);
        }
        self.entries
            .extract_if(.., |entry| !entry.is_wanted() || leave.contains(&entry.id))
            .collect()
    }
}

/// Lets segments go, without the arena's lock: to give memory back takes time.
fn discard(entries: Vec<Entry>) {
    for entry in entries {
        entry.segment.forget();
        // Receivers may keep an idle one mapped; a retired one is still read.
        if !entry.retired {
            entry.segment.discard();
        }
    }
}

impl Arena {
    /// An arena without segments.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        let _watched = Moment::now();
        Arc::new(Self {
            state: Mutex::default(),
            limits,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for a value of `size` bytes, that is to be [filled](Offer::fill).
    ///
    /// # Errors
    /// The system's: no memory (`ENOMEM`), beyond `RLIMIT_FSIZE` (`EFBIG`), no descriptors.
    pub fn offer(self: &Arc<Self>, size: usize) -> Result<Offer> {
        let slot_size = class(size).ok_or_else(|| Error::from_raw_os_error(libc::ENOMEM))?;
        let mut state = self.state();
        if let Some((entry, at)) = state.find(slot_size) {
            return Ok(self.claim(entry, at));
        }
        let slots = state.slots_of_next(slot_size);
        let old = state.weed(self.limits, None);
        drop(state);
        discard(old);
        let segment = match Segment::new(slot_size, slots) {
            Ok(segment) => segment,
            Err(_) => {
                // Others may have less: what is kept, and slots for later.
                self.trim(Duration::ZERO);
                Segment::new(slot_size, 1)?
            }
        };
        let mut state = self.state();
        state.last += 1;
        let mut entry = Entry {
            id: state.last,
            slots: vec![
                Slot {
                    holder: Holder::Nobody,
                    life: 0,
                    extent: Extent::default(),
                    shown: None,
                };
                segment.slots()
            ],
            segment: Arc::new(segment),
            receivers: Vec::new(),
            retired: false,
            used: Instant::now(),
        };
        let offer = self.claim(&mut entry, 0);
        state.entries.push(entry);
        Ok(offer)
    }

    fn claim(self: &Arc<Self>, entry: &mut Entry, at: usize) -> Offer {
        let slot = &mut entry.slots[at];
        slot.holder = Holder::Sender;
        slot.life = (slot.life + 1) % LIVES;
        slot.shown = None;
        entry.used = Instant::now();
        let (life, extent) = (slot.life, slot.extent);
        Offer::new(
            Arc::clone(self),
            Arc::clone(&entry.segment),
            entry.id,
            at,
            life,
            extent,
        )
    }

    /// For [`Offer::show`]: the lease is `receiver`'s now, who has the descriptor, or gets it by `send`.
    pub(crate) fn show(
        &self,
        id: u32,
        at: usize,
        receiver: u64,
        send: impl FnOnce(&Segment) -> Result<()>,
    ) -> Result<()> {
        let mut state = self.state();
        let Some(entry) = state.entries.iter_mut().find(|entry| entry.id == id) else {
            return Err(ErrorKind::NotFound.into());
        };
        if !entry.receivers.contains(&receiver) {
            send(&entry.segment)?;
            entry.receivers.push(receiver);
        }
        let slot = &mut entry.slots[at];
        slot.shown = Some(receiver);
        // Who had it before may read it still: then it is never written to again, and who lets go of it first is all the same.
        if entry.segment.word(at).again(slot.life) == Standing::Lost {
            entry.retired = true;
        }
        Ok(())
    }

    /// For the offer's end: nobody has the slot any more, or its receiver.
    pub(crate) fn leave(&self, id: u32, at: usize, extent: Extent, is_out: bool) {
        if let Some(entry) = self.state().entries.iter_mut().find(|entry| entry.id == id) {
            let slot = &mut entry.slots[at];
            slot.extent = extent;
            slot.holder = if is_out { Holder::Receiver } else { Holder::Nobody };
        }
    }

    /// The process behind `receiver` is known to be dead. Call it before anything is shown to another because of that.
    pub fn gone(&self, receiver: u64) {
        let mut state = self.state();
        for entry in &mut state.entries {
            if !entry.receivers.contains(&receiver) {
                continue;
            }
            entry.receivers.retain(|other| *other != receiver);
            for (at, slot) in entry.slots.iter_mut().enumerate() {
                if slot.shown != Some(receiver) || slot.holder == Holder::Nobody {
                    continue;
                }
                slot.shown = None;
                let word = entry.segment.word(at);
                match word.standing(slot.life) {
                    Standing::Back => {}
                    Standing::Offered if slot.holder == Holder::Sender || word.withdraw(slot.life) => {}
                    // Its own children may have the mapping still, and the lease cannot come back.
                    _ => entry.retired = true,
                }
            }
        }
        let old = state.weed(self.limits, None);
        drop(state);
        discard(old);
    }

    /// Gives back what nothing has been put into for `idle`.
    pub fn trim(&self, idle: Duration) {
        let old = self.state().weed(self.limits, Some(idle));
        discard(old);
    }

    /// Whether there is nothing to be trimmed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state().entries.is_empty()
    }

    /// What there is.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let mut figures = Figures::default();
        for entry in &mut self.state().entries {
            entry.sweep();
            figures.segments += 1;
            figures.bytes += entry.bytes();
            figures.out += entry
                .slots
                .iter()
                .filter(|slot| slot.holder != Holder::Nobody)
                .count();
        }
        figures
    }
}
