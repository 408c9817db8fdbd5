//! The parent's side of a zygote: a process that is exec'd once and forks workers when it is asked to.
//!
//! ```text
//! parent                          zygote                       worker
//!                                 forks one ahead ────────────►  prepares itself, waits
//! request ──FORK ticket, data──►
//! answer  ◄─STARTED, pid, pidfd─  then passes it on ──────────►  goes on
//! status  ◄─EXITED, status──────  reaps ◄───────────────────────  ends
//! ```
//!
//! A request that was sent and not answered when the zygote died has started nobody: a worker goes on only when
//! its zygote has answered, and ends if it cannot have. So such a request may be made again.
//!
//! The zygote's workers are not the parent's children: the zygote reaps them and reports. The zygote may die, its workers go on
//! then, and the next request starts another zygote, which is handed their pidfds, since a zygote ends its workers when the parent is gone.
//!
//! Nothing here needs the interpreter. After a `fork()` the child leaves the whole object alone (`owner`).

use crate::spawn::{Command, spawn};
use crate::{Link, Meter, Pidfd, pidfd};
use std::collections::HashMap;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

/// What a message is: its first byte. Parent to zygote.
pub(crate) const FIRST: u8 = b'0';
pub(crate) const FORK: u8 = b'F';
pub(crate) const ADOPT: u8 = b'A';
/// Zygote to parent.
pub(crate) const STARTED: u8 = b'S';
pub(crate) const FAILED: u8 = b'E';
pub(crate) const EXITED: u8 = b'X';

/// A zygote that has not answered for so long is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// A process that has ended is reported within microseconds, unless the zygote is stopped.
const REPORT: Duration = Duration::from_secs(2);
/// What the standard library says where a status cannot be known.
const UNKNOWN: i32 = 255;

/// A zygote, or the means to start one.
#[derive(Debug)]
pub struct Zygote {
    command: Command,
    owner: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: Option<Running>,
    /// The last ticket given out.
    ticket: u64,
    /// Workers that have not been reported as ended.
    workers: HashMap<u64, Weak<Worker>>,
    /// Answers that came while somebody else was waiting for theirs.
    answers: HashMap<u64, Result<(i32, Pidfd)>>,
    /// Reports about workers whose answers are still there.
    early: HashMap<u64, i32>,
    /// Zygotes started so far.
    started: u32,
    /// Up to this ticket nobody will answer any more.
    lost: u64,
}

#[derive(Debug)]
struct Running {
    link: Link,
    process: Pidfd,
    pid: i32,
}

/// A worker that a zygote has forked.
#[derive(Debug)]
pub struct Worker {
    pid: i32,
    ticket: u64,
    process: Pidfd,
    status: OnceLock<i32>,
    zygote: Arc<Zygote>,
}

impl Zygote {
    /// Nothing is started yet.
    #[must_use]
    pub fn new(command: Command) -> Arc<Self> {
        Arc::new(Self {
            command,
            owner: std::process::id(),
            state: Mutex::default(),
        })
    }

    /// Whether this process may use it: not a fork of the one that made it.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        std::process::id() == self.owner
    }

    fn state(&self) -> Result<MutexGuard<'_, State>> {
        if self.is_ours() {
            Ok(self.state.lock().unwrap_or_else(PoisonError::into_inner))
        } else {
            Err(Error::new(
                ErrorKind::Unsupported,
                "a zygote serves the process that started it",
            ))
        }
    }

    /// Starts the zygote ahead of the first request, unless it runs. Its process number.
    ///
    /// # Errors
    /// The system's.
    pub fn ensure(&self) -> Result<i32> {
        self.state()?.running(&self.command).map(|running| running.pid)
    }

    /// The number of the zygote's process, if one runs, and how many were started so far.
    #[must_use]
    pub fn process(&self) -> (Option<i32>, u32) {
        self.state().map_or((None, 0), |mut state| {
            state.look();
            (state.running.as_ref().map(|running| running.pid), state.started)
        })
    }

    /// Asks for a worker, without waiting for it: `data` is for the worker's preparation, the descriptors become its own.
    /// The ticket is for [`answer`](Self::answer).
    ///
    /// # Errors
    /// The system's.
    pub fn request(&self, data: &[u8], fds: &[BorrowedFd<'_>]) -> Result<u64> {
        let mut state = self.state()?;
        match state.ask(&self.command, data, fds) {
            // It died since it was looked at.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                state.lost();
                state.ask(&self.command, data, fds)
            }
            end => end,
        }
    }

    /// Waits for the worker of a request.
    ///
    /// # Errors
    /// `ConnectionReset`: the zygote died, and there is no worker: ask again. `TimedOut`: it did not answer, and was killed. Else
    /// what `fork` failed with.
    pub fn answer(self: &Arc<Self>, ticket: u64) -> Result<Arc<Worker>> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state()?;
        loop {
            if let Some(answer) = state.answers.remove(&ticket) {
                let (pid, process) = answer?;
                let ended = state.early.remove(&ticket);
                let worker = Arc::new(Worker {
                    pid,
                    ticket,
                    process,
                    status: ended.map_or_else(OnceLock::new, OnceLock::from),
                    zygote: Arc::clone(self),
                });
                if ended.is_none() {
                    state.workers.insert(ticket, Arc::downgrade(&worker));
                }
                return Ok(worker);
            }
            if ticket <= state.lost {
                return Err(ErrorKind::ConnectionReset.into());
            }
            if !state.hear(deadline)? {
                return Err(ErrorKind::ConnectionReset.into());
            }
        }
    }

    /// Waits for the report about a worker that has ended.
    fn report(&self, worker: &Worker) {
        let deadline = Instant::now() + REPORT;
        let Ok(mut state) = self.state() else { return };
        while worker.status.get().is_none() && state.workers.contains_key(&worker.ticket) {
            match state.hear_until(deadline) {
                Ok(Some(true)) => {}
                _ => return,
            }
        }
    }
}

