//! Processes as the system has them: watched by pidfd, handed descriptors, measured. No Python.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`link`] | messages with descriptors between two processes of one family |
//! | [`pidfd`] | a process by a descriptor that means no other one, ever |
//! | [`memory`] | how much of a process is in memory |
//! | `inherited` | what a fork of the parent must not keep |
//! | [`zygote`] | the process that forks workers: its parent's side |
//! | [`spawn`] | how that process is started |
//! | [`nursery`] | the same: its own side |
//! | `egg` | what it has forked, before that is a worker |

#![warn(missing_docs)]

mod egg;
mod inherited;
pub mod link;
pub mod memory;
pub mod nursery;
pub mod pidfd;
pub mod spawn;
pub mod zygote;

pub use egg::{Egg, Errand};
pub use link::{Link, Message};
pub use memory::{Meter, Usage};
pub use nursery::{Nursery, Request};
pub use pidfd::Pidfd;
pub use spawn::Command;
pub use zygote::{Worker, Zygote};

use std::io::{Error, Result};

/// The result of a call that says -1 where it failed.
fn checked(end: libc::c_int) -> Result<libc::c_int> {
    if end < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(end)
    }
}

/// Calls again while a signal cut it short.
fn again(mut call: impl FnMut() -> isize) -> Result<usize> {
    loop {
        if let Ok(value) = usize::try_from(call()) {
            return Ok(value);
        }
        let error = Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINTR) {
            return Err(error);
        }
    }
}
