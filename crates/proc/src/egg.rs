//! A process that a zygote has forked, before it knows what it is to be.

use crate::{Link, Pidfd};
use std::io::Result;
use std::os::fd::OwnedFd;

/// What a worker is to be.
#[derive(Debug)]
pub struct Errand {
    /// Which request this was.
    pub ticket: u64,
    /// What the worker makes of itself.
    pub data: Vec<u8>,
    /// Its descriptors.
    pub fds: Vec<OwnedFd>,
}

/// What a process that has just been forked keeps of the zygote.
#[derive(Debug)]
pub struct Egg {
    /// The zygote's parent, which will be the worker's.
    pub parent: Pidfd,
    link: Link,
}

impl Egg {
    pub(crate) fn new(parent: Pidfd, link: Link) -> Self {
        Self { parent, link }
    }

    /// Waits for what it is to be. `None`: nothing, the zygote is gone or has no use for it.
    ///
    /// # Errors
    /// The system's.
    pub fn wait(&self) -> Result<Option<Errand>> {
        let Some(message) = self.link.recv()? else {
            return Ok(None);
        };
        let Some((ticket, data)) = split(&message.bytes) else {
            return Ok(None);
        };
        Ok(Some(Errand {
            ticket,
            data: data.to_vec(),
            fds: message.fds,
        }))
    }
}

/// Ticket and data of a request.
pub(crate) fn split(request: &[u8]) -> Option<(u64, &[u8])> {
    let (ticket, data) = request.get(1..)?.split_first_chunk()?;
    Some((u64::from_le_bytes(*ticket), data))
}
