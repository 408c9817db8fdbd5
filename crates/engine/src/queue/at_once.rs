//! What can be done in one native section: no Python, no wait.
//!
//! All of these are called attached. Each says when it could not do it; then [`super::operations`] does.

use super::section::{enter, leave};
use super::state::Queue;
use crate::held::Held;
use plait_core::Batch;
use pyo3::ffi::PyObject;
use std::sync::atomic::Ordering;

impl Queue {
    /// Adds `item`. False if it was not done.
    ///
    /// # Safety
    /// `item` is alive, and the thread attached.
    #[inline]
    pub unsafe fn put_at_once(&self, item: *mut PyObject) -> bool {
        if !enter(&self.mutex) {
            return false;
        }
        let mut next = Batch::EMPTY;
        // SAFETY: in a native section; the caller's promise.
        let done = unsafe {
            let ring = self.storage.ring();
            let done = ring.len() < self.room() && ring.has_room();
            if done {
                ring.push(Held::new(item));
                let unfinished = self.unfinished.load(Ordering::Relaxed);
                self.unfinished.store(unfinished + 1, Ordering::Relaxed);
                next = self.not_empty.bell.pop(1);
            }
            done
        };
        leave(&self.mutex);
        next.notify();
        done
    }

    /// Takes an item. None if it was not done.
    #[inline]
    pub fn get_at_once(&self) -> Option<Held> {
        if !enter(&self.mutex) {
            return None;
        }
        // SAFETY: in a native section. (The ring is empty unless the storage is native.)
        let item = unsafe { self.storage.pop_native() };
        let next = if item.is_some() {
            self.not_full.bell.pop(1)
        } else {
            Batch::EMPTY
        };
        leave(&self.mutex);
        next.notify();
        item
    }

    /// One task less. False if it was not done.
    #[inline]
    pub fn task_done_at_once(&self) -> bool {
        if !enter(&self.mutex) {
            return false;
        }
        let unfinished = self.unfinished.load(Ordering::Relaxed);
        let mut all = Batch::EMPTY;
        if unfinished > 0 {
            self.unfinished.store(unfinished - 1, Ordering::Relaxed);
            if unfinished == 1 {
                all = self.all_tasks_done.bell.pop(usize::MAX);
            }
        }
        leave(&self.mutex);
        all.notify();
        unfinished > 0
    }

    /// How many items there are. None if that cannot be said.
    #[inline]
    pub fn len_at_once(&self) -> Option<usize> {
        if !enter(&self.mutex) {
            return None;
        }
        // SAFETY: in a native section.
        let len = self
            .storage
            .is_native()
            .then(|| unsafe { self.storage.ring().len() });
        leave(&self.mutex);
        len
    }
}
