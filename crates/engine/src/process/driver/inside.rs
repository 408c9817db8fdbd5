//! What is behind the latch: the policy, the calls, the workers; and how the policy's actions are carried out.

use super::Gate;
use super::deliveries::{Line, Logs, Record, Soon, Telling};
use super::functions::{Function, Functions};
use super::job::Job;
use super::later::Later;
use super::settling::Obituary;
use super::worker::Worker;
use crate::held::Held;
use crate::process::start::Handle;
use crate::process::telemetry::Sums;
use plait_core::Batch;
use plait_pool::{Action, Nanos, Policy, TaskId, WorkerId};
use pyo3::PyErr;
use std::collections::VecDeque;
use std::sync::Arc;

/// So many futures are let go of at once.
const MANY_SPENT: usize = 64;

/// What was found under the latch and is to be done after it.
#[derive(Debug)]
pub struct News {
    /// Threads that wait for what has ended.
    pub threads: Vec<Batch>,
    /// Workers are to be started; futures to be let go of; callbacks to be called or log records to be handled; dead workers to
    /// be buried; collectors and prints to be seen to.
    pub starts: bool,
    pub spent: bool,
    pub calls: bool,
    pub deaths: bool,
    pub soon: bool,
    /// When the policy wants to be asked.
    pub alarm: Nanos,
    /// How many records came.
    pub found: usize,
}

impl Default for News {
    fn default() -> Self {
        Self {
            threads: Vec::new(),
            starts: false,
            spent: false,
            calls: false,
            deaths: false,
            soon: false,
            alarm: Nanos::MAX,
            found: 0,
        }
    }
}

impl News {
    /// Whether there is nothing to do without Python.
    #[inline]
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.threads.is_empty() && self.alarm == Nanos::MAX && !self.calls && !self.deaths
    }

    /// Whether an attached thread has something to do.
    #[inline]
    #[must_use]
    pub fn wants_python(&self) -> bool {
        self.starts || self.spent || self.soon
    }
}

/// What is left of a worker that was buried; dropped attached.
#[derive(Debug)]
pub struct Corpse {
    pub _handle: Option<Arc<Handle>>,
    pub _worker: Option<Box<Worker>>,
}

/// What is behind the latch.
#[derive(Debug)]
pub struct Inside {
    pub policy: Policy,
    pub out: Vec<Action>,
    jobs: Vec<Option<Job>>,
    pub workers: Vec<Option<Box<Worker>>>,
    pub functions: Functions,
    pub scratch: Vec<u8>,
    /// To be dropped by whoever is attached next.
    pub spent: Vec<Held>,
    /// One of them has a large result: its memory is to be given back soon.
    pub spent_is_large: bool,
    pub forgotten: Vec<Function>,
    /// Workers that were buried, as `spent`.
    pub remains: Vec<Corpse>,
    pub starts: VecDeque<WorkerId>,
    /// So many are being started at this moment.
    pub starting: usize,
    /// Workers that are to be started later.
    pub later: Later,
    /// Workers whose processes have ended: to be buried, attached.
    pub dead: Vec<WorkerId>,
    pub soon: Line<Soon>,
    pub records: Line<Record>,
    /// So many prints have not been passed on: what ends meanwhile is completed after them. (Not log records: see [`Logs`].)
    pub said: usize,
    pub logs: Arc<Logs>,
    pub calls: Line<Telling>,
    pub gate: Gate,
    pub why: String,
    /// So many workers in a row were killed by somebody.
    pub struck: u32,
    /// Why the last worker could not be started that could not.
    pub start_error: Option<PyErr>,
    pub kill_with: i32,
    pub obituary: Obituary,
    pub memory_limit: Option<u64>,
    pub sums: Sums,
    /// Since when a worker has had nothing to do while another has too much.
    pub lopsided_since: Option<Nanos>,
}