impl State {
    /// The zygote; a new one where there is none, or where it has died.
    fn running(&mut self, command: &Command) -> Result<&Running> {
        self.look();
        if self.running.is_none() {
            let (link, process, pid) = spawn(command)?;
            let new = Running { link, process, pid };
            let mut first = vec![FIRST];
            first.extend(&command.first);
            new.link.send(&first, &[])?;
            self.workers.retain(|_, worker| worker.strong_count() > 0);
            let workers: Vec<_> = self.workers.values().filter_map(Weak::upgrade).collect();
            for some in workers.chunks(64) {
                let fds: Vec<_> = some.iter().map(|worker| worker.process.as_fd()).collect();
                new.link.send(&[ADOPT], &fds)?;
            }
            self.workers.clear(); // nobody will report of them
            self.started += 1;
            self.running = Some(new);
        }
        self.running.as_ref().ok_or_else(|| Error::other("no zygote"))
    }

    /// Sends a request, and gives its ticket.
    fn ask(&mut self, command: &Command, data: &[u8], fds: &[BorrowedFd<'_>]) -> Result<u64> {
        self.running(command)?;
        // From now on: it is one of those that go down with this zygote.
        self.ticket += 1;
        let ticket = self.ticket;
        let mut message = Vec::with_capacity(9 + data.len());
        message.push(FORK);
        message.extend(ticket.to_le_bytes());
        message.extend(data);
        let running = self.running.as_ref().ok_or_else(|| Error::other("no zygote"))?;
        running.link.send(&message, fds)?;
        Ok(ticket)
    }

    /// Reads what has come, without waiting, and notices a zygote that has died.
    fn look(&mut self) {
        while let Some(running) = &self.running {
            match running.link.try_recv() {
                Ok(Some(message)) => self.take(&message.bytes, message.fds),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                _ => self.lost(),
            }
        }
    }

    /// Waits for one message of the zygote. Whether there is one; if not it has died. Kills one that does not answer.
    fn hear(&mut self, deadline: Instant) -> Result<bool> {
        match self.hear_until(deadline)? {
            Some(heard) => Ok(heard),
            None => {
                self.lost();
                Err(Error::new(ErrorKind::TimedOut, "the zygote does not answer"))
            }
        }
    }

    /// As [`hear`](Self::hear); `None` at the deadline.
    fn hear_until(&mut self, deadline: Instant) -> Result<Option<bool>> {
        let Some(running) = &self.running else {
            return Ok(Some(false));
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if !pidfd::readable(running.link.as_fd(), left)? {
            return Ok(None);
        }
        if let Ok(Some(message)) = running.link.recv() {
            self.take(&message.bytes, message.fds);
            return Ok(Some(true));
        }
        self.lost();
        Ok(Some(false))
    }

    fn take(&mut self, message: &[u8], mut fds: Vec<OwnedFd>) {
        let Some((kind, ticket, number)) = parse(message) else {
            return;
        };
        match kind {
            STARTED => {
                if let Some(process) = fds.pop() {
                    self.answers.insert(ticket, Ok((number, process.into())));
                }
            }
            FAILED => {
                self.answers.insert(ticket, Err(Error::from_raw_os_error(number)));
            }
            EXITED if self.answers.contains_key(&ticket) => {
                self.early.insert(ticket, number);
            }
            EXITED => {
                if let Some(worker) = self.workers.remove(&ticket).and_then(|worker| worker.upgrade()) {
                    _ = worker.status.set(number);
                }
            }
            _ => {}
        }
    }

    /// The zygote is gone, or has to go.
    fn lost(&mut self) {
        self.lost = self.ticket;
        if let Some(running) = self.running.take() {
            _ = running.process.signal(libc::SIGKILL);
            _ = running.process.wait(REPORT);
            _ = running.process.reap();
        }
    }
}

/// Kind, ticket and a number. `None` if it is not such a message.
fn parse(message: &[u8]) -> Option<(u8, u64, i32)> {
    let (kind, rest) = message.split_first()?;
    let (ticket, rest) = rest.split_first_chunk()?;
    let (number, _) = rest.split_first_chunk()?;
    Some((*kind, u64::from_le_bytes(*ticket), i32::from_le_bytes(*number)))
}

impl Worker {
    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Counts the workers that this zygote's parent has asked for.
    #[must_use]
    pub fn ticket(&self) -> u64 {
        self.ticket
    }

    /// Itself.
    #[must_use]
    pub fn process(&self) -> &Pidfd {
        &self.process
    }

    /// Measures its memory.
    ///
    /// # Errors
    /// The system's; `ESRCH` when it has ended.
    pub fn meter(&self) -> Result<Meter> {
        let meter = Meter::open(self.pid)?;
        if self.process.has_ended() {
            return Err(Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(meter)
    }

    /// Its exit code, or the negative number of the signal that ended it; `None` while it runs. 255 where nobody can tell: its zygote is
    /// dead, and somebody else has reaped it on a system that keeps no status (before Linux 6.15), or the process is a fork of the one that had asked for it.
    #[must_use]
    pub fn status(&self) -> Option<i32> {
        if let Some(status) = self.status.get() {
            return Some(*status);
        }
        if !self.process.has_ended() {
            return None;
        }
        self.zygote.report(self);
        let told = || self.process.told(self.pid).unwrap_or(UNKNOWN);
        Some(*self.status.get_or_init(told))
    }
}
