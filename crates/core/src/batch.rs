//! Waiters that were popped: notified in order, after the latch has been released.

use crate::futex::Futex;
use crate::sync::Ordering;
use crate::waiter::{NOTIFIED, PARKED, Waiter, detaches};
use std::ptr::NonNull;

/// Waiters that were popped and have yet to be notified.
#[derive(Debug)]
#[must_use = "popped waiters sleep for ever unless they are notified"]
pub struct Batch {
    pub(crate) head: Option<NonNull<Waiter>>,
    pub(crate) count: usize,
}

/// A thread that sleeps in its futex and has been notified, but not woken.
#[derive(Debug, Clone, Copy)]
#[must_use = "the thread sleeps until it is woken"]
pub struct Unpark(*const Futex);

// SAFETY: only the address is used.
unsafe impl Send for Unpark {}

impl Unpark {
    /// Wakes it.
    pub fn now(self) {
        Futex::wake(self.0);
    }
}

impl Batch {
    /// Nobody.
    pub const EMPTY: Self = Self { head: None, count: 0 };

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Notifies all, in order: threads first, then tasks (whose hooks run Python). No latch may be held.
    #[inline]
    pub fn notify(self) {
        if self.head.is_some() {
            self.notify_with(Unpark::now);
        }
    }

    /// As [`notify`](Batch::notify), but hands the threads that have to be woken from their futex to `unpark`.
    pub fn notify_with(self, mut unpark: impl FnMut(Unpark)) {
        let state = NOTIFIED | (detaches() << 2);
        let mut tasks: Option<NonNull<Waiter>> = None;
        let mut last_task: Option<NonNull<Waiter>> = None;
        let mut at = self.head;
        #[cfg(not(loom))]
        let mut threads = 0;
        while let Some(node) = at {
            // SAFETY: a popped node is alive and ours until it is notified.
            let waiter = unsafe { node.as_ref() };
            at = waiter.links(|links| links.next.take());
            if waiter.hook.is_some() {
                match last_task {
                    // SAFETY: as above: a task's node has not been notified yet.
                    Some(last) => unsafe { last.as_ref() }.links(|links| links.next = Some(node)),
                    None => tasks = Some(node),
                }
                last_task = Some(node);
                continue;
            }
            #[cfg(not(loom))]
            {
                threads += 1;
                if threads > crate::chain::WIDTH && crate::chain::is_enabled() {
                    crate::chain::append(node);
                    continue;
                }
            }
            let futex = &raw const waiter.state;
            if waiter.state.word.swap(state, Ordering::Release) == PARKED {
                unpark(Unpark(futex));
            }
        }
        while let Some(node) = tasks {
            // SAFETY: as above; the hook takes over the list's reference.
            unsafe {
                tasks = node.as_ref().links(|links| links.next.take());
                if let Some(hook) = node.as_ref().hook {
                    hook(node);
                }
            }
        }
    }
}
