//! Who this process is, and whether another one still lives.
//!
//! A process is its id and its start time, so that one which got the id of a dead one is told from it. What has ended and
//! has not been waited for (a zombie) lives no more.
//!
//! What this process is, is kept on a page that the kernel wipes in a forked child (`MADV_WIPEONFORK`): so it is
//! right after any kind of fork, also one that libc's handlers do not hear of.

use crate::owner::Identity;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// This process.
#[inline]
#[must_use]
pub fn me() -> Identity {
    static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(std::ptr::null_mut());
    let page = PAGE.load(Ordering::Acquire);
    if !page.is_null() {
        // SAFETY: the page is mapped for ever.
        let known = unsafe { &*page }.load(Ordering::Relaxed);
        if let Some(me) = Identity::from_word(known) {
            return me;
        }
    }
    ask(&PAGE)
}

#[cold]
fn ask(page: &AtomicPtr<AtomicU64>) -> Identity {
    let pid = std::process::id();
    let start = stat(pid.cast_signed()).map_or(0, |(_, start)| start);
    let me = Identity::new(pid, start);
    let mut at = page.load(Ordering::Acquire);
    if at.is_null() {
        at = wiped_page();
        if at.is_null() {
            return me;
        }
        if let Err(other) =
            page.compare_exchange(std::ptr::null_mut(), at, Ordering::AcqRel, Ordering::Acquire)
        {
            // SAFETY: ours, and nobody has seen it.
            unsafe { libc::munmap(at.cast(), 4096) };
            at = other;
        }
    }
    // SAFETY: the page is mapped for ever.
    unsafe { &*at }.store(me.0, Ordering::Relaxed);
    me
}

/// A page that a forked child finds zeroed; null if there is none to be had.
fn wiped_page() -> *mut AtomicU64 {
    // SAFETY: a new private mapping; it is given back if it cannot be what it has to be.
    unsafe {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let page = libc::mmap(std::ptr::null_mut(), 4096, access, flags, -1, 0);
        if page == libc::MAP_FAILED {
            return std::ptr::null_mut();
        }
        if libc::madvise(page, 4096, libc::MADV_WIPEONFORK) != 0 {
            libc::munmap(page, 4096);
            return std::ptr::null_mut();
        }
        page.cast()
    }
}

/// Whether that process lives. True where it cannot be told.
#[must_use]
pub fn is_alive(who: Identity) -> bool {
    if who == me() {
        return true;
    }
    match stat(who.pid()) {
        Some((state, start)) => start == who.start() && !matches!(state, b'Z' | b'X' | b'x'),
        None => is_there(who.pid()),
    }
}

/// As [`is_alive`], cheaper: takes a process that got the id of a dead one for it.
#[must_use]
pub fn seems_alive(who: Identity) -> bool {
    if who == me() {
        return true;
    }
    // SAFETY: plain calls; the descriptor is new, ours, and closed.
    unsafe {
        let pidfd = libc::syscall(libc::SYS_pidfd_open, who.pid(), 0);
        let Ok(pidfd) = libc::c_int::try_from(pidfd) else {
            return true;
        };
        if pidfd < 0 {
            return std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH);
        }
        let mut poll = libc::pollfd {
            fd: pidfd,
            events: libc::POLLIN,
            revents: 0,
        };
        let ended = libc::poll(&raw mut poll, 1, 0) == 1;
        libc::close(pidfd);
        !ended
    }
}

/// Where `/proc` says nothing.
fn is_there(pid: i32) -> bool {
    // SAFETY: signal 0 is not sent.
    let end = unsafe { libc::kill(pid, 0) };
    end == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// State and start time of a process. The name before them may hold any character, also a parenthesis.
fn stat(pid: i32) -> Option<(u8, u32)> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after = text.iter().rposition(|byte| *byte == b')')? + 2;
    let fields = std::str::from_utf8(text.get(after..)?).ok()?;
    let mut fields = fields.split(' ');
    let state = *fields.next()?.as_bytes().first()?;
    // The state is the third field, the start time the 22nd.
    let start: u64 = fields.nth(18)?.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "the lower half tells them apart")]
    Some((state, start as u32))
}
