//! The zygote's own side: waits for requests, reaps what it has forked, and ends when its parent is gone.
//!
//! It has one thread and no signal handlers: all that happens is a descriptor that becomes readable. These are the link, the parent (its pidfd: a
//! fork of the parent may hold the other end of the link, so the link's end alone would not tell) and the workers.
//!
//! - The parent is gone: workers whose links have closed end by themselves if they are between two calls; after [`GRACE`] the others are
//!   killed. Then the zygote ends.
//! - The link is closed and the parent lives (it has given up this zygote, or become another program): no more
//!   requests, but the workers are watched until the last one has ended.

use crate::zygote::{ADOPT, EXITED, FAILED, FIRST, FORK, STARTED};
use crate::{Link, Message, Pidfd, again};
use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long workers may take to notice that their parent is gone, before they are killed.
pub const GRACE: Duration = Duration::from_millis(500);

/// The zygote's descriptors, and what it knows of its workers.
#[derive(Debug)]
pub struct Nursery {
    link: Option<Link>,
    parent: Pidfd,
    children: Vec<Child>,
    /// Workers of a zygote that has died, which are not ours to reap.
    adopted: Vec<Pidfd>,
    /// Reports that the link had no room for.
    waiting: VecDeque<Vec<u8>>,
}

#[derive(Debug)]
struct Child {
    ticket: u64,
    process: Pidfd,
}

/// What the parent asks for.
#[derive(Debug)]
pub enum Request {
    /// The first message: what to load.
    Prepare(Vec<u8>),
    /// Fork a worker.
    Fork {
        /// Which request this is.
        ticket: u64,
        /// What the worker makes of itself.
        data: Vec<u8>,
        /// Its descriptors.
        fds: Vec<OwnedFd>,
    },
}

