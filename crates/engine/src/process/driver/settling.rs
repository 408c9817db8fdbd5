//! How calls end: with what a worker sent, or with the news of why there is nothing; and who is told.

use super::deliveries::{Soon, Telling};
use super::inside::{Inside, News};
use crate::futures::future::FutureCore;
use crate::futures::observer::Ear;
use crate::futures::outcome::Outcome;
use crate::held::Held;
use crate::hot;
use crate::process::outcome::{Arrived, Fate, Packed};
use crate::process::protocol::COPY;
use crate::process::telemetry::Telemetry;
use plait_core::Batch;
use plait_core::cell::{Cancel, Crowd, Finish, Start};
use plait_pool::{Nanos, TaskId, Verdict};

/// How a worker ended: what the errors of the calls that it ran say.
#[derive(Debug, Default, Clone)]
pub struct Obituary {
    pub exitcode: Option<i32>,
    pub stderr: String,
    pub pid: i32,
    pub used: Option<u64>,
}

impl Inside {
    /// A result has come, and is the one to be delivered.
    #[inline]
    pub fn deliver(
        &mut self,
        task: TaskId,
        kind: u8,
        value: Arrived<'_>,
        mut known: Telemetry,
        news: &mut News,
    ) {
        let Some(job) = self.take_job(task) else { return };
        known.submitted = job.submitted;
        known.attempts = job.attempts + 1;
        self.sums.add(known.took, known.cpu, kind != 0);
        self.spent_is_large |= matches!(value, Arrived::Large(_));
        let packed = Packed::result(kind, value, job.flags & COPY != 0, known);
        if self.said == 0 {
            self.complete(job.future, packed, news);
        } else {
            // Who has the result has seen what was printed before it.
            self.soon.push(Soon::Result(job.future, packed));
        }
    }

    #[inline]
    pub(super) fn complete(&mut self, future: Held, packed: Packed, news: &mut News) {
        let failed = packed.failed();
        // SAFETY: a job's future is a FutureCore, and `future` holds it.
        let core: &FutureCore = unsafe { hot::this(future.as_ptr()) };
        match core.cell.finish(Outcome::Packed(Box::new(packed))) {
            Finish::Finished(crowd) => self.tell(future, crowd, failed, news),
            // It was cancelled meanwhile. (Nothing of Python's is in an outcome that nobody has unpacked.)
            Finish::Invalid(..) => self.spent.push(future),
            Finish::Manual(outcome) => self.calls.push(Telling::Manual(future, outcome)),
        }
    }

    #[inline]
    fn tell(&mut self, future: Held, crowd: Crowd<Ear>, failed: bool, news: &mut News) {
        if !crowd.threads.is_empty() {
            news.threads.push(crowd.threads);
        }
        if crowd.observers.is_empty() {
            self.spent.push(future);
        } else if crowd.observers.iter().any(|ear| matches!(ear, Ear::Callback(_))) {
            self.calls.push(Telling::Ears(future, crowd.observers, failed));
        } else {
            self.soon.push(Soon::Sinks(future, crowd.observers, failed));
        }
    }

    pub(super) fn settle(&mut self, task: TaskId, verdict: Verdict, now: Nanos, news: &mut News) {
        let Some(job) = self.take_job(task) else { return };
        let about = &self.obituary;
        let fate = match verdict {
            Verdict::Cancelled => {
                self.sums.cancelled += 1;
                return self.cancel(job.future, news);
            }
            Verdict::WorkerDied => {
                self.sums.failed += 1;
                Fate::Died {
                    exitcode: about.exitcode,
                    stderr: about.stderr.clone(),
                    pid: about.pid,
                    call: job.text(&self.functions),
                }
            }
            Verdict::TimedOut => {
                self.sums.timed_out += 1;
                #[expect(clippy::cast_precision_loss, reason = "seconds for a text")]
                Fate::Late {
                    seconds: job.timeout.map(|nanos| nanos as f64 / 1e9),
                    call: job.text(&self.functions),
                }
            }
            Verdict::OutOfMemory => {
                self.sums.failed += 1;
                Fate::Big {
                    used: about.used,
                    limit: self.memory_limit,
                    call: job.text(&self.functions),
                }
            }
            Verdict::Broken => {
                self.sums.failed += 1;
                Fate::Broken(self.why.clone())
            }
        };
        let telemetry = Telemetry {
            submitted: job.submitted,
            ended: now,
            pid: about.pid,
            attempts: job.attempts + 1,
            ..Telemetry::default()
        };
        self.complete(job.future, Packed::fate(fate, telemetry), news);
    }

    /// The future of a call that will not be made, or whose caller does not want it: cancelled, and all are told.
    fn cancel(&mut self, future: Held, news: &mut News) {
        // SAFETY: a job's future is a FutureCore, and `future` holds it.
        let core: &FutureCore = unsafe { hot::this(future.as_ptr()) };
        let mut crowds = Vec::new();
        match core.cell.cancel() {
            Cancel::Cancelled(crowd) => crowds.push(crowd),
            Cancel::Already => {}
            Cancel::TooLate | Cancel::Manual => {
                self.calls.push(Telling::Cancel(future));
                return;
            }
        }
        if let Start::Cancelled(crowd) = core.cell.start() {
            crowds.push(crowd);
        }
        let mut ears = plait_core::cell::Few::new();
        for crowd in crowds {
            if !crowd.threads.is_empty() {
                news.threads.push(crowd.threads);
            }
            ears.extend(crowd.observers);
        }
        let crowd = Crowd {
            threads: Batch::EMPTY,
            observers: ears,
        };
        self.tell(future, crowd, false, news);
    }
}
