//! How long a task may run.
//!
//! A task that runs and has a timeout has one deadline, which moves: until what the call needs is loaded, then until it is late,
//! then until its grace is over. Each move leaves an alarm behind that means nothing any more, and so does each task that ends in
//! time; a pool that makes a million calls with a timeout of an hour would keep a million. So they are swept out when there
//! are many more than workers: only what runs has a deadline, and a worker runs one task.

use crate::Nanos;
use crate::policy::{Action, Policy};
use crate::task::{Place, Sentence, TaskId};
use crate::worker::WorkerId;
use std::cmp::Reverse;

/// So long what a call needs (modules, mostly) may take to be loaded before the call itself begins, if its timeout is shorter.
pub const LOADING: Nanos = 60_000_000_000;

/// So many alarms a worker may there be until those are swept out that mean nothing,
const FEW: usize = 4;
/// and so many besides.
const SOME: usize = 64;

impl Policy {
    /// The worker has begun to load what a task with a timeout needs: that is not counted, within reason.
    pub fn loads(&mut self, worker: WorkerId, task: TaskId, now: Nanos, out: &mut Vec<Action>) {
        self.runs(worker, task, LOADING, now, out);
    }

    /// The worker has begun with a task. Has to be reported for tasks with a timeout, may be for others.
    pub fn started(&mut self, worker: WorkerId, task: TaskId, now: Nanos, out: &mut Vec<Action>) {
        self.runs(worker, task, 0, now, out);
    }

    fn runs(&mut self, worker: WorkerId, task: TaskId, at_least: Nanos, now: Nanos, out: &mut Vec<Action>) {
        let Some(its) = self.tasks.get_mut(task.0) else {
            return;
        };
        let unwanted = its.place == Place::Withdrawing(worker);
        let loaded = its.place == Place::Running(worker) && its.sentence.is_none();
        if its.place != Place::Leased(worker) && !unwanted && !loaded {
            return;
        }
        its.place = Place::Running(worker);
        if let Some(timeout) = its.call.timeout {
            self.alarm(task, now.saturating_add(timeout.max(at_least)));
        }
        if unwanted {
            self.stop(task, Sentence::Unwanted, now, out);
        }
    }

    /// When [`tick`](Self::tick) is due.
    #[must_use]
    pub fn next_alarm(&self) -> Option<Nanos> {
        self.alarms.peek().map(|Reverse((at, _))| *at)
    }

    /// The time has come.
    pub fn tick(&mut self, now: Nanos, out: &mut Vec<Action>) {
        while let Some(&Reverse((at, task))) = self.alarms.peek()
            && at <= now
        {
            self.alarms.pop();
            let Some(its) = self.tasks.get(task.0) else {
                continue;
            };
            let Place::Running(worker) = its.place else {
                continue;
            };
            if its.deadline != Some(at) {
                continue; // It has another by now.
            }
            match its.sentence {
                None => self.stop(task, Sentence::Late, now, out),
                // It had its grace.
                Some(_) => self.kill(worker, out),
            }
        }
    }

    /// Asks a running task to stop; its worker is killed if it has not when the grace is over.
    pub(crate) fn stop(&mut self, task: TaskId, why: Sentence, now: Nanos, out: &mut Vec<Action>) {
        let Some(its) = self.tasks.get_mut(task.0) else {
            return;
        };
        let Place::Running(worker) = its.place else { return };
        if its.sentence.is_some() {
            return;
        }
        its.sentence = Some(why);
        self.alarm(task, now.saturating_add(self.settings.grace));
        out.push(Action::Interrupt(worker, task));
    }