impl Inside {
    /// For a policy that has not begun.
    #[must_use]
    pub fn new(policy: Policy, logs: Arc<Logs>) -> Self {
        Self {
            policy,
            out: Vec::new(),
            jobs: Vec::new(),
            workers: Vec::new(),
            functions: Functions::default(),
            scratch: Vec::new(),
            spent: Vec::new(),
            spent_is_large: false,
            forgotten: Vec::new(),
            remains: Vec::new(),
            starts: VecDeque::new(),
            starting: 0,
            later: Later::default(),
            dead: Vec::new(),
            soon: Line::default(),
            records: Line::default(),
            said: 0,
            logs,
            calls: Line::default(),
            gate: Gate::Open,
            why: String::new(),
            start_error: None,
            struck: 0,
            kill_with: libc::SIGKILL,
            obituary: Obituary::default(),
            memory_limit: None,
            sums: Sums::default(),
            lopsided_since: None,
        }
    }

    /// Keeps a job.
    #[inline]
    pub fn put(&mut self, job: Job) {
        let place = job.id.place();
        if place >= self.jobs.len() {
            self.jobs.resize_with(place + 1, || None);
        }
        self.jobs[place] = Some(job);
    }

    /// The job of a task that is not settled.
    #[inline]
    #[must_use]
    pub fn job(&self, task: TaskId) -> Option<&Job> {
        self.jobs.get(task.place())?.as_ref().filter(|job| job.id == task)
    }

    #[inline]
    pub(super) fn take_job(&mut self, task: TaskId) -> Option<Job> {
        let slot = self.jobs.get_mut(task.place())?;
        if slot.as_ref().is_some_and(|job| job.id == task) {
            let job = slot.take()?;
            self.functions.leave(job.function);
            return Some(job);
        }
        None
    }

    /// A worker that is there.
    #[must_use]
    pub fn worker(&self, id: WorkerId) -> Option<&Worker> {
        self.workers
            .get(id.place())?
            .as_deref()
            .filter(|its| its.id == id)
    }

