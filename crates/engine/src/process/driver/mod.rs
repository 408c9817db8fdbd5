//! The parent's side of a pool: policy, calls and workers behind one latch, and those who come to it.
//!
//! Nothing under the latch runs Python, waits, or drops a Python object; what comes out of it is done afterwards, by whoever
//! held it ([`Driver::after`]), or, where it needs Python, by whoever is attached next.
//!
//! | who | what |
//! | --- | --- |
//! | a submitter (attached) | enters a call, has the policy place it, writes the records; starts the worker that the policy wants |
//! | a caller that waits ([`help`]) | reads the rings while it spins, first attached, then detached |
//! | the reader ([`super::reader`]) | the rest: sleeps in epoll, hears deaths, keeps the time, calls callbacks |
//!
//! | module | what it is |
//! | --- | --- |
//! | [`worker`] | one worker: rings, board, process |
//! | [`job`], [`functions`] | a call that is not settled; functions that have numbers |
//! | [`inside`] | what is behind the latch, and how actions of the policy are carried out |
//! | [`settling`] | how calls end, and who is told |
//! | [`drain`] | what comes up from workers |
//! | [`birth`], [`later`], [`death`] | how workers begin and end |
//! | [`ending`] | closing a pool, giving it up |
//! | [`deliveries`] | what needs Python: callbacks, collectors, prints, log records |
//! | [`help`] | the caller that waits |
//! | [`doze`] | who watches the rings, and when the bell is to ring |

pub mod birth;
pub mod death;
pub mod deliveries;
pub mod doze;
pub mod drain;
pub mod ending;
pub mod functions;
pub mod help;
pub mod inside;
pub mod job;
pub mod later;
pub mod settling;
pub mod worker;

use super::board::Doorbell;
use super::protocol::{COPY, SAY_STARTED};
use super::reader::{LOPSIDED, SAMPLE};
use super::start::Starter;
use crate::futures::future::FutureCore;
use crate::held::Held;
use doze::Watchers;
use functions::Found;
use inside::{Inside, News};
use job::{Body, Job};
use plait_core::clock::{self, Nanos};
use plait_core::{EventWord, Latch, Spin, fork};
use plait_pool::{Call, Policy, TaskId};
use plait_ring::Offer;
use plait_ring::arena::{Arena, Limits};
use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a pool was opened with.
#[derive(Debug, Clone)]
pub struct Settings {
    pub policy: plait_pool::Settings,
    pub retries: u32,
    /// In bytes, for each worker.
    pub memory_limit: Option<u64>,
    /// All workers are started with the first call.
    pub eager: bool,
    /// Large values arrive as copies that can be written to, on both sides.
    pub copy: bool,
}

/// Whether calls are taken, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    Open,
    Shutdown,
    Exit,
    Broken,
}

impl Gate {
    /// As the Python side knows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "",
            Self::Shutdown => "shutdown",
            Self::Exit => "exit",
            Self::Broken => "broken",
        }
    }
}

/// A pool of processes, seen from the parent.
#[derive(Debug)]
pub struct Driver {
    pub settings: Settings,
    pub inside: Latch<Inside>,
    pub bell: Doorbell,
    /// Written by a worker that finds the bell asleep, and by whoever wants the reader to look.
    pub eventfd: OwnedFd,
    pub poller: OwnedFd,
    pub watchers: Watchers,
    pub spin: Spin,
    pub patience: help::Patience,
    pub starter: Latch<Option<Arc<Starter>>>,
    /// Whether workers have not run the program's main module, so that what it defines travels by value.
    pub by_value: bool,
    pub hello: Vec<u8>,
    /// Where large arguments lie.
    pub arena: Arc<Arena>,
    /// When the reader's sleep ends by itself.
    pub sleeps_until: AtomicU64,
    pub logs: Arc<deliveries::Logs>,
    pub reader_is_there: AtomicBool,
    pub role: std::sync::Mutex<super::reader::Role>,
    /// All is settled and delivered, and every worker gone.
    pub over: EventWord,
    generation: u32,
}

/// Whose number a call needs.
#[derive(Debug, Clone, Copy)]
pub enum Callee {
    /// Counted as used.
    Number(u32),
    /// The callable, which may have one. Borrowed from the caller.
    Object(*mut PyObject),
}

/// Why a call was not entered.
#[derive(Debug)]
pub enum Refusal {
    Gate(Gate),
    /// The callable has no number, or has to be looked at.
    Unknown(Body),
}

/// A call that is ready to be entered.
#[derive(Debug)]
pub struct Entry {
    pub callee: Callee,
    pub form: u8,
    pub body: Body,
    /// Where large arguments lie.
    pub offer: Option<Offer>,
    pub call: Call,
}

impl Driver {
    /// A pool without workers.
    ///
    /// # Errors
    /// The system's: no memory, no descriptors.
    pub fn new(settings: Settings, starter: Starter, hello: Vec<u8>) -> std::io::Result<Arc<Self>> {
        let (poller, eventfd) = super::reader::poller()?;
        let logs = Arc::default();
        let mut inside = Inside::new(Policy::new(settings.policy), Arc::clone(&logs));
        inside.memory_limit = settings.memory_limit;
        Ok(Arc::new(Self {
            inside: Latch::new(inside),
            settings,
            bell: Doorbell::new()?,
            eventfd,
            poller,
            watchers: Watchers::default(),
            spin: Spin::new(),
            patience: help::Patience::default(),
            by_value: !starter.needs_python(),
            starter: Latch::new(Some(Arc::new(starter))),
            hello,
            arena: Arena::new(Limits::default()),
            sleeps_until: AtomicU64::new(0),
            logs,
            reader_is_there: AtomicBool::new(false),
            role: std::sync::Mutex::default(),
            over: EventWord::new(),
            generation: fork::generation(),
        }))
    }

