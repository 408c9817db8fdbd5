//! Forks counted, so that what a dead thread left behind is recognised.
//!
//! After `fork()` only the calling thread exists in the child. A waiter of another thread that stood in a
//! list is a pointer into a stack that libc may hand out again, and a latch that such a thread held is
//! never released. So lists and held latches carry the generation in which they were written; one with
//! an older generation is empty, or free. The child's handler only counts; nothing is walked.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

static GENERATION: AtomicU32 = AtomicU32::new(1);
static WATCHED: Once = Once::new();

extern "C" fn child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Counts the forks of this process from now on. Called once, when the engine is loaded.
pub fn watch() {
    WATCHED.call_once(|| {
        // SAFETY: `child` is async-signal-safe: it does one atomic addition.
        unsafe { libc::pthread_atfork(None, None, Some(child)) };
    });
}

/// The generation of this process: one more in a forked child than in its parent. Never 0.
#[inline]
#[must_use]
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}
