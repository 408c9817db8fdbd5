//! Many threads are woken in a chain, not all at once, where they would only queue up for the GIL.
//!
//! A thread that waits for the GIL wakes each 5 ms to ask for it, so thousands that were woken at once keep
//! the machine busy with nothing (3,000 waiters of one event: 2.1 s, against 0.3 s in a chain). So a batch
//! notifies its first [`WIDTH`] threads; the rest stand in one list of the process, popped but not notified,
//! and each thread that comes back from its wait notifies the next ([`advance`]).
//!
//! Nobody is forgotten: a thread in the chain leaves it only by being notified, or by its own hand when its wait ends early
//! ([`withdraw`]); and each notified thread advances the chain as soon as it is attached, so there are always
//! [`WIDTH`] on their way while somebody stands in the chain. Without a GIL there is no chain.

use crate::latch::Latch;
use crate::waiter::{WaitList, Waiter};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// So many are notified at once.
pub const WIDTH: usize = 8;

static ENABLED: AtomicBool = AtomicBool::new(false);
static LENGTH: AtomicUsize = AtomicUsize::new(0);
static CHAIN: Latch<WaitList> = Latch::new(WaitList::chain());

/// Wakes in a chain from now on: called once, where there is a GIL.
pub fn enable() {
    ENABLED.store(true, Ordering::Relaxed);
}

pub(crate) fn is_enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

/// Puts a popped thread at the end of the chain.
pub(crate) fn append(node: NonNull<Waiter>) {
    let mut chain = CHAIN.lock();
    if chain.is_empty() {
        LENGTH.store(0, Ordering::Relaxed);
    }
    // SAFETY: a popped node is alive until it is notified, or has withdrawn.
    chain.enqueue(unsafe { node.as_ref() }, false);
    LENGTH.fetch_add(1, Ordering::Relaxed);
}

/// Notifies the next in the chain: called by every thread that was notified, once it is attached.
#[inline]
pub fn advance() {
    if LENGTH.load(Ordering::Relaxed) > 0 {
        advance_slow();
    }
}

#[cold]
fn advance_slow() {
    let mut chain = CHAIN.lock();
    let next = chain.pop(1);
    LENGTH.store(
        if chain.is_empty() {
            0
        } else {
            LENGTH.load(Ordering::Relaxed) - 1
        },
        Ordering::Relaxed,
    );
    drop(chain);
    next.notify();
}

/// Takes `waiter` out of the chain. False if it does not stand there.
pub(crate) fn withdraw(waiter: &Waiter) -> bool {
    let mut chain = CHAIN.lock();
    let was_there = chain.remove(waiter);
    if was_there {
        LENGTH.fetch_sub(1, Ordering::Relaxed);
    }
    was_there
}
