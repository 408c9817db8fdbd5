//! The zygote's own side: waits for requests, reaps what it has forked, and ends when its parent is gone.
//!
//! Forking takes longer than anything else that happens until a worker is there, so it is done ahead: one *spare* waits, forked
//! and half way to being a worker, for the next request, which is handed to it as it is. It is replaced a moment later
//! ([`LULL`]), not at once: the worker that begins has a use for the processor.
//!
//! ```text
//! request ──► is there a spare? ── no: fork one (Python does) ──► parent is told its pid ──► the spare gets the request
//! ```
//!
//! It has one thread and no signal handlers: all that happens is a descriptor that becomes readable. These are the link, the parent (its pidfd: a
//! fork of the parent may hold the other end of the link, so the link's end alone would not tell) and the workers.
//!
//! - The parent is gone: workers whose links have closed end by themselves if they are between two calls; after [`GRACE`] the others are
//!   killed. Then the zygote ends.
//! - The link is closed and the parent lives (it has given up this zygote, or become another program): no more
//!   requests, but the workers are watched until the last one has ended.

use crate::egg::{Egg, split};
use crate::zygote::{ADOPT, EXITED, FAILED, FIRST, FORK, STARTED};
use crate::{Link, Message, Pidfd, again};
use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

/// How long workers may take to notice that their parent is gone, before they are killed.
pub const GRACE: Duration = Duration::from_millis(500);
/// How long nothing is asked for, before a spare is forked.
pub const LULL: Duration = Duration::from_millis(2);

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
    spare: Option<Spare>,
    /// What [`nest`](Self::nest) has prepared for the next one.
    nest: Option<(Link, Link)>,
    /// Requests that wait for a spare.
    asked: VecDeque<Message>,
    /// When a spare is to be forked, if none is asked for before.
    due: Option<Instant>,
}

#[derive(Debug)]
struct Child {
    ticket: u64,
    process: Pidfd,
}

/// A process that will be a worker.
#[derive(Debug)]
struct Spare {
    pid: i32,
    process: Pidfd,
    /// The request is what it is sent, and the only thing; without one it ends.
    link: Link,
}

