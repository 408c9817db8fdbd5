//! The thread that reads the rings when nobody else does, hears of deaths, keeps the time, and calls callbacks.
//!
//! It needs no interpreter but for what only Python can do. Since a callback may take as long as it likes, and may wait for
//! another result of the same pool, there are two such threads from the first callback on: the one that has the *role*
//! reads; it gives the role up before it runs Python, and the other takes it.

use super::driver::Driver;
use super::driver::doze::Sleep;
use super::driver::inside::News;
use plait_core::clock::{self, Nanos};
use plait_pool::WorkerId;
use pyo3::prelude::*;
use std::io::{Error, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, TryLockError};
use std::time::Duration;

/// While results keep coming it looks this often, and is not rung for each.
const BETWEEN: Duration = Duration::from_micros(60);
/// How long a nap is, in milliseconds, and how many in a row bring nothing before it sleeps deeply.
const NAP: i32 = 1;
const NAPS: u32 = 3;
/// How often memory is sampled while something runs, and how often what has no room is tried again.
pub const SAMPLE: Nanos = 50_000_000;
const RETRY: Nanos = 1_000_000;
/// Shared memory that has not been used for so long is given back.
const KEEP: Duration = Duration::from_secs(5);
/// How long a worker has nothing to do while another has too much, before that is mended.
pub const LOPSIDED: Nanos = 1_000_000;

/// What only one thread does at a time.
#[derive(Debug, Default)]
pub struct Role {
    threads: u32,
    naps: u32,
    sampled: Nanos,
    trimmed: Nanos,
    over: bool,
}

/// What a descriptor in the poller stands for.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    Bell,
    Death(WorkerId),
    Stderr(WorkerId),
}

/// Of a worker's number, the bits that its place never needs.
const KIND: u32 = 28;
const DEATH: u64 = 1 << KIND;
const STDERR: u64 = 2 << KIND;
const BELL: u64 = 3 << KIND;

impl Source {
    fn to_bits(self) -> u64 {
        match self {
            Self::Bell => BELL,
            Self::Death(id) => id.to_bits() | DEATH,
            Self::Stderr(id) => id.to_bits() | STDERR,
        }
    }

    fn from_bits(bits: u64) -> Self {
        let id = WorkerId::from_bits(bits & !BELL);
        match bits & BELL {
            DEATH => Self::Death(id),
            STDERR => Self::Stderr(id),
            _ => Self::Bell,
        }
    }
}

/// A poller with an eventfd in it.
///
/// # Errors
/// The system's: no descriptors.
pub fn poller() -> Result<(OwnedFd, OwnedFd)> {
    // SAFETY: new descriptors, ours.
    unsafe {
        let poller = libc::epoll_create1(libc::EPOLL_CLOEXEC);
        if poller < 0 {
            return Err(Error::last_os_error());
        }
        let poller = OwnedFd::from_raw_fd(poller);
        let eventfd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
        if eventfd < 0 {
            return Err(Error::last_os_error());
        }
        let eventfd = OwnedFd::from_raw_fd(eventfd);
        watch(poller.as_fd(), eventfd.as_fd(), Source::Bell)?;
        Ok((poller, eventfd))
    }
}

/// Has the poller tell when there is something to read.
///
/// # Errors
/// The system's.
pub fn watch(poller: BorrowedFd<'_>, fd: BorrowedFd<'_>, source: Source) -> Result<()> {
    let once = if matches!(source, Source::Death(_)) {
        libc::EPOLLONESHOT
    } else {
        0
    };
    let mut event = libc::epoll_event {
        events: (libc::EPOLLIN | once).cast_unsigned(),
        u64: source.to_bits(),
    };
    // SAFETY: both descriptors are open; the event outlives the call.
    let end = unsafe {
        libc::epoll_ctl(
            poller.as_raw_fd(),
            libc::EPOLL_CTL_ADD,
            fd.as_raw_fd(),
            &raw mut event,
        )
    };
    if end < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Starts a thread that reads for the driver.
pub fn spawn(driver: &Arc<Driver>) {
    driver.role.lock().unwrap_or_else(PoisonError::into_inner).threads += 1;
    let its = Arc::clone(driver);
    if let Err(error) = thread(move || its.read()) {
        driver.break_up(format!("the pool's thread could not be started: {error}"));
    }
}

/// Starts a thread of a pool.
///
/// # Errors
/// The system's.
pub fn thread(work: impl FnOnce() + Send + 'static) -> Result<()> {
    // Signals are for the threads of the program: this one hears none.
    let mut before: libc::sigset_t = unmasked();
    // SAFETY: both sets are ours and alive.
    unsafe {
        let mut all: libc::sigset_t = unmasked();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
    }
    let started = std::thread::Builder::new()
        .name("plait-pool".to_owned())
        .spawn(work);
    // SAFETY: as above.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
    }
    started.map(drop)
}

