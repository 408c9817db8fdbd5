//! Forks of this process, as the memory that it shares has to know of them.
//!
//! A forked child has the parent's mappings, and copies of the objects that hold leases. It must give none back, since the
//! parent may still read; and the parent must give back none that it held at the fork, since the child may.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// Raised before a fork and after it: odd while one is going on.
static SEEN: AtomicU32 = AtomicU32::new(0);
/// How many forks lie between this process and the one that loaded the library.
static DEPTH: AtomicU32 = AtomicU32::new(0);
static WATCHED: Once = Once::new();

extern "C" fn around() {
    SEEN.fetch_add(1, Ordering::Relaxed);
}

extern "C" fn child() {
    SEEN.fetch_add(1, Ordering::Relaxed);
    DEPTH.fetch_add(1, Ordering::Relaxed);
}

/// Which process this is, and how many forks it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    depth: u32,
    seen: u32,
}

/// What has happened since a [`Moment`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// No fork.
    Nothing,
    /// This process has forked.
    Parent,
    /// This process was forked off.
    Child,
}

impl Moment {
    /// Now.
    pub(crate) fn now() -> Self {
        WATCHED.call_once(|| {
            // SAFETY: both are async-signal-safe: they do atomic additions.
            unsafe { libc::pthread_atfork(Some(around), Some(around), Some(child)) };
        });
        Self {
            depth: DEPTH.load(Ordering::Relaxed),
            seen: SEEN.load(Ordering::Relaxed),
        }
    }

    /// What has happened since. A fork that is going on has happened.
    pub(crate) fn since(self) -> Since {
        if self.depth != DEPTH.load(Ordering::Relaxed) {
            Since::Child
        } else if self.seen % 2 == 1 || self.seen != SEEN.load(Ordering::Relaxed) {
            Since::Parent
        } else {
            Since::Nothing
        }
    }
}
