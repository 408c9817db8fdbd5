//! Who watches the rings, and when the bell is to ring.
//!
//! A worker that publishes a result rings if the bell says ASLEEP, which costs it a system call and the machine a
//! switch to the reader. So the bell says that only where nobody else would look:
//!
//! | the reader | the bell | who finds a result |
//! | --- | --- | --- |
//! | runs | any | it does, before it sleeps |
//! | sleeps *deeply* (as long as it takes) | ASLEEP, and the rings were looked at after that | the reader, rung |
//! | *naps* (a millisecond or two) | AWAKE | a caller that waits, as it did before; at the latest the reader, when it wakes |
//!
//! A caller that waits says AWAKE while it looks itself, and before it stops looking either has what it
//! waited for while the reader naps, or says ASLEEP and looks once more. So nothing that is published is ever unseen
//! for longer than a nap. The reader naps only while callers find their results themselves and calls are under way:
//! an idle pool has a reader that sleeps deeply.

use super::Driver;
use super::inside::News;
use plait_core::clock;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// A submitter reads the rings each so many calls.
pub const TURN: u64 = 16;

/// How the reader sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Sleep {
    None = 0,
    Nap = 1,
    Deep = 2,
}

/// Who watches.
#[derive(Debug, Default)]
pub struct Watchers {
    callers: AtomicU32,
    reader: AtomicU32,
    /// Whether callers lately found their results themselves.
    find: AtomicBool,
}

impl Watchers {
    /// Whether a caller looks now.
    #[must_use]
    pub fn caller_looks(&self) -> bool {
        self.callers.load(Ordering::SeqCst) != 0
    }

    /// Whether callers find their results themselves.
    #[must_use]
    pub fn callers_find(&self) -> bool {
        self.find.load(Ordering::Relaxed)
    }

    /// Notes whether callers do.
    pub fn note(&self, find: bool) {
        if self.find.load(Ordering::Relaxed) != find {
            self.find.store(find, Ordering::Relaxed);
        }
    }

    /// How the reader sleeps from now on. Stored before the bell is set.
    pub fn reader_sleeps(&self, how: Sleep) {
        self.reader.store(how as u32, Ordering::SeqCst);
    }
}

impl Driver {
    /// A caller begins to look.
    #[inline]
    pub fn begin_to_look(&self) {
        self.watchers.callers.fetch_add(1, Ordering::SeqCst);
        self.bell.rouse();
    }

    /// A caller stops looking; `found`: it has what it waited for. What came at the last moment is among the news.
    #[inline]
    pub fn stop_looking(&self, found: bool, news: &mut News) {
        let others = self.watchers.callers.fetch_sub(1, Ordering::SeqCst) - 1;
        self.watchers.note(found);
        if others > 0 || found && self.watchers.reader.load(Ordering::SeqCst) == Sleep::Nap as u32 {
            return;
        }
        self.bell.doze();
        let mut inside = self.inside.lock();
        if inside.has_records() {
            let inside = &mut *inside;
            inside.drain(clock::now(), news);
            inside.publish(news);
        }
    }

    /// Wakes the reader, however it sleeps.
    pub fn wake_reader(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: eight bytes to an eventfd of ours. It can only fail where it is full: then the reader is awake soon anyway.
        let _sent = unsafe { libc::write(self.eventfd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}
