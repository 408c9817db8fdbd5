//! How a zygote's process is started: `posix_spawn`, with two descriptors at known numbers.

use crate::{Link, Pidfd, checked};
use std::ffi::CString;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The descriptors that a zygote finds open when it begins: the link, and its parent as a pidfd.
pub const LINK_FD: i32 = 3;
/// See [`LINK_FD`].
pub const PARENT_FD: i32 = 4;

/// How a zygote is started.
#[derive(Debug, Clone)]
pub struct Command {
    /// The program, and its arguments.
    pub argv: Vec<CString>,
    /// `NAME=value`.
    pub env: Vec<CString>,
    /// The first message that it gets.
    pub first: Vec<u8>,
}

/// Starts the process. `posix_spawn` does not copy the parent's page tables, which a fork of a large parent would.
pub(crate) fn spawn(command: &Command) -> Result<(Link, Pidfd, i32)> {
    let (ours, theirs) = Link::pair()?;
    let parent = Pidfd::open(std::process::id().cast_signed())?;
    // Out of the way of the numbers that they get.
    let theirs = above(theirs.as_fd())?;
    let parent = above(parent.as_fd())?;
    let pointers = |strings: &[CString]| -> Vec<*mut libc::c_char> {
        let strings = strings.iter().map(|text| text.as_ptr().cast_mut());
        strings.chain([std::ptr::null_mut()]).collect()
    };
    let (argv, env) = (pointers(&command.argv), pointers(&command.env));
    let Some(program) = command.argv.first() else {
        return Err(ErrorKind::InvalidInput.into());
    };
    let mut pid = 0;
    // SAFETY: both objects are initialised before they are used and destroyed after it; the strings outlive the call.
    let end = unsafe {
        let mut actions: libc::posix_spawn_file_actions_t = std::mem::zeroed();
        let mut attributes: libc::posix_spawnattr_t = std::mem::zeroed();
        libc::posix_spawn_file_actions_init(&raw mut actions);
        libc::posix_spawnattr_init(&raw mut attributes);
        let null = c"/dev/null".as_ptr();
        libc::posix_spawn_file_actions_addopen(&raw mut actions, 0, null, libc::O_RDONLY, 0);
        libc::posix_spawn_file_actions_adddup2(&raw mut actions, theirs.as_raw_fd(), LINK_FD);
        libc::posix_spawn_file_actions_adddup2(&raw mut actions, parent.as_raw_fd(), PARENT_FD);
        // A Ctrl-C while the interpreter starts is not the zygote's: it unblocks SIGINT when it ignores it.
        let mut blocked: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut blocked);
        libc::sigaddset(&raw mut blocked, libc::SIGINT);
        libc::posix_spawnattr_setsigmask(&raw mut attributes, &raw const blocked);
        #[expect(clippy::cast_possible_truncation, reason = "the flag is 8")]
        libc::posix_spawnattr_setflags(&raw mut attributes, libc::POSIX_SPAWN_SETSIGMASK as _);
        let end = libc::posix_spawn(
            &raw mut pid,
            program.as_ptr(),
            &raw const actions,
            &raw const attributes,
            argv.as_ptr(),
            env.as_ptr(),
        );
        libc::posix_spawnattr_destroy(&raw mut attributes);
        libc::posix_spawn_file_actions_destroy(&raw mut actions);
        end
    };
    if end != 0 {
        return Err(Error::from_raw_os_error(end));
    }
    Ok((ours, Pidfd::open(pid)?, pid))
}

/// The same descriptor with a number that is not one of the first.
fn above(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    // SAFETY: a plain call on an open descriptor; the new one is ours.
    unsafe {
        let fd = libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 10);
        Ok(OwnedFd::from_raw_fd(checked(fd)?))
    }
}
