//! A crew: the queue of jobs and the workers that idle, behind one guard.
//!
//! # Counting
//! `idle` counts the workers that will look for a job before anything else: those in the list, those notified
//! that have not looked yet, and those that are about to deliver a result with an empty queue behind them
//! ([`Crew::mark_idle`], so that whoever hears of the result can submit again without a new thread being started,
//! cpython#117344). A job finds a worker as long as no more jobs are queued than workers idle; else a new worker is
//! started, up to the most. This is the standard library's rule.
//!
//! # Waking
//! The list is a stack: the worker that idles for the shortest time is the warmest. One wake is under way
//! at most (`waking`); whoever takes a job while more are queued sends the next. A worker looks at the queue under the
//! latch before it sleeps, and a submission pops it from the list under the latch, so no job waits for a sleeper.
//!
//! # Fork
//! In a child none of the workers exist. The first submission there finds an older generation and begins anew; the
//! parent's jobs are the parent's, and the child's copies of their futures are cancelled.

use super::job::Job;
use super::roster::Roster;
use crate::guarded::Guarded;
use plait_core::{Batch, Latch, Site, Spin, WaitList, Waiter, fork};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// A queue that has grown beyond this gives its memory back when it is empty.
const ROOMY: usize = 4096;

/// Whether jobs are taken, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// They are.
    Open,
    /// `shutdown()` was called, or nobody has the executor any more.
    Shutdown,
    /// The interpreter is on its way out.
    Exit,
    /// An initializer failed.
    Broken,
}

#[derive(Debug)]
struct Inside {
    jobs: VecDeque<Job>,
    parked: WaitList,
    idle: usize,
    waking: bool,
    gate: Gate,
    /// Workers that have been started, or are about to be.
    workers: usize,
    /// Of these, the ones whose threads are being started just now.
    starting: usize,
    generation: u32,
}

/// The workers of one pool, and what they have to do.
#[derive(Debug)]
pub struct Crew {
    most: usize,
    /// Whether the interpreter's exit closes it (and waits for its threads, which are no daemons then).
    leaves: bool,
    /// How many jobs are queued: exact under the latch, a hint without it.
    queued: AtomicUsize,
    inside: Guarded<Inside>,
    spin: Spin,
    pub roster: Arc<Roster>,
}

/// The end of [`Crew::submit`].
#[derive(Debug)]
#[must_use]
pub enum Submit {
    /// Queued; these are to be notified.
    Queued(Batch),
    /// Queued, and a worker of this number is to be started.
    Grow(usize),
    /// Not queued.
    Refused(Job, Gate),
    /// Not queued: this is a child; the parent's jobs, to be cancelled. Then try again.
    Forked(Job, VecDeque<Job>),
}

/// The end of [`Crew::take`].
#[derive(Debug)]
#[must_use]
pub enum Take {
    /// A job; these are to be notified first.
    Job(Job, Batch),
    /// Nothing to do.
    Empty,
    /// Nothing to do ever again.
    Leave,
}

static CREWS: Latch<Vec<Weak<Crew>>> = Latch::new(Vec::new());
static EXITING: AtomicBool = AtomicBool::new(false);

/// Has the crews that leave at exit do so when their queues are empty, and refuse everything: for the interpreter's exit.
pub fn exit_all() {
    EXITING.store(true, Ordering::Release);
    let crews: Vec<_> = CREWS.lock().iter().filter_map(Weak::upgrade).collect();
    for crew in crews.iter().filter(|crew| crew.leaves) {
        crew.close(Gate::Exit).notify();
    }
}

impl Crew {
    /// A crew of `most` workers, none of which has been started.
    pub fn new(most: usize, leaves: bool) -> Arc<Self> {
        let crew = Arc::new(Self {
            most,
            roster: Roster::new(most),
            leaves,
            queued: AtomicUsize::new(0),
            inside: Guarded::new(Inside {
                jobs: VecDeque::new(),
                parked: WaitList::new(),
                idle: 0,
                waking: false,
                gate: Gate::Open,
                workers: 0,
                starting: 0,
                generation: fork::generation(),
            }),
            spin: Spin::new(),
        });
        let mut crews = CREWS.lock();
        crews.retain(|crew| crew.strong_count() > 0);
        crews.push(Arc::downgrade(&crew));
        drop(crews);
        if leaves && EXITING.load(Ordering::Acquire) {
            crew.close(Gate::Exit).notify();
        }
        crew
    }

    /// Puts a job in the queue.
    #[inline]
    pub fn submit(&self, job: Job) -> Submit {
        let mut inside = self.inside.lock();
        if inside.generation != fork::generation() {
            let jobs = std::mem::take(&mut inside.jobs);
            let gate = inside.gate;
            self.roster.clear();
            *inside = Inside {
                jobs: VecDeque::new(),
                parked: WaitList::new(),
                idle: 0,
                waking: false,
                gate,
                workers: 0,
                starting: 0,
                generation: fork::generation(),
            };
            return Submit::Forked(job, jobs);
        }
        if inside.gate != Gate::Open {
            return Submit::Refused(job, inside.gate);
        }
        inside.jobs.push_back(job);
        self.queued.store(inside.jobs.len(), Ordering::Relaxed);
        self.place(&mut inside)
    }

