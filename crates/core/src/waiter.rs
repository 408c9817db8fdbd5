//! The node of a waiting thread or task, the list that it stands in, and the batch to be woken.
//!
//! # Who may touch what
//! - [`Waiter::listed`]: only under the latch (an atomic because its own thread may look, under the latch, while
//!   the one who popped it follows the links of the batch).
//! - [`Waiter::links`]: while listed, only under the latch of the list that the waiter stands in; after the
//!   waiter has been popped, only the one who popped it, until it has notified.
//! - [`Waiter::state`]: anyone. It goes [`WAITING`] → [`PARKED`] → (back to waiting) by its own thread, and to
//!   [`NOTIFIED`] by the one who popped it, once for each time in a list.
//!
//! # Why no wake-up is lost
//! A waiter is put in the list under the latch, after the site has looked again at its word. Whoever
//! changes the word so that somebody may go on takes the latch and pops: it finds the waiter, or the waiter finds
//! the change. Before the thread sleeps it swaps its state from waiting to parked; the futex sleeps
//! only while the state is parked. The notifier swaps in notified and wakes the futex if it saw parked.
//!
//! # How long a node has to live
//! A thread's node lies on its stack. The thread goes on as soon as it reads notified, so the notifier
//! reads the next link before, and nothing after, its swap; the wake uses the address only. A thread
//! that wants to leave early and finds itself popped waits for notified ([`Waiter::settle`]); that takes
//! nanoseconds, because a batch notifies its threads before it runs any task's hook; one that stands in the
//! [chain](crate::chain) takes itself out.
//! A task's node is owned by the engine; being in a list counts as one reference, which the hook takes over.

use crate::batch::Batch;
use crate::clock::Nanos;
use crate::fork;
use crate::futex::{Futex, Woken};
use crate::sync::{AtomicU32, Ordering, Slot, pause};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32 as PlainAtomicU32;

const WAITING: u32 = 0;
pub(crate) const PARKED: u32 = 1;
/// The low bits; above them stand the low bits of [`detaches`] at the time of the notification.
pub(crate) const NOTIFIED: u32 = 2;

/// How often a thread has detached from the interpreter in the engine. A thread that was notified by an
/// attached thread goes on spinning until this has moved, so as not to run into a held GIL.
/// (A plain atomic even under loom: it is advice.)
static DETACHES: PlainAtomicU32 = PlainAtomicU32::new(0);

/// Counts one detaching.
#[inline]
pub fn count_detach() {
    DETACHES.fetch_add(1, std::sync::atomic::Ordering::Release);
}

/// The count of detachings, as far as a notification remembers it.
#[inline]
#[must_use]
pub fn detaches() -> u32 {
    DETACHES.load(std::sync::atomic::Ordering::Relaxed) & (u32::MAX >> 2)
}

/// What resumes a task: called with the popped node, attached, with no latch held; takes over the list's reference.
pub type Hook = unsafe fn(NonNull<Waiter>);

#[derive(Debug, Default)]
pub(crate) struct Links {
    pub(crate) next: Option<NonNull<Waiter>>,
    prev: Option<NonNull<Waiter>>,
}

/// One thread or task that waits, in one list at a time.
#[derive(Debug)]
#[repr(C)]
pub struct Waiter {
    pub(crate) state: Futex,
    pub(crate) hook: Option<Hook>,
    /// The generation of the list that it stands in; 0 when in none.
    listed: AtomicU32,
    links: Slot<Links>,
}

// SAFETY: the links are guarded by the latch of the list; see the module's text.
unsafe impl Send for Waiter {}
// SAFETY: as above.
unsafe impl Sync for Waiter {}

impl Waiter {
    fn new(hook: Option<Hook>) -> Self {
        Self {
            state: Futex::new(WAITING),
            hook,
            listed: AtomicU32::new(0),
            links: Slot::new(Links::default()),
        }
    }

    /// A waiter that is the calling thread.
    #[must_use]
    pub fn thread() -> Self {
        Self::new(None)
    }

    /// A waiter that is resumed by `hook`.
    #[must_use]
    pub fn task(hook: Hook) -> Self {
        Self::new(Some(hook))
    }

    /// Whether it has been notified; if so, [`detaches`] as of then.
    #[inline]
    #[must_use]
    pub fn notified(&self) -> Option<u32> {
        let state = self.state.load(Ordering::Acquire);
        (state & 3 == NOTIFIED).then_some(state >> 2)
    }

    /// Sleeps until notified, until `deadline`, or until a signal has been handled.
    /// `Changed` means notified.
    pub fn park(&self, deadline: Option<Nanos>) -> Woken {
        loop {
            let word = &self.state.word;
            if word
                .compare_exchange(WAITING, PARKED, Ordering::Acquire, Ordering::Acquire)
                .is_err()
                && self.notified().is_some()
            {
                return Woken::Changed;
            }
            let end = self.state.wait(PARKED, deadline);
            if self.notified().is_some() {
                return Woken::Changed;
            }
            if end != Woken::Changed {
                // Not parked any more: a notifier need not wake. If it was faster, it is notified.
                return match word.compare_exchange(PARKED, WAITING, Ordering::Acquire, Ordering::Acquire) {
                    Ok(_) => end,
                    Err(_) => Woken::Changed,
                };
            }
        }
    }