fn unmasked() -> libc::sigset_t {
    // SAFETY: a zeroed set is one.
    unsafe { std::mem::zeroed() }
}

impl Driver {
    fn read(self: Arc<Self>) {
        loop {
            let mut role = match self.role.try_lock() {
                Ok(role) => role,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {
                    // What was done here may be what the other waits for to end: it looks again, and sleeps again.
                    self.wake_reader();
                    self.role.lock().unwrap_or_else(PoisonError::into_inner)
                }
            };
            if role.over {
                return;
            }
            let (news, over) = self.round(&mut role);
            if over {
                role.over = true;
                drop(role);
                // Without it there is nobody left who could care.
                let _ended: Option<()> = Python::try_attach(|py| self.end(py));
                return;
            }
            let idles = news.found == 0 && self.is_idle_with_spent();
            if news.calls || news.deaths || idles || news.wants_python() {
                // A callback, or what handles a log record, may wait for what is to be read.
                let alone = role.threads == 1 && news.calls;
                drop(role);
                if alone {
                    spawn(&self);
                }
                if news.deaths || news.starts {
                    self.serve_detached();
                    if !(news.calls || idles || news.spent || news.soon || self.has_births_or_deaths()) {
                        continue;
                    }
                }
                if Python::try_attach(|py| self.serve(py, true)).is_none() {
                    // The interpreter is gone, and nobody has waited for this pool: its workers end with the process.
                    return;
                }
                continue;
            }
            self.sleep(&mut role, &news);
        }
    }

    /// Reads the rings, and does what the time has come for.
    fn round(self: &Arc<Self>, role: &mut Role) -> (News, bool) {
        let now = clock::now();
        let mut news = News::default();
        let mut guard = self.inside.lock();
        let inside = &mut *guard;
        inside.drain(now, &mut news);
        if inside.policy.next_alarm().is_some_and(|at| at <= now) {
            inside.policy.tick(now, &mut inside.out);
            inside.carry_out(now, &mut news);
        }
        if inside.policy.is_lopsided() {
            let since = *inside.lopsided_since.get_or_insert(now);
            if now - since >= LOPSIDED {
                inside.policy.rebalance(&mut inside.out);
                inside.carry_out(now, &mut news);
                inside.lopsided_since = None;
            } else {
                news.alarm = since + LOPSIDED;
            }
        } else {
            inside.lopsided_since = None;
        }
        inside.publish(&mut news);
        if inside.workers.iter().flatten().any(|worker| worker.is_behind()) {
            news.alarm = news.alarm.min(now + RETRY);
        }
        if let Some(limit) = self.settings.memory_limit {
            if now - role.sampled >= SAMPLE {
                role.sampled = now;
                inside.weigh(limit);
                inside.carry_out(now, &mut news);
                inside.publish(&mut news);
            }
            if inside.policy.unsettled() > 0 {
                news.alarm = news.alarm.min(role.sampled + SAMPLE);
            }
        }
        let later = inside.take_later(now, &mut news);
        let over = inside.is_over();
        drop(guard);
        self.bear_later(later);
        if !self.arena.is_empty() {
            #[expect(clippy::cast_possible_truncation, reason = "seconds")]
            let keep = KEEP.as_nanos() as Nanos;
            if now - role.trimmed >= keep {
                role.trimmed = now;
                self.arena.trim(KEEP);
            }
            news.alarm = news.alarm.min(role.trimmed + keep);
        }
        for threads in news.threads.drain(..) {
            threads.notify();
        }
        (news, over)
    }

    /// Whether nothing is under way, and futures are kept that nobody needs here.
    fn is_idle_with_spent(&self) -> bool {
        if self.watchers.caller_looks() {
            return false;
        }
        let inside = self.inside.lock();
        inside.policy.unsettled() == 0 && (!inside.spent.is_empty() || !inside.remains.is_empty())
    }

    /// Whether workers are to be started or buried.
    fn has_births_or_deaths(&self) -> bool {
        let inside = self.inside.lock();
        !inside.starts.is_empty() || !inside.dead.is_empty()
    }