impl Nursery {
    /// Serves the parent at the other end of the link.
    #[must_use]
    pub fn new(link: Link, parent: Pidfd) -> Self {
        Self {
            link: Some(link),
            parent,
            children: Vec::new(),
            adopted: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Closes everything but the parent's pidfd: for a worker that has just been forked.
    #[must_use]
    pub fn into_parent(self) -> Pidfd {
        self.parent
    }

    /// The next request; waits for it, and reaps meanwhile. `None`: it is time to end.
    ///
    /// # Errors
    /// The system's.
    pub fn request(&mut self) -> Result<Option<Request>> {
        loop {
            if self.link.is_none() {
                // The end of the link may be the first that is seen of the parent's end.
                self.adopted.retain(|process| !process.has_ended());
                if self.children.is_empty() && self.adopted.is_empty() {
                    return Ok(None);
                }
            }
            self.poll()?;
            if self.parent.has_ended() {
                self.end();
                return Ok(None);
            }
            self.reap();
            self.flush();
            if let Some(message) = self.receive()
                && let Some(request) = self.understand(message)
            {
                return Ok(Some(request));
            }
        }
    }

    /// Sleeps until something can be done.
    fn poll(&self) -> Result<()> {
        let entry = |fd: i32, events| libc::pollfd {
            fd,
            events,
            revents: 0,
        };
        let mut wanted = vec![entry(self.parent.as_raw_fd(), libc::POLLIN)];
        if let Some(link) = &self.link {
            let events = if self.waiting.is_empty() {
                libc::POLLIN
            } else {
                libc::POLLIN | libc::POLLOUT
            };
            wanted.push(entry(link.as_raw_fd(), events));
        } else {
            let adopted = self.adopted.iter();
            wanted.extend(adopted.map(|process| entry(process.as_raw_fd(), libc::POLLIN)));
        }
        let children = self.children.iter().map(|child| &child.process);
        wanted.extend(children.map(|process| entry(process.as_raw_fd(), libc::POLLIN)));
        let count = libc::nfds_t::try_from(wanted.len()).map_err(Error::other)?;
        // SAFETY: the entries are alive, and as many as it says.
        again(|| unsafe { libc::poll(wanted.as_mut_ptr(), count, -1) as isize }).map(drop)
    }

    fn receive(&mut self) -> Option<Message> {
        match self.link.as_ref()?.try_recv() {
            Ok(Some(message)) => Some(message),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            _ => {
                self.link = None;
                None
            }
        }
    }

    fn understand(&mut self, message: Message) -> Option<Request> {
        let (kind, rest) = message.bytes.split_first()?;
        match *kind {
            FIRST => Some(Request::Prepare(rest.to_vec())),
            FORK => {
                let (ticket, data) = rest.split_first_chunk()?;
                Some(Request::Fork {
                    ticket: u64::from_le_bytes(*ticket),
                    data: data.to_vec(),
                    fds: message.fds,
                })
            }
            ADOPT => {
                self.adopted.retain(|process| !process.has_ended());
                self.adopted.extend(message.fds.into_iter().map(Pidfd::from));
                None
            }
            _ => None,
        }
    }

    /// The request's worker has this number; the parent is told.
    ///
    /// # Errors
    /// The system's. The worker has been killed then, and the parent told what went wrong.
    pub fn forked(&mut self, ticket: u64, pid: i32) -> Result<()> {
        let process = match Pidfd::open(pid) {
            Ok(process) => process,
            Err(error) => {
                // SAFETY: it is a child that nobody has reaped, so the number is its own.
                unsafe {
                    libc::kill(pid, libc::SIGKILL);
                    libc::waitpid(pid, std::ptr::null_mut(), 0);
                }
                self.failed(ticket, error.raw_os_error().unwrap_or(libc::EIO));
                return Err(error);
            }
        };
        if let Some(link) = &self.link {
            // Room is made by the parent, which waits for this very answer.
            if link
                .send(&report(STARTED, ticket, pid), &[process.as_fd()])
                .is_err()
            {
                self.link = None;
            }
        }
        self.children.push(Child { ticket, process });
        Ok(())
    }

    /// The request could not be met, because of this error of the system; the parent is told.
    pub fn failed(&mut self, ticket: u64, errno: i32) {
        self.tell(report(FAILED, ticket, errno));
    }

    fn reap(&mut self) {
        let mut ended = Vec::new();
        self.children.retain(|child| match child.process.reap() {
            Ok(None) => true,
            Ok(Some(status)) => {
                ended.push(report(EXITED, child.ticket, status));
                false
            }
            Err(_) => {
                ended.push(report(EXITED, child.ticket, 255)); // somebody else has reaped it
                false
            }
        });
        for report in ended {
            self.tell(report);
        }
    }

    fn tell(&mut self, report: Vec<u8>) {
        self.waiting.push_back(report);
        self.flush();
    }

    fn flush(&mut self) {
        while let (Some(report), Some(link)) = (self.waiting.front(), &self.link) {
            match link.try_send(report, &[]) {
                Ok(()) => _ = self.waiting.pop_front(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.link = None,
            }
        }
    }

    /// The parent is gone: nobody is left behind.
    fn end(&mut self) {
        let deadline = Instant::now() + GRACE;
        let children = self.children.drain(..).map(|child| child.process);
        let mut left: Vec<Pidfd> = children.chain(self.adopted.drain(..)).collect();
        left.retain(|process| {
            let time = deadline.saturating_duration_since(Instant::now());
            !process.wait(time).unwrap_or(true)
        });
        for process in &left {
            _ = process.signal(libc::SIGKILL);
        }
    }
}

fn report(kind: u8, ticket: u64, number: i32) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend(ticket.to_le_bytes());
    message.extend(number.to_le_bytes());
    message
}

/// Closes every descriptor from this number on: what a parent passes on by accident is not the zygote's, nor its workers'.
pub fn close_from(first: u32) {
    // SAFETY: a plain system call; the caller says that nobody uses them.
    let end = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if end == 0 {
        return;
    }
    // Before Linux 5.9.
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let open: Vec<u32> = open
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for fd in open.into_iter().filter(|fd| *fd >= first) {
        // SAFETY: as above; the listing's own one is closed already, which fails and harms nobody.
        unsafe { libc::close(fd.cast_signed()) };
    }
}
