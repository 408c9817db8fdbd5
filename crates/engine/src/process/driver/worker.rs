//! One worker as the driver has it: its rings, its board, its process, and what lies in its ring.
//!
//! `sent` has the records in the order of the ring. A worker takes them in that order, so a result frees its own slot of
//! the board and those before it, which can only be of records that were withdrawn. What the ring has no room for waits in
//! `backlog`; it is sent when results have made room (or, where nothing comes, when the reader looks again).

use super::functions::Functions;
use super::job::Job;
use crate::process::board::Board;
use crate::process::extent;
use crate::process::protocol::{CallHead, NO_FUNCTION, RING, SLOTS, down};
use crate::process::start::Handle;
use plait_pool::{TaskId, WorkerId};
use plait_proc::{link::Link, memory::Meter, pidfd::Pidfd};
use plait_ring::memory::Memory;
use plait_ring::{Consumer, Corrupt, Inbox, Producer};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// So much of what a worker wrote to its standard error is kept.
const LAST_WORDS: usize = 8 << 10;

/// One record on its way.
#[derive(Debug)]
pub struct Sent {
    pub sequence: u32,
    pub task: TaskId,
    pub withdrawn: bool,
}

/// The memory that a worker and its parent share.
#[derive(Debug)]
pub struct Shared {
    pub down: Memory,
    pub up: Memory,
    pub board: Board,
}

impl Shared {
    /// New memory for a worker.
    ///
    /// # Errors
    /// The system's.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            down: Memory::new(RING)?,
            up: Memory::new(RING)?,
            board: Board::new()?,
        })
    }
}

/// One worker.
#[derive(Debug)]
pub struct Worker {
    pub id: WorkerId,
    // The ends are dropped before the memory that they point to.
    pub producer: Producer,
    pub consumer: Consumer,
    shared: Shared,
    pub link: Link,
    /// The segments that its large results lie in.
    pub inbox: Inbox,
    pub stderr: OwnedFd,
    pub said: VecDeque<u8>,
    pub process: Pidfd,
    pub pid: i32,
    pub meter: Option<Meter>,
    /// What the starter gave; dropped attached.
    pub handle: Arc<Handle>,
    pub sent: VecDeque<Sent>,
    pub backlog: VecDeque<TaskId>,
    /// Calls that it has been sent in all.
    sequence: u32,
    known: Vec<u32>,
    last_known: u32,
    unpublished: bool,
    retires: bool,
    /// Its process has ended.
    pub is_dead: bool,
    /// It wrote what cannot be: nothing of it is read any more.
    pub is_corrupt: bool,
    /// Its memory when it was found too big, in bytes.
    pub used: Option<u64>,
    /// Results that came from it.
    pub done: u64,
}

/// What is known of a worker's process.
#[derive(Debug)]
pub struct Process {
    pub link: Link,
    pub stderr: OwnedFd,
    pub process: Pidfd,
    pub pid: i32,
    pub handle: Handle,
}

impl Worker {
    /// A worker whose process has been started.
    #[must_use]
    pub fn new(id: WorkerId, shared: Shared, process: Process, measured: bool) -> Self {
        // SAFETY: made once for memory that is new, in the one process that has these ends; the worker drops them before it.
        let (producer, consumer) = unsafe { (shared.down.producer(), shared.up.consumer()) };
        Self {
            id,
            producer,
            consumer,
            shared,
            link: process.link,
            inbox: Inbox::new(),
            stderr: process.stderr,
            said: VecDeque::new(),
            meter: measured.then(|| Meter::open(process.pid).ok()).flatten(),
            process: process.process,
            pid: process.pid,
            handle: Arc::new(process.handle),
            sent: VecDeque::new(),
            backlog: VecDeque::new(),
            sequence: 0,
            known: Vec::new(),
            last_known: NO_FUNCTION,
            unpublished: false,
            retires: false,
            is_dead: false,
            is_corrupt: false,
            used: None,
            done: 0,
        }
    }