/// What is to be done for the parent.
#[derive(Debug)]
pub enum Request {
    /// The first message: what to load.
    Prepare(Vec<u8>),
    /// Fork a spare.
    Fork,
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
            spare: None,
            nest: None,
            asked: VecDeque::new(),
            due: None,
        }
    }

    /// Prepares for a fork, which is to follow.
    ///
    /// # Errors
    /// The system's.
    pub fn nest(&mut self) -> Result<()> {
        self.nest = Some(Link::pair()?);
        Ok(())
    }

    /// Whether a request waits for the next spare.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Closes what is the zygote's: for a process that has just been forked.
    ///
    /// # Errors
    /// `NotFound`: nobody has called [`nest`](Self::nest).
    pub fn leave(self) -> Result<Egg> {
        let (_, link) = self.nest.ok_or(ErrorKind::NotFound)?;
        Ok(Egg::new(self.parent, link))
    }

    /// What is to be done next; waits for it, and reaps meanwhile. `None`: it is time to end.
    ///
    /// # Errors
    /// The system's.
    pub fn request(&mut self) -> Result<Option<Request>> {
        loop {
            if self.link.is_none() {
                self.let_go();
                // The end of the link may be the first that is seen of the parent's end.
                self.adopted.retain(|process| !process.has_ended());
                if self.children.is_empty() && self.adopted.is_empty() {
                    return Ok(None);
                }
            }
            if self.spare.is_none() && !self.asked.is_empty() {
                return Ok(Some(Request::Fork));
            }
            self.poll()?;
            if self.parent.has_ended() {
                self.end();
                return Ok(None);
            }
            self.reap();
            self.flush();
            if let Some(message) = self.receive() {
                if let Some(request) = self.understand(message) {
                    return Ok(Some(request));
                }
                self.hand_over();
            } else if self.is_due() {
                return Ok(Some(Request::Fork));
            }
        }
    }

    /// Whether nothing has been asked for since a spare was used. Says so once: if the fork fails it is not tried for ever.
    fn is_due(&mut self) -> bool {
        let due = self.due.take_if(|due| Instant::now() >= *due);
        due.is_some() && self.spare.is_none()
    }

    /// Gives the spare the oldest request. The parent is told of it first: so a request without an answer has started nobody.
    fn hand_over(&mut self) {
        if self.asked.is_empty() {
            return;
        }
        let Some(spare) = self.spare.take() else { return };
        let Some(message) = self.asked.pop_front() else {
            return;
        };
        self.due = Some(Instant::now() + LULL);
        let Some((ticket, _)) = split(&message.bytes) else {
            return;
        };
        // Room is made by the parent, which waits for this very answer.
        let answer = report(STARTED, ticket, spare.pid);
        let told = self
            .link
            .as_ref()
            .map(|link| link.send(&answer, &[spare.process.as_fd()]));
        if !matches!(told, Some(Ok(()))) {
            self.link = None;
        }
        let fds: Vec<_> = message.fds.iter().map(AsFd::as_fd).collect();
        if self.link.is_none() || spare.link.try_send(&message.bytes, &fds).is_err() {
            // Nobody knows of it; or it is dead already, or has to be: the report about it follows.
            _ = spare.process.signal(libc::SIGKILL);
        }
        self.children.push(Child {
            ticket,
            process: spare.process,
        });
    }

    /// Ends the spare, which nobody will need.
    fn let_go(&mut self) {
        (self.due, self.nest) = (None, None);
        self.asked.clear();
        if let Some(spare) = self.spare.take() {
            _ = spare.process.signal(libc::SIGKILL);
            _ = spare.process.wait(GRACE);
            _ = spare.process.reap();
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
        let spare = self.spare.iter().map(|spare| &spare.process);
        let processes = children.chain(spare);
        wanted.extend(processes.map(|process| entry(process.as_raw_fd(), libc::POLLIN)));
        let count = libc::nfds_t::try_from(wanted.len()).map_err(Error::other)?;
        let timeout = match self.due {
            _ if !self.asked.is_empty() => 0,
            None => -1,
            Some(due) => {
                let left = due.saturating_duration_since(Instant::now());
                i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
            }
        };
        // SAFETY: the entries are alive, and as many as it says.
        again(|| unsafe { libc::poll(wanted.as_mut_ptr(), count, timeout) as isize }).map(drop)
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
            FIRST => {
                self.due = Some(Instant::now() + LULL);
                Some(Request::Prepare(rest.to_vec()))
            }
            FORK => {
                self.asked.push_back(message);
                None
            }
            ADOPT => {
                self.adopted.retain(|process| !process.has_ended());
                self.adopted.extend(message.fds.into_iter().map(Pidfd::from));
                None
            }
            _ => None,
        }
    }

    /// The spare has been forked.
    ///
    /// # Errors
    /// The system's. The process has been killed then.
    pub fn forked(&mut self, pid: i32) -> Result<()> {
        let (link, theirs) = self.nest.take().ok_or(ErrorKind::NotFound)?;
        drop(theirs);
        match Pidfd::open(pid) {
            Ok(process) => {
                self.spare = Some(Spare { pid, process, link });
                self.hand_over();
                Ok(())
            }
            Err(error) => {
                // SAFETY: it is a child that nobody has reaped, so the number is its own.
                unsafe {
                    libc::kill(pid, libc::SIGKILL);
                    libc::waitpid(pid, std::ptr::null_mut(), 0);
                }
                self.failed(error.raw_os_error().unwrap_or(libc::EIO));
                Err(error)
            }
        }
    }

    /// The spare could not be forked, because of this error of the system; if one was asked for, the parent is told.
    pub fn failed(&mut self, errno: i32) {
        self.nest = None;
        if let Some((ticket, _)) = self.asked.pop_front().as_ref().and_then(|its| split(&its.bytes)) {
            self.tell(report(FAILED, ticket, errno));
        }
    }

    fn reap(&mut self) {
        let mut ended = Vec::new();
        if self
            .spare
            .as_ref()
            .is_some_and(|its| !matches!(its.process.reap(), Ok(None)))
        {
            // Somebody has ended it. Not replaced before one is asked for, or the two would go on for ever.
            self.spare = None;
        }
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
        self.let_go();
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