    /// The task's deadline is then, and no other time.
    fn alarm(&mut self, task: TaskId, at: Nanos) {
        let Some(its) = self.tasks.get_mut(task.0) else {
            return;
        };
        its.deadline = Some(at);
        self.alarms.push(Reverse((at, task)));
        if self.alarms.len() > SOME + FEW * self.workers.len() {
            let tasks = &self.tasks;
            self.alarms
                .retain(|Reverse((at, task))| tasks.get(task.0).is_some_and(|its| its.deadline == Some(*at)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LOADING;
    use crate::tests::Stage;
    use crate::{Action, Call, Verdict};

    const IN_50: Call = Call {
        priority: 0,
        retries: 0,
        timeout: Some(50),
    };

    #[test]
    fn a_late_task_is_interrupted_then_its_worker_killed_and_its_death_settles_it() {
        let (mut stage, task, worker) = Stage::with_worker(Call {
            timeout: Some(50),
            retries: 9,
            ..Call::default()
        });
        stage.policy.started(worker, task, 1000, &mut stage.out);
        assert_eq!(stage.policy.next_alarm(), Some(1050));
        stage.policy.tick(1049, &mut stage.out);
        assert_eq!(stage.actions(), []);
        stage.policy.tick(1050, &mut stage.out);
        assert_eq!(stage.actions(), [Action::Interrupt(worker, task)]);
        stage.policy.tick(1150, &mut stage.out);
        assert_eq!(stage.actions(), [Action::Kill(worker)]);
        stage.policy.died(worker, Some(task), &mut stage.out);
        assert_eq!(stage.actions(), [Action::Settle(task, Verdict::TimedOut)]);
    }

    #[test]
    fn a_late_task_that_heeds_the_interruption_costs_no_worker() {
        let (mut stage, task, worker) = Stage::with_worker(Call {
            timeout: Some(50),
            ..Call::default()
        });
        stage.policy.started(worker, task, 0, &mut stage.out);
        stage.policy.tick(50, &mut stage.out);
        stage.actions();
        assert!(!stage.policy.finished(worker, task, 60, &mut stage.out));
        assert_eq!(stage.actions(), [Action::Settle(task, Verdict::TimedOut)]);
        stage.policy.tick(1000, &mut stage.out);
        assert_eq!(stage.actions(), []);
        let next = stage.submit(Call::default());
        assert_eq!(stage.actions(), [Action::Send(worker, next)]);
    }

    #[test]
    fn what_is_loaded_is_not_counted() {
        let (mut stage, task, worker) = Stage::with_worker(IN_50);
        stage.policy.loads(worker, task, 1000, &mut stage.out);
        stage.policy.tick(1050, &mut stage.out);
        assert_eq!(stage.actions(), []);
        stage.policy.started(worker, task, 5000, &mut stage.out);
        stage.policy.tick(5049, &mut stage.out);
        assert_eq!(stage.actions(), []);
        stage.policy.tick(5050, &mut stage.out);
        assert_eq!(stage.actions(), [Action::Interrupt(worker, task)]);
        // It says that it starts only now: it is late even so.
        stage.policy.started(worker, task, 5060, &mut stage.out);
        stage.policy.tick(5150, &mut stage.out);
        assert_eq!(stage.actions(), [Action::Kill(worker)]);
    }

    #[test]
    fn loading_does_not_take_for_ever() {
        let (mut stage, task, worker) = Stage::with_worker(IN_50);
        stage.policy.loads(worker, task, 1000, &mut stage.out);
        assert_eq!(stage.policy.next_alarm(), Some(1000 + LOADING));
        stage.policy.tick(1000 + LOADING, &mut stage.out);
        assert_eq!(stage.actions(), [Action::Interrupt(worker, task)]);
    }

    #[test]
    fn alarms_of_what_is_over_do_not_pile_up() {
        let (mut stage, mut task, worker) = Stage::with_worker(IN_50);
        for now in 0..10_000 {
            stage.policy.loads(worker, task, now, &mut stage.out);
            stage.policy.started(worker, task, now, &mut stage.out);
            assert!(stage.policy.finished(worker, task, 1, &mut stage.out));
            task = stage.submit(IN_50);
        }
        assert!(stage.policy.alarms.len() < 100);
        stage.policy.started(worker, task, 20_000, &mut stage.out);
        stage.actions();
        stage.policy.tick(20_050, &mut stage.out);
        assert_eq!(stage.actions(), [Action::Interrupt(worker, task)]);
    }
}