    /// Waits for the notification of a waiter that has been popped; see the module's text.
    pub fn settle(&self) {
        #[cfg(not(loom))]
        if self.notified().is_none() && crate::chain::withdraw(self) {
            self.mark_notified();
        }
        let mut turns = 0_u32;
        while self.notified().is_none() {
            turns += 1;
            if turns.is_multiple_of(64) {
                std::thread::yield_now();
            }
            pause();
        }
    }

    /// Makes a notified waiter ready for another round.
    pub fn rearm(&self) {
        self.state.word.store(WAITING, Ordering::Relaxed);
    }

    /// Marks a popped node as notified: for a task's hook, and for a thread that withdrew from the chain.
    pub fn mark_notified(&self) {
        self.state
            .word
            .store(NOTIFIED | (detaches() << 2), Ordering::Release);
    }

    pub(crate) fn links<R>(&self, f: impl FnOnce(&mut Links) -> R) -> R {
        // SAFETY: the caller holds the latch of the list, or has popped the node.
        self.links.with_mut(|links| f(unsafe { &mut *links }))
    }
}

/// Waiters in order. Kept behind a [`Latch`](crate::Latch).
#[derive(Debug, Default)]
pub struct WaitList {
    head: Option<NonNull<Waiter>>,
    tail: Option<NonNull<Waiter>>,
    /// The fork generation of all that stand here, see [`fork`], with the tag.
    generation: u32,
    /// Tells the chain's nodes from those of other lists.
    tag: u32,
}

/// The tag of the [chain](crate::chain)'s nodes.
#[cfg(not(loom))]
const CHAINED: u32 = 1 << 31;

// SAFETY: the nodes may be touched by whoever holds the latch; see the module's text.
unsafe impl Send for WaitList {}

impl WaitList {
    /// No waiters.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            head: None,
            tail: None,
            generation: 0,
            tag: 0,
        }
    }

    /// The list of the chain.
    #[cfg(not(loom))]
    pub(crate) const fn chain() -> Self {
        Self {
            head: None,
            tail: None,
            generation: 0,
            tag: CHAINED,
        }
    }

    /// Whether nobody waits.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head.is_none() || self.generation != fork::generation() | self.tag
    }

    fn refresh(&mut self) {
        let now = fork::generation() | self.tag;
        if self.generation != now {
            *self = Self {
                head: None,
                tail: None,
                generation: now,
                tag: self.tag,
            };
        }
    }

    /// Puts `waiter` in the list: in front if it stood here before (`again`), else at the end.
    ///
    /// The waiter has to stay where it is until it is popped or removed.
    pub fn enqueue(&mut self, waiter: &Waiter, again: bool) {
        self.refresh();
        let node = NonNull::from(waiter);
        let (head, tail) = (self.head, self.tail);
        waiter.listed.store(self.generation, Ordering::Relaxed);
        waiter.links(|links| {
            *links = if again {
                Links {
                    next: head,
                    prev: None,
                }
            } else {
                Links {
                    next: None,
                    prev: tail,
                }
            };
        });
        // SAFETY: nodes in the list are alive until popped or removed, and we hold the latch.
        unsafe {
            if again {
                self.head = Some(node);
                match head {
                    Some(head) => head.as_ref().links(|links| links.prev = Some(node)),
                    None => self.tail = Some(node),
                }
            } else {
                self.tail = Some(node);
                match tail {
                    Some(tail) => tail.as_ref().links(|links| links.next = Some(node)),
                    None => self.head = Some(node),
                }
            }
        }
    }

    /// Takes `waiter` out. False if it does not stand here (any more).
    pub fn remove(&mut self, waiter: &Waiter) -> bool {
        self.refresh();
        if waiter.listed.load(Ordering::Relaxed) != self.generation {
            return false;
        }
        waiter.listed.store(0, Ordering::Relaxed);
        let (next, prev) = waiter.links(|links| (links.next, links.prev));
        // SAFETY: neighbours in the list are alive, and we hold the latch.
        unsafe {
            match prev {
                Some(prev) => prev.as_ref().links(|links| links.next = next),
                None => self.head = next,
            }
            match next {
                Some(next) => next.as_ref().links(|links| links.prev = prev),
                None => self.tail = prev,
            }
        }
        true
    }

    /// Pops up to `most` waiters from the front. They are to be notified when the latch is released.
    pub fn pop(&mut self, most: usize) -> Batch {
        self.refresh();
        let mut count = 0;
        let mut last = None;
        let mut at = self.head;
        while let Some(node) = at
            && count < most
        {
            // SAFETY: as in `remove`.
            let waiter = unsafe { node.as_ref() };
            waiter.listed.store(0, Ordering::Relaxed);
            at = waiter.links(|links| links.next);
            last = Some(node);
            count += 1;
        }
        let Some(last) = last else {
            return Batch { head: None, count: 0 };
        };
        let batch = Batch {
            head: self.head,
            count,
        };
        self.head = at;
        // SAFETY: as in `remove`.
        unsafe {
            last.as_ref().links(|links| links.next = None);
            match at {
                Some(head) => head.as_ref().links(|links| links.prev = None),
                None => self.tail = None,
            }
        }
        batch
    }
}
