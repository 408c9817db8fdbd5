//! A worker whose parent is gone ends, whatever it is doing, without a thread that watches.
//!
//! Facts: a socket with `O_ASYNC` sends a signal when its other end is closed, which it is when the parent is gone, however it went (a process that
//! the parent has forked since does not have that end: `plait_proc::Link::pair`). `PR_SET_PDEATHSIG` sends a signal when
//! the *thread* ends that made this process, and it says nothing of a parent that died before it was set. So both are
//! set, and the handler looks for itself: it ends the process if the link is at its end, or if its parent was that of the pool and is another one
//! now. A zygote or a fork server is no such parent: its workers go on without it.
//!
//! A worker that is stopped hears nothing; one of a zygote is killed by that.

use super::serve;
use plait_proc::Link;
use std::io::{Error, Result};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, Ordering};

/// The parent's number, if it is this process's own parent; else 0.
static PARENT: AtomicI32 = AtomicI32::new(0);
static ITSELF: AtomicI32 = AtomicI32::new(0);
static LINK: AtomicI32 = AtomicI32::new(-1);

/// The status of a worker that nobody will ask.
const STATUS: libc::c_int = 1;

/// The signal that makes a worker look.
fn signal() -> libc::c_int {
    libc::SIGRTMIN() + 6
}

/// Whether the parent is gone.
pub fn is_orphan() -> bool {
    let mut link = libc::pollfd {
        fd: LINK.load(Ordering::Relaxed),
        events: libc::POLLRDHUP,
        revents: 0,
    };
    let parent = PARENT.load(Ordering::Relaxed);
    // SAFETY: one entry, alive; all of this may be called in a handler.
    unsafe {
        parent != 0 && libc::getppid() != parent
            || libc::poll(&raw mut link, 1, 0) > 0 && link.revents & (libc::POLLHUP | libc::POLLRDHUP) != 0
    }
}

extern "C" fn look(_: libc::c_int) {
    // SAFETY: these may be called in a handler; errno is put back for the code that was interrupted.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        if libc::getpid() == ITSELF.load(Ordering::Relaxed) && is_orphan() {
            serve::vanish(STATUS);
        }
        *errno = before;
    }
}

/// From now on this process ends when its parent does.
pub fn watch(link: &Link) -> Result<()> {
    LINK.store(link.as_raw_fd(), Ordering::Relaxed);
    // SAFETY: plain system calls; the handler does what a handler may.
    unsafe {
        let parent = libc::getppid();
        PARENT.store(if maker(link) == parent { parent } else { 0 }, Ordering::Relaxed);
        ITSELF.store(libc::getpid(), Ordering::Relaxed);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = look as *const () as usize;
        action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        let fd = link.as_raw_fd();
        let flags = libc::fcntl(fd, libc::F_GETFL);
        if libc::sigaction(signal(), &raw const action, std::ptr::null_mut()) != 0
            || libc::fcntl(fd, libc::F_SETOWN, libc::getpid()) != 0
            || libc::fcntl(fd, F_SETSIG, signal()) != 0
            || libc::fcntl(fd, libc::F_SETFL, flags | libc::O_ASYNC) != 0
            || libc::prctl(libc::PR_SET_PDEATHSIG, signal()) != 0
        {
            return Err(Error::last_os_error());
        }
    }
    // It may have gone while this was set up; then nothing would be sent any more.
    if is_orphan() {
        serve::vanish(STATUS);
    }
    Ok(())
}

/// The process that has made the link: the pool's. 0 if it cannot be said.
fn maker(link: &Link) -> libc::pid_t {
    let mut made = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    #[expect(clippy::cast_possible_truncation, reason = "twelve bytes")]
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: room for what is asked, and its length.
    unsafe {
        libc::getsockopt(
            link.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut made).cast(),
            &raw mut length,
        );
    }
    made.pid
}

const F_SETSIG: libc::c_int = 10;