    /// Finds a worker for the last job.
    fn place(&self, inside: &mut Inside) -> Submit {
        if inside.jobs.len() > inside.idle && inside.workers < self.most {
            inside.workers += 1;
            inside.starting += 1;
            return Submit::Grow(inside.workers - 1);
        }
        Submit::Queued(Self::wake(inside))
    }

    fn wake(inside: &mut Inside) -> Batch {
        if inside.waking || inside.jobs.is_empty() {
            return Batch::EMPTY;
        }
        let next = inside.parked.pop(1);
        inside.waking = !next.is_empty();
        next
    }

    /// The number of a worker that is to be started ahead of any job, if there may be one more.
    pub fn reserve(&self) -> Option<usize> {
        let mut inside = self.inside.lock();
        (inside.workers < self.most).then(|| {
            inside.workers += 1;
            inside.workers - 1
        })
    }

    /// The thread that [`Submit::Grow`] asked for has been started, or could not be.
    pub fn grown(&self, started: bool) {
        let mut inside = self.inside.lock();
        inside.starting = inside.starting.saturating_sub(1);
        if !started {
            inside.workers = inside.workers.saturating_sub(1);
        }
    }

    /// Whether a thread is being started just now: one that nobody can join yet.
    pub fn is_growing(&self) -> bool {
        let inside = self.inside.lock();
        inside.starting > 0 && inside.generation == fork::generation()
    }

    /// The next job. `was_idle`: whether the caller counts as idle; it does not any more.
    #[inline]
    pub fn take(&self, was_idle: bool) -> Take {
        let mut inside = self.inside.lock();
        if was_idle {
            inside.idle = inside.idle.saturating_sub(1);
        }
        if let Some(job) = inside.jobs.pop_front() {
            self.queued.store(inside.jobs.len(), Ordering::Relaxed);
            let next = Self::wake(&mut inside);
            return Take::Job(job, next);
        }
        if inside.jobs.capacity() > ROOMY {
            inside.jobs = VecDeque::new();
        }
        if inside.gate == Gate::Open {
            Take::Empty
        } else {
            Take::Leave
        }
    }

    /// Counts the calling worker as idle if the queue is empty: just before it delivers a result.
    #[inline]
    pub fn mark_idle(&self) -> bool {
        if self.queued.load(Ordering::Relaxed) != 0 {
            return false;
        }
        let mut inside = self.inside.lock();
        let empty = inside.jobs.is_empty();
        if empty {
            inside.idle += 1;
        }
        empty
    }

    /// The calling worker is not idle after all: finds others for what was queued meanwhile.
    pub fn unmark_idle(&self) -> Submit {
        let mut inside = self.inside.lock();
        inside.idle = inside.idle.saturating_sub(1);
        if inside.jobs.is_empty() || inside.gate != Gate::Open {
            Submit::Queued(Batch::EMPTY)
        } else {
            self.place(&mut inside)
        }
    }

    /// Takes no more jobs. The workers are to be notified; they leave when the queue is empty.
    pub fn close(&self, gate: Gate) -> Batch {
        let mut inside = self.inside.lock();
        if inside.gate == Gate::Open || gate == Gate::Broken {
            inside.gate = gate;
        }
        inside.parked.pop(usize::MAX)
    }

    /// Takes all jobs out of the queue.
    pub fn drain(&self) -> VecDeque<Job> {
        let mut inside = self.inside.lock();
        self.queued.store(0, Ordering::Relaxed);
        std::mem::take(&mut inside.jobs)
    }

    /// Why it takes no jobs, or [`Gate::Open`].
    pub fn gate(&self) -> Gate {
        self.inside.lock().gate
    }

    /// How many jobs are queued.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// How many workers idle.
    pub fn idle(&self) -> usize {
        self.inside.lock().idle
    }
}

/// A worker's wait for a job. On return it counts as idle.
impl Site for Crew {
    fn take_or_enqueue(&self, waiter: &Waiter, again: bool) -> bool {
        let mut inside = self.inside.lock();
        if again {
            inside.waking = false;
        } else {
            inside.idle += 1;
        }
        if !inside.jobs.is_empty() || inside.gate != Gate::Open {
            return true;
        }
        // In front: the last to come is the first to go.
        inside.parked.enqueue(waiter, true);
        false
    }

    fn leave(&self, waiter: &Waiter) -> bool {
        self.inside.lock().parked.remove(waiter)
    }

    fn pass_on(&self) {
        let mut inside = self.inside.lock();
        inside.waking = false;
        let next = Self::wake(&mut inside);
        drop(inside);
        next.notify();
    }

    fn spin(&self) -> &Spin {
        &self.spin
    }
}