    fn sleep(self: &Arc<Self>, role: &mut Role, news: &News) {
        let looks = self.watchers.caller_looks();
        if news.found > 0 && !looks {
            role.naps = 0;
            self.watchers.note(false);
            self.watchers.reader_sleeps(Sleep::Nap);
            self.bell.rouse();
            std::thread::sleep(BETWEEN);
            self.watchers.reader_sleeps(Sleep::None);
            return;
        }
        let naps = looks || self.watchers.callers_find() && role.naps < NAPS && self.unsettled() > 0;
        let mut timeout = NAP;
        if naps {
            role.naps = if looks { 0 } else { role.naps + 1 };
            self.watchers.reader_sleeps(Sleep::Nap);
        } else {
            self.sleeps_until.store(news.alarm, Ordering::Relaxed);
            self.watchers.reader_sleeps(Sleep::Deep);
            self.bell.doze();
            let mut inside = self.inside.lock();
            if inside.has_records() || inside.policy.next_alarm().is_some_and(|at| at < news.alarm) {
                timeout = 0;
            } else if inside.policy.is_lopsided() && news.alarm > clock::now() + LOPSIDED {
                timeout = NAP; // It has come to be so since the rings were read.
            } else if news.alarm == Nanos::MAX {
                timeout = -1;
            } else {
                let left = news.alarm.saturating_sub(clock::now());
                timeout = i32::try_from(left.div_ceil(1_000_000)).unwrap_or(i32::MAX);
            }
            drop(inside);
        }
        self.poll(timeout);
        self.sleeps_until.store(0, Ordering::Relaxed);
        self.watchers.reader_sleeps(Sleep::None);
    }

    /// Sleeps in the poller, and notes what has come.
    fn poll(self: &Arc<Self>, timeout: i32) {
        let mut events: [libc::epoll_event; 32] = [libc::epoll_event { events: 0, u64: 0 }; 32];
        // SAFETY: room for as many events as said.
        let count = unsafe { libc::epoll_wait(self.poller.as_raw_fd(), events.as_mut_ptr(), 32, timeout) };
        for event in events.iter().take(usize::try_from(count).unwrap_or(0)) {
            match Source::from_bits(event.u64) {
                Source::Bell => {
                    let mut count = [0_u8; 8];
                    // SAFETY: eight bytes from an eventfd of ours, which does not block.
                    let _read = unsafe { libc::read(self.eventfd.as_raw_fd(), count.as_mut_ptr().cast(), 8) };
                }
                Source::Death(id) => {
                    let mut news = News::default();
                    self.inside.lock().has_ended(id, &mut news);
                }
                Source::Stderr(id) => self.pass_on_stderr(id, event.events),
            }
        }
    }

    fn pass_on_stderr(&self, id: WorkerId, events: u32) {
        let mut inside = self.inside.lock();
        let Some(worker) = inside.worker_mut(id) else {
            return;
        };
        let new = worker.listen();
        if new.is_empty() && events & libc::EPOLLHUP.cast_unsigned() != 0 {
            // Nobody holds the other end: there is nothing to wait for any more.
            let fd = worker.stderr.as_raw_fd();
            // SAFETY: both descriptors are open.
            unsafe {
                libc::epoll_ctl(
                    self.poller.as_raw_fd(),
                    libc::EPOLL_CTL_DEL,
                    fd,
                    std::ptr::null_mut(),
                );
            }
        }
        drop(inside);
        // As it came, to where this process writes its own: the worker's standard error was ours before there was a pipe.
        let mut rest = &new[..];
        while !rest.is_empty() {
            // SAFETY: the bytes are alive.
            let sent = unsafe { libc::write(2, rest.as_ptr().cast(), rest.len()) };
            match usize::try_from(sent) {
                Ok(sent) if sent > 0 => rest = &rest[sent.min(rest.len())..],
                _ => break,
            }
        }
    }

    /// All is settled, delivered, and every worker gone: lets go of what Python owns, and says so.
    fn end(self: &Arc<Self>, _py: Python<'_>) {
        let rest = self.inside.lock().take_all();
        drop(rest);
        self.arena.trim(Duration::ZERO);
        let starter = self.starter.lock().take();
        drop(starter);
        self.over.set();
    }

    /// For a pool that never had a worker, and so has no reader.
    pub fn end_if_over(self: &Arc<Self>, py: Python<'_>) {
        let over = self.inside.lock().is_over();
        if over && !self.reader_is_there.load(Ordering::Acquire) {
            self.end(py);
        }
    }
}