    /// Whether this is a forked child, where neither workers nor reader are.
    #[inline]
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.generation != fork::generation()
    }

    /// Enters a call.
    ///
    /// # Errors
    /// Why not, with the future.
    #[inline]
    pub fn submit(
        self: &Arc<Self>,
        py: Python<'_>,
        entry: Entry,
        future: Held,
        core: &FutureCore,
    ) -> Result<(), (Refusal, Held)> {
        let now = clock::now();
        let mut guard = self.inside.lock();
        let inside = &mut *guard;
        if inside.gate != Gate::Open {
            if let Callee::Number(function) = entry.callee {
                inside.functions.leave(function);
            }
            return Err((Refusal::Gate(inside.gate), future));
        }
        let function = match entry.callee {
            Callee::Number(function) => function,
            Callee::Object(object) => match inside.functions.find(object) {
                Found::Number(function) => function,
                Found::Unknown => return Err((Refusal::Unknown(entry.body), future)),
            },
        };
        if self.settings.eager && inside.sums.submitted == 0 {
            inside.policy.fill(&mut inside.out);
        }
        let Some(id) = inside.policy.submit(entry.call, &mut inside.out) else {
            inside.functions.leave(function);
            return Err((Refusal::Gate(Gate::Broken), future));
        };
        core.task.store(id.to_bits(), Ordering::Relaxed);
        let said = if entry.call.timeout.is_some() {
            SAY_STARTED
        } else {
            0
        };
        let flags = said | if self.settings.copy { COPY } else { 0 };
        inside.put(Job {
            id,
            future,
            function,
            form: entry.form,
            flags,
            attempts: 0,
            body: entry.body,
            offer: entry.offer,
            lease: None,
            timeout: entry.call.timeout,
            submitted: now,
        });
        inside.sums.submitted += 1;
        let mut news = News::default();
        inside.carry_out(now, &mut news);
        // The rings are kept full by those who submit, too: the reader is not needed for that.
        if inside.sums.submitted.is_multiple_of(doze::TURN) {
            inside.drain(now, &mut news);
        }
        inside.publish(&mut news);
        self.mind_balance(inside, now, &mut news);
        drop(guard);
        let news = self.after(news);
        if news.starts {
            self.serve_starts(Some(py));
        }
        if news.spent {
            self.drop_spent(py);
        }
        Ok(())
    }

    /// Has the reader wake up in time if work is spread unevenly: nobody else would look whether that lasts.
    #[inline]
    pub fn mind_balance(&self, inside: &Inside, now: Nanos, news: &mut News) {
        let soon = now + LOPSIDED;
        if self.sleeps_until.load(Ordering::Relaxed) > soon && inside.policy.is_lopsided() {
            news.alarm = news.alarm.min(soon);
        }
        // Nor how much memory a call takes that says nothing.
        if self.settings.memory_limit.is_some() && inside.policy.unsettled() > 0 {
            news.alarm = news.alarm.min(now + SAMPLE);
        }
    }

    /// What follows from what was found under the latch, and needs no Python.
    #[inline]
    pub fn after(&self, news: News) -> News {
        if news.is_quiet() {
            return news;
        }
        self.after_slow(news)
    }

    #[cold]
    fn after_slow(&self, mut news: News) -> News {
        for threads in news.threads.drain(..) {
            threads.notify();
        }
        if news.alarm < self.sleeps_until.load(Ordering::Relaxed) || news.calls || news.deaths {
            self.wake_reader();
        }
        news
    }

    /// Numbers a function; what has to be forgotten for it is told to the workers that know it.
    pub fn enter_function(&self, ready: functions::Ready) -> u32 {
        let mut guard = self.inside.lock();
        let inside = &mut *guard;
        let before = inside.forgotten.len();
        let number = inside.functions.enter(ready, &mut inside.forgotten);
        for gone in &inside.forgotten[before..] {
            for worker in inside.workers.iter_mut().flatten() {
                if !worker.is_dead && worker.forget(gone.number).is_err() {
                    worker.is_corrupt = true;
                    inside.policy.condemn(worker.id, &mut inside.out);
                }
            }
        }
        number
    }

    /// Whether the task runs in a worker now.
    #[must_use]
    pub fn is_running(&self, task: u64) -> bool {
        let inside = self.inside.lock();
        inside
            .job(TaskId::from_bits(task))
            .and_then(|job| job.lease)
            .is_some_and(|(worker, sequence)| {
                inside
                    .worker(worker)
                    .is_some_and(|worker| worker.board().is_claimed(sequence))
            })
    }

    /// The caller does not want the task any more; its cell is cancelled already.
    pub fn cancel(&self, task: u64) {
        if self.is_foreign() {
            return;
        }
        let mut news = News::default();
        let mut guard = self.inside.lock();
        let inside = &mut *guard;
        let now = clock::now();
        inside
            .policy
            .cancel(TaskId::from_bits(task), now, &mut inside.out);
        inside.carry_out(now, &mut news);
        inside.publish(&mut news);
        drop(guard);
        news.alarm = news.alarm.min(1);
        let _: News = self.after(news);
    }

    /// How many calls are not settled.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.inside.lock().policy.unsettled()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let inside = &mut *self.inside.lock();
        let rest = inside.take_all();
        let starter = self.starter.lock().take();
        // SAFETY: can be asked at any time.
        if unsafe { pyo3::ffi::PyGILState_Check() } == 0 {
            // Nobody is attached to drop what Python owns: seldom (a reader that was the last), and little.
            std::mem::forget((rest, starter));
        }
    }
}