    /// As [`worker`](Self::worker).
    #[inline]
    pub fn worker_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.workers
            .get_mut(id.place())?
            .as_deref_mut()
            .filter(|its| its.id == id)
    }

    /// Does what the policy wants, as far as that can be done here.
    #[inline]
    pub fn carry_out(&mut self, now: Nanos, news: &mut News) {
        let mut at = 0;
        while let Some(action) = self.out.get(at).copied() {
            at += 1;
            match action {
                Action::Send(worker, task) => self.send(worker, task),
                other => self.act(other, now, news),
            }
        }
        self.out.clear();
    }

    #[inline]
    fn send(&mut self, id: WorkerId, task: TaskId) {
        let Some(Some(worker)) = self.workers.get_mut(id.place()) else {
            return;
        };
        let Some(Some(job)) = self.jobs.get_mut(task.place()) else {
            return;
        };
        if worker.is_corrupt || worker.is_dead {
            // Its death is under way, and gives the task back.
            return;
        }
        if worker.send(job, &self.functions).is_err() {
            self.condemn(id);
        }
    }

    /// The worker wrote what cannot be.
    pub fn condemn(&mut self, id: WorkerId) {
        if let Some(worker) = self.worker_mut(id) {
            worker.is_corrupt = true;
            self.policy.condemn(id, &mut self.out);
        }
    }

    fn act(&mut self, action: Action, now: Nanos, news: &mut News) {
        match action {
            Action::Send(worker, task) => self.send(worker, task),
            Action::Start(worker) => {
                self.starts.push_back(worker);
                news.starts = true;
            }
            Action::Withdraw(worker, task) => {
                if self.take_back(worker, task) {
                    self.policy.withdrawn(worker, task, &mut self.out);
                } else {
                    self.policy.started(worker, task, now, &mut self.out);
                }
            }
            Action::Reclaim(worker, task) => {
                if self.take_back(worker, task) {
                    self.policy.reclaimed(worker, task, &mut self.out);
                }
            }
            Action::Interrupt(worker, task) => {
                if let Some(its) = self.worker(worker) {
                    its.board().set_interrupt(task.to_bits());
                    // A process that is gone hears nothing: its death is on its way.
                    let _gone = its.process.signal(libc::SIGRTMIN() + 5);
                }
            }
            Action::Kill(worker) => {
                let signal = self.kill_with;
                if let Some(its) = self.worker(worker) {
                    let _gone = its.process.signal(signal);
                }
            }
            Action::Retire(worker) => {
                if let Some(its) = self.worker_mut(worker) {
                    its.retire();
                }
            }
            Action::Settle(task, verdict) => self.settle(task, verdict, now, news),
        }
    }

    fn take_back(&mut self, worker: WorkerId, task: TaskId) -> bool {
        let Some(Some(its)) = self.workers.get_mut(worker.place()) else {
            return false;
        };
        let Some(Some(job)) = self.jobs.get_mut(task.place()) else {
            return false;
        };
        its.id == worker && job.id == task && its.withdraw(job)
    }

    /// Writes what waits for room, and shows workers what is new to them.
    #[inline]
    pub fn publish(&mut self, news: &mut News) {
        let mut corrupt = None;
        for worker in self.workers.iter_mut().flatten() {
            if !worker.is_corrupt && !worker.is_dead && worker.flush(&mut self.jobs, &self.functions).is_err()
            {
                corrupt = Some(worker.id);
            }
        }
        if let Some(id) = corrupt {
            self.condemn(id);
            self.carry_out(plait_core::clock::now(), news);
        }
        news.alarm = news.alarm.min(self.policy.next_alarm().unwrap_or(Nanos::MAX));
        news.starts |= !self.starts.is_empty();
        news.spent |= self.spent.len() >= MANY_SPENT || self.spent_is_large;
        news.soon |= self.soon.waits();
        news.calls |= self.calls.waits() || self.records.waits();
        news.deaths |= !self.dead.is_empty();
    }

    /// A worker that ran a task has died and the task will run again.
    pub fn charge(&mut self, task: TaskId) {
        if let Some(Some(job)) = self.jobs.get_mut(task.place())
            && job.id == task
        {
            job.attempts += 1;
            self.sums.retried += 1;
        }
    }

    /// All that Python owns, out: for the end.
    pub fn take_all(&mut self) -> Remains {
        Remains {
            _spent: std::mem::take(&mut self.spent),
            _forgotten: std::mem::take(&mut self.forgotten),
            _remains: std::mem::take(&mut self.remains),
            _functions: self.functions.take(),
            _soon: std::mem::take(&mut self.soon),
            _records: std::mem::take(&mut self.records),
            _calls: std::mem::take(&mut self.calls),
            _jobs: std::mem::take(&mut self.jobs),
            _workers: std::mem::take(&mut self.workers),
            _start_error: self.start_error.take(),
        }
    }

    /// The futures of all calls that are not settled: for a child after a fork.
    pub fn futures(&self) -> impl Iterator<Item = &Held> {
        self.jobs.iter().flatten().map(|job| &job.future)
    }
}

/// What Python owns of a pool; dropped attached.
#[derive(Debug)]
pub struct Remains {
    _spent: Vec<Held>,
    _forgotten: Vec<Function>,
    _remains: Vec<Corpse>,
    _functions: Vec<Function>,
    _soon: Line<Soon>,
    _records: Line<Record>,
    _calls: Line<Telling>,
    _jobs: Vec<Option<Job>>,
    _workers: Vec<Option<Box<Worker>>>,
    _start_error: Option<PyErr>,
}

impl Inside {
    /// Whether nothing is left: no calls, no workers, nothing to be told.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.policy.is_over()
            && self.starting == 0
            && self.starts.is_empty()
            && self.workers.iter().all(Option::is_none)
            && self.soon.is_idle()
            && self.records.is_idle()
            && self.calls.is_idle()
    }

    /// Looks how much memory the workers have; who has more than `limit` bytes while it runs a call is killed, who has it
    /// otherwise is replaced.
    pub fn weigh(&mut self, limit: u64) {
        for worker in self.workers.iter_mut().flatten() {
            let Some(Ok(usage)) = worker.meter.as_ref().map(plait_proc::memory::Meter::read) else {
                continue;
            };
            if usage.private() <= limit || worker.is_dead {
                continue;
            }
            let (id, running) = (worker.id, worker.board().running());
            worker.used = Some(usage.private());
            if running == 0 {
                self.policy.wear_out(id, &mut self.out);
            } else {
                self.policy.too_big(id, TaskId::from_bits(running), &mut self.out);
            }
        }
    }
}