    /// Its board.
    #[inline]
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.shared.board
    }

    /// Has the record of a job written, now or when there is room.
    ///
    /// # Errors
    /// [`Corrupt`]: the worker is not to be used any more.
    #[inline]
    pub fn send(&mut self, job: &mut Job, functions: &Functions) -> Result<(), Corrupt> {
        if !self.backlog.is_empty() || !self.try_send(job, functions)? {
            self.backlog.push_back(job.id);
        }
        Ok(())
    }

    #[inline]
    fn try_send(&mut self, job: &mut Job, functions: &Functions) -> Result<bool, Corrupt> {
        if self.sent.len() >= SLOTS {
            // Only records that were withdrawn can be stuck there: with nothing behind them no result frees their slots.
            if !(self.producer.is_drained() && self.sent.iter().all(|its| its.withdrawn)) {
                return Ok(false);
            }
            self.sent.clear();
        }
        if job.function != self.last_known && job.function != NO_FUNCTION {
            if !self.known.contains(&job.function) {
                let Some(function) = functions.get(job.function) else {
                    return Ok(false);
                };
                let parts = [&function.number.to_le_bytes()[..], &function.body];
                if !self.producer.push(down::FUNCTION, &parts)? {
                    return Ok(false);
                }
                self.known.push(function.number);
                self.unpublished = true;
            }
            self.last_known = job.function;
        }
        if let Some(offer) = &job.offer
            && extent::show(offer, &self.link, self.id.to_bits()).is_err()
        {
            // The link is full: as if the ring were. Or the process is gone, and its death under way.
            return Ok(false);
        }
        let sequence = self.sequence;
        let head = CallHead {
            task: job.id.to_bits(),
            sequence,
            function: job.function,
            form: job.form,
            flags: job.flags,
        };
        if !self.producer.push(down::CALL, &[&head.to_bytes(), &job.body])? {
            return Ok(false);
        }
        self.board().queue(sequence);
        self.sequence = sequence.wrapping_add(1);
        self.sent.push_back(Sent {
            sequence,
            task: job.id,
            withdrawn: false,
        });
        job.lease = Some((self.id, sequence));
        self.unpublished = true;
        Ok(true)
    }

    /// Sends what has waited for room, and shows the worker all that is new.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    #[inline]
    pub fn flush(&mut self, jobs: &mut [Option<Job>], functions: &Functions) -> Result<(), Corrupt> {
        while let Some(task) = self.backlog.front() {
            let Some(Some(job)) = jobs.get_mut(task.place()) else {
                self.backlog.pop_front();
                continue;
            };
            if job.id != *task {
                self.backlog.pop_front();
                continue;
            }
            if !self.try_send(job, functions)? {
                break;
            }
            self.backlog.pop_front();
        }
        if self.retires && self.backlog.is_empty() && self.producer.push(down::RETIRE, &[])? {
            self.retires = false;
            self.unpublished = true;
        }
        if std::mem::take(&mut self.unpublished) {
            self.producer.publish();
        }
        Ok(())
    }

    /// Whether something waits for room.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        !self.backlog.is_empty() || self.retires
    }

    /// Tells it to end after what it has.
    pub fn retire(&mut self) {
        self.retires = true;
    }

    /// Tells it to forget a function, if it knows it. If there is no room it keeps it: that costs some memory.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn forget(&mut self, number: u32) -> Result<(), Corrupt> {
        if let Some(at) = self.known.iter().position(|known| *known == number) {
            self.known.swap_remove(at);
            self.last_known = NO_FUNCTION;
            self.unpublished |= self.producer.push(down::FORGET, &[&number.to_le_bytes()])?;
        }
        Ok(())
    }

    /// Takes a record back. False if the worker has claimed it.
    pub fn withdraw(&mut self, job: &mut Job) -> bool {
        if let Some(at) = self.backlog.iter().position(|task| *task == job.id) {
            self.backlog.remove(at);
            return true;
        }
        let Some((_, sequence)) = job.lease else {
            return false;
        };
        if !self.board().withdraw(sequence) {
            return false;
        }
        if let Some(its) = self.sent.iter_mut().rfind(|its| its.sequence == sequence) {
            its.withdrawn = true;
        }
        job.lease = None;
        true
    }

    /// The result of a task has come. False if it cannot have been next.
    #[inline]
    pub fn returned(&mut self, task: TaskId) -> bool {
        while let Some(its) = self.sent.pop_front() {
            self.board().free(its.sequence);
            if its.task == task && !its.withdrawn {
                self.done += 1;
                return true;
            }
            if !its.withdrawn {
                return false;
            }
        }
        false
    }

    /// Reads what there is on its standard error, and keeps the last of it. Returns what is new.
    pub fn listen(&mut self) -> Vec<u8> {
        use std::os::fd::AsRawFd;
        let mut new = Vec::new();
        let mut bytes = [0_u8; 4096];
        // So much at a time: who writes for ever does not keep the reader for ever.
        for _ in 0..64 {
            // SAFETY: the buffer is ours and as long as said; the descriptor is open and does not block.
            let got = unsafe { libc::read(self.stderr.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len()) };
            let Ok(got) = usize::try_from(got) else { break };
            if got == 0 {
                break;
            }
            new.extend_from_slice(&bytes[..got]);
        }
        self.remember(&new);
        new
    }

    /// Keeps the last of what it wrote to its standard error, or printed there.
    pub fn remember(&mut self, text: &[u8]) {
        self.said.extend(text);
        let over = self.said.len().saturating_sub(LAST_WORDS);
        self.said.drain(..over);
    }

    /// The last that it wrote to its standard error.
    #[must_use]
    pub fn last_words(&self) -> String {
        let (one, two) = self.said.as_slices();
        String::from_utf8_lossy(&[one, two].concat()).into_owned()
    }
}
