//! The events, and what follows from them.
//!
//! Each event is a method. It changes the state and appends to `out` what is to be done, in order. An event that
//! comes too late (from a worker that is gone, for a task that is settled) changes nothing, so the driver may report
//! what it sees without asking whether it still matters.

use crate::Nanos;
use crate::line::Line;
use crate::slab::Slab;
use crate::task::{Call, Place, Sentence, Task, TaskId, Verdict};
use crate::worker::{Life, Worker, WorkerId};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What a pool was opened with.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// So many workers at most.
    pub workers: usize,
    /// So many tasks for one worker, after which another takes its place.
    pub tasks_per_worker: Option<u32>,
    /// After an exception has been raised in a task that is late or unwanted, so long until its worker is killed.
    pub grace: Nanos,
    /// So many workers in a row may die before any of them has done a task; then the pool is broken. Where workers have done
    /// tasks before, somebody kills them, rather than that they cannot begin: then it is [`PROVEN`] times as many.
    pub stillborn: u32,
    /// So many workers may die of themselves, or of another's hand, or be condemned; with one more the pool is broken.
    /// None: any number.
    pub deaths: Option<u32>,
}

/// See [`Settings::stillborn`].
pub const PROVEN: u32 = 16;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start a process; report [`Policy::up`], or [`Policy::died`] if it cannot be.
    Start(WorkerId),
    /// Write the task's record to the worker's ring.
    Send(WorkerId, TaskId),
    /// Take the record back if it is not claimed; report [`Policy::withdrawn`], or [`Policy::started`] if it is.
    Withdraw(WorkerId, TaskId),
    /// Raise an exception in what the worker runs, if it still runs this task.
    Interrupt(WorkerId, TaskId),
    /// Kill the process; report [`Policy::died`] when it is gone and its ring is drained.
    Kill(WorkerId),
    /// Tell the worker to end after what it has.
    Retire(WorkerId),
    /// Complete the future: the task will have no result.
    Settle(TaskId, Verdict),
    /// Take the record back if it is not claimed, for another worker or for none; report [`Policy::reclaimed`] if that
    /// worked, and nothing if not.
    Reclaim(WorkerId, TaskId),
}

/// What [`Policy::cancel`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelling {
    /// It had not begun, and is settled.
    Done,
    /// It may run: it is settled when its worker has let go of it.
    Underway,
    /// It is settled already, or no task.
    TooLate,
}

/// The state.
#[derive(Debug)]
pub struct Policy {
    pub(crate) settings: Settings,
    pub(crate) tasks: Slab<Task>,
    pub(crate) workers: Slab<Worker>,
    pub(crate) line: Line,
    /// When to look at a task again. Entries of what is over are passed by.
    pub(crate) alarms: BinaryHeap<Reverse<(Nanos, TaskId)>>,
    /// The worker that was given something last: asked first, since it is awake and its caches are warm.
    pub(crate) last: Option<WorkerId>,
    turn: u64,
    stillborn: u32,
    pub(crate) deaths: u32,
    /// A worker has done a task.
    proven: bool,
    pub(crate) closed: bool,
    pub(crate) broken: bool,
    /// Closed, and what has not begun is not to begin any more.
    pub(crate) dropping: bool,
}

