//! All tasks that have not ended: a list through the tasks themselves, which keeps none of them alive.
//!
//! A task is linked when it begins and unlinked when it ends or is deallocated, whichever comes first. The list is cut
//! into shards by the thread that began the task, so that loops in several threads do not meet at one latch where there is no GIL.
//! `asyncio`'s own registry is a WeakSet, whose entry costs as much as the rest of a task.

use super::Task;
use crate::guarded::Guarded;
use crate::held::Held;
#[cfg(not(Py_GIL_DISABLED))]
use pyo3::ffi;
use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A power of two.
const SHARDS: usize = if cfg!(Py_GIL_DISABLED) { 32 } else { 1 };

/// A task's place in a list: changed under the shard's guard only.
#[derive(Debug, Default)]
pub(super) struct Links {
    before: Cell<Option<Link>>,
    after: Cell<Option<Link>>,
    /// One more than the shard; 0 when it is in none.
    shard: AtomicUsize,
}

// SAFETY: the cells are used under the shard's guard.
unsafe impl Sync for Links {}

/// A task in a list: it is unlinked before it is freed.
#[derive(Clone, Copy, Debug)]
struct Link(*mut PyObject);

// SAFETY: dereferenced under the shard's guard only.
unsafe impl Send for Link {}

impl Link {
    /// Its place.
    ///
    /// # Safety
    /// The shard's guard is held, and the result is not used beyond it.
    unsafe fn links<'a>(self) -> &'a Links {
        // SAFETY: what is linked has not been freed; it is a Task.
        unsafe { &crate::hot::this::<Task>(self.0).links }
    }
}

static ALL: [Guarded<Option<Link>>; SHARDS] = [const { Guarded::new(None) }; SHARDS];

/// The shard of this thread.
#[inline]
fn mine() -> usize {
    if SHARDS == 1 {
        return 0;
    }
    thread_local! {
        static SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    SHARD.with(|shard| {
        if shard.get() == usize::MAX {
            shard.set(NEXT.fetch_add(1, Ordering::Relaxed) & (SHARDS - 1));
        }
        shard.get()
    })
}

/// Lists a task that begins.
#[inline]
pub(super) fn link(task: &Bound<'_, Task>) {
    let links = &task.get().links;
    if links.shard.load(Ordering::Relaxed) != 0 {
        return;
    }
    #[cfg(Py_GIL_DISABLED)]
    // SAFETY: the task is alive.
    unsafe {
        try_ref::PyUnstable_EnableTryIncRef(task.as_ptr());
    }
    let shard = mine();
    let mut head = ALL[shard].lock();
    let link = Link(task.as_ptr());
    if let Some(first) = *head {
        // SAFETY: the guard is held.
        unsafe { first.links() }.before.set(Some(link));
    }
    links.before.set(None);
    links.after.set(*head);
    links.shard.store(shard + 1, Ordering::Relaxed);
    *head = Some(link);
}

/// Takes a task out that ends.
#[inline]
pub(crate) fn unlink(task: &Task) {
    let links = &task.links;
    let shard = links.shard.load(Ordering::Relaxed);
    if shard == 0 {
        return;
    }
    let mut head = ALL[shard - 1].lock();
    if links.shard.swap(0, Ordering::Relaxed) == 0 {
        return;
    }
    let (before, after) = (links.before.take(), links.after.take());
    // SAFETY: the guard is held.
    unsafe {
        if let Some(after) = after {
            after.links().before.set(before);
        }
        match before {
            Some(before) => before.links().after.set(after),
            None => *head = after,
        }
    }
}

/// The tasks that have not ended, of all loops.
fn every() -> Vec<Held> {
    let mut found = Vec::new();
    for shard in &ALL {
        let head = shard.lock();
        let mut next = *head;
        while let Some(link) = next {
            found.extend(held(link.0));
            // SAFETY: the guard is held.
            next = unsafe { link.links() }.after.get();
        }
    }
    found
}

/// A reference to a linked task, unless its last one has gone.
#[cfg(not(Py_GIL_DISABLED))]
fn held(task: *mut PyObject) -> Option<Held> {
    // SAFETY: what is linked has not been freed, and the thread is attached.
    unsafe { (ffi::Py_REFCNT(task) > 0).then(|| Held::new(task)) }
}

#[cfg(Py_GIL_DISABLED)]
fn held(task: *mut PyObject) -> Option<Held> {
    // SAFETY: what is linked has not been freed, since that needs the guard; this count is safe against its last one going.
    unsafe { (try_ref::PyUnstable_TryIncRef(task) != 0).then(|| Held::from_owned(task)) }
}

#[cfg(Py_GIL_DISABLED)]
mod try_ref {
    use pyo3::ffi::PyObject;
    use std::ffi::c_int;

    unsafe extern "C" {
        pub fn PyUnstable_EnableTryIncRef(object: *mut PyObject);
        pub fn PyUnstable_TryIncRef(object: *mut PyObject) -> c_int;
    }
}

/// The tasks that have not ended, of all loops.
pub fn tasks(py: Python<'_>) -> Vec<Bound<'_, Task>> {
    every()
        .into_iter()
        // SAFETY: what is listed is a Task.
        .map(|task| unsafe { task.into_bound(py).cast_into_unchecked() })
        .collect()
}
