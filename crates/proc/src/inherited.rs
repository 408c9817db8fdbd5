//! What a fork of the parent must not keep: the parent's ends of the links to its workers.
//!
//! A worker ends when its link does, and a link ends when nobody holds the other end. A child that the program forks has copies of
//! everything, so it would keep all workers from noticing that their parent is gone. So in a forked child each such
//! descriptor is put over by another (`/dev/null`): it stays open, and whoever in the child's memory believes to own it may close it.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

/// A bit for each number that a descriptor may have; larger ones are not looked after.
static MARKED: [AtomicU64; 1024] = [const { AtomicU64::new(0) }; 1024];

fn place(fd: i32) -> Option<(&'static AtomicU64, u64)> {
    let fd = usize::try_from(fd).ok()?;
    Some((MARKED.get(fd / 64)?, 1 << (fd % 64)))
}

/// From now on the descriptor is nothing to a forked child.
pub(crate) fn mark(fd: i32) {
    static WATCHED: Once = Once::new();
    // SAFETY: the handler calls only what is allowed after a fork.
    WATCHED.call_once(|| unsafe {
        libc::pthread_atfork(None, None, Some(child));
    });
    if let Some((word, bit)) = place(fd) {
        word.fetch_or(bit, Ordering::Relaxed);
    }
}

/// The descriptor is about to be closed, or given away.
pub(crate) fn unmark(fd: i32) {
    if let Some((word, bit)) = place(fd) {
        word.fetch_and(!bit, Ordering::Relaxed);
    }
}

extern "C" fn child() {
    let mut null = -1;
    for (at, word) in MARKED.iter().enumerate() {
        let mut bits = word.swap(0, Ordering::Relaxed);
        while bits != 0 {
            let bit = bits.trailing_zeros();
            bits &= bits - 1;
            // SAFETY: open, dup3 and close may be called in a forked child; the number is of a descriptor that was open
            // in the parent when it forked, or is about to be closed there, in which case it is nobody's here.
            unsafe {
                if null < 0 {
                    null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
                }
                #[expect(clippy::cast_possible_truncation, reason = "65,536 bits in all")]
                libc::dup3(null, at as i32 * 64 + bit.cast_signed(), libc::O_CLOEXEC);
            }
        }
    }
    if null >= 0 {
        // SAFETY: it was opened here.
        unsafe { libc::close(null) };
    }
}