impl Policy {
    /// A pool without workers: they are started as tasks come.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            tasks: Slab::default(),
            workers: Slab::default(),
            line: Line::default(),
            alarms: BinaryHeap::new(),
            last: None,
            turn: 0,
            stillborn: 0,
            deaths: 0,
            proven: false,
            closed: false,
            broken: false,
            dropping: false,
        }
    }

    /// A call was submitted. None once the pool is closed or broken.
    pub fn submit(&mut self, call: Call, out: &mut Vec<Action>) -> Option<TaskId> {
        if self.closed || self.broken {
            return None;
        }
        self.turn += 1;
        let id = TaskId(self.tasks.insert(Task {
            call,
            turn: self.turn,
            place: Place::Waiting,
            attempts: 0,
            deadline: None,
            sentence: None,
        }));
        self.line.put(call.priority, self.turn, id);
        self.place(out);
        Some(id)
    }

    /// The process is there and reads its ring.
    pub fn up(&mut self, worker: WorkerId, out: &mut Vec<Action>) {
        if let Some(its) = self.workers.get_mut(worker.0)
            && its.life == Life::Starting
        {
            its.life = Life::Up;
            self.stillborn = 0;
            self.place(out);
        }
    }

    /// The worker has ended a task and its outcome is there; it took so long. True if the outcome is to be
    /// delivered; false if it comes from a worker that did not have the task.
    pub fn finished(&mut self, worker: WorkerId, task: TaskId, took: Nanos, out: &mut Vec<Action>) -> bool {
        let Some(its) = self.workers.get_mut(worker.0) else {
            return false;
        };
        if !its.return_done(task, took) {
            return false;
        }
        self.stillborn = 0;
        self.proven = true;
        let known = self.tasks.remove(task.0);
        // Who was asked to stop and ended: whether the exception or its own result came first, nobody wants to know
        // of a task that was cancelled or is late.
        let verdict = known.as_ref().and_then(|its| its.sentence).map(Verdict::from);
        if let Some(verdict) = verdict {
            out.push(Action::Settle(task, verdict));
        }
        self.retire_if_worn(worker, out);
        self.place(out);
        known.is_some() && verdict.is_none()
    }

    /// The process is gone, its results are read; `running` is what it said it ran.
    pub fn died(&mut self, worker: WorkerId, running: Option<TaskId>, out: &mut Vec<Action>) {
        let Some(its) = self.workers.remove(worker.0) else {
            return;
        };
        if its.life == Life::Starting && !its.excused {
            self.stillborn += 1;
        }
        if !matches!(its.life, Life::Retired | Life::Doomed) {
            self.deaths = self.deaths.saturating_add(1);
        }
        for task in its.leases {
            let Some(state) = self.tasks.get_mut(task.0) else {
                continue;
            };
            let ran = running == Some(task) || state.place == Place::Running(worker);
            if ran {
                state.attempts += 1;
            }
            let verdict = match (state.sentence, state.place) {
                (Some(why), _) => Some(why.into()),
                (None, Place::Withdrawing(_)) => Some(Verdict::Cancelled),
                (None, _) if ran && state.attempts > state.call.retries => Some(Verdict::WorkerDied),
                (None, _) => None,
            };
            match verdict {
                Some(verdict) => self.settle(task, verdict, out),
                None => {
                    state.place = Place::Waiting;
                    state.deadline = None;
                    self.line.put(state.call.priority, state.turn, task);
                }
            }
        }
        let patience = if self.proven { PROVEN } else { 1 };
        let stillborn = self.stillborn >= self.settings.stillborn.max(1).saturating_mul(patience);
        if self.broken || stillborn || self.is_past_its_deaths() {
            self.give_up(out);
        }
        self.drop_waiting(out);
        self.place(out);
    }

    /// The caller does not want the task any more.
    pub fn cancel(&mut self, task: TaskId, now: Nanos, out: &mut Vec<Action>) -> Cancelling {
        let Some(its) = self.tasks.get_mut(task.0) else {
            return Cancelling::TooLate;
        };
        match its.place {
            Place::Waiting => {
                self.settle(task, Verdict::Cancelled, out);
                return Cancelling::Done;
            }
            Place::Leased(worker) => {
                its.place = Place::Withdrawing(worker);
                out.push(Action::Withdraw(worker, task));
            }
            Place::Withdrawing(_) => {}
            Place::Running(_) => self.stop(task, Sentence::Unwanted, now, out),
        }
        Cancelling::Underway
    }

    /// A record was taken back before its worker claimed it.
    pub fn withdrawn(&mut self, worker: WorkerId, task: TaskId, out: &mut Vec<Action>) {
        if self.tasks.get(task.0).map(|its| its.place) != Some(Place::Withdrawing(worker)) {
            return;
        }
        if let Some(its) = self.workers.get_mut(worker.0) {
            its.take_back(task);
        }
        self.settle(task, Verdict::Cancelled, out);
        self.retire_if_worn(worker, out);
        self.place(out);
    }

    /// The worker uses more memory than it may while it runs this task.
    pub fn too_big(&mut self, worker: WorkerId, task: TaskId, out: &mut Vec<Action>) {
        if let Some(its) = self.tasks.get_mut(task.0)
            && matches!(its.place, Place::Running(by) | Place::Leased(by) if by == worker)
        {
            its.place = Place::Running(worker);
            its.sentence = Some(Sentence::TooBig);
            self.kill(worker, out);
        }
    }

    /// Whether it takes no more calls because no worker can be had.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether all is over: closed, nothing left, nobody there.
    #[must_use]
    pub fn is_over(&self) -> bool {
        (self.closed || self.broken) && self.tasks.len() == 0 && self.workers.len() == 0
    }

    /// Whether more workers have died than may.
    #[must_use]
    pub fn is_past_its_deaths(&self) -> bool {
        self.settings.deaths.is_some_and(|most| self.deaths > most)
    }

    /// How many tasks are not settled.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.tasks.len()
    }

    /// How many processes there are, starting ones and dying ones included.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// How often a task was run by a worker that died.
    #[must_use]
    pub fn attempts(&self, task: TaskId) -> Option<u32> {
        self.tasks.get(task.0).map(|its| its.attempts)
    }

    #[cfg(test)]
    pub(crate) fn only_worker(&self) -> WorkerId {
        WorkerId(self.workers.iter().next().unwrap().0)
    }

    pub(crate) fn next_waiting(&mut self) -> Option<TaskId> {
        loop {
            let task = self.line.take()?;
            if self
                .tasks
                .get(task.0)
                .is_some_and(|its| its.place == Place::Waiting)
            {
                return Some(task);
            }
        }
    }

    /// A worker that has had all it may have goes when it has done it.
    pub(crate) fn retire_if_worn(&mut self, worker: WorkerId, out: &mut Vec<Action>) {
        if let Some(its) = self.workers.get_mut(worker.0)
            && its.life == Life::Worn
            && its.leases.is_empty()
        {
            its.life = Life::Retired;
            out.push(Action::Retire(worker));
        }
    }

    pub(crate) fn kill(&mut self, worker: WorkerId, out: &mut Vec<Action>) {
        if let Some(its) = self.workers.get_mut(worker.0)
            && its.life != Life::Doomed
        {
            its.life = Life::Doomed;
            out.push(Action::Kill(worker));
        }
    }

    pub(crate) fn settle(&mut self, task: TaskId, verdict: Verdict, out: &mut Vec<Action>) {
        if self.tasks.remove(task.0).is_some() {
            out.push(Action::Settle(task, verdict));
        }
    }
}
