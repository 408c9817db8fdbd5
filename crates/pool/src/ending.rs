//! How a pool comes to its end, and how single workers are made to: closed, given up, condemned, worn out.

use crate::policy::{Action, Policy};
use crate::task::Verdict;
use crate::worker::{Life, WorkerId};

impl Policy {
    /// Takes no more calls; with `cancel`, those that wait are settled. Workers end when nothing is left.
    pub fn close(&mut self, cancel: bool, out: &mut Vec<Action>) {
        self.closed = true;
        self.dropping |= cancel;
        self.drop_waiting(out);
        if cancel {
            // What lies in a ring may have begun; whoever carries this out finds out.
            for (key, its) in self.workers.iter() {
                let last_first = its.leases.iter().rev();
                out.extend(last_first.map(|task| Action::Reclaim(WorkerId(key), *task)));
            }
        }
        self.place(out);
    }

    pub(crate) fn drop_waiting(&mut self, out: &mut Vec<Action>) {
        while self.dropping
            && let Some(task) = self.next_waiting()
        {
            self.settle(task, Verdict::Cancelled, out);
        }
    }

    /// No worker can be had any more, or none is to be: what waits is settled, and all workers are killed.
    pub fn break_up(&mut self, out: &mut Vec<Action>) {
        self.give_up(out);
        self.place(out);
    }

    /// The worker is not to be trusted: it is killed, and counts among those that died.
    pub fn condemn(&mut self, worker: WorkerId, out: &mut Vec<Action>) {
        if let Some(its) = self.workers.get_mut(worker.0) {
            self.deaths = self.deaths.saturating_add(u32::from(its.life != Life::Doomed));
        }
        self.kill(worker, out);
    }

    /// Somebody has killed the worker: if it was not up yet, that does not tell whether workers can be had.
    pub fn excuse(&mut self, worker: WorkerId) {
        if let Some(its) = self.workers.get_mut(worker.0) {
            its.excused = true;
        }
    }

    /// Whether workers that have not begun are of no use any more.
    #[must_use]
    pub fn needs_no_more(&self) -> bool {
        self.broken || self.closed && self.tasks.len() == 0
    }

    /// The worker has not been asked for, and is not to be: [`needs_no_more`](Self::needs_no_more).
    pub fn call_off(&mut self, worker: WorkerId, out: &mut Vec<Action>) {
        if let Some(its) = self.workers.get_mut(worker.0) {
            (its.life, its.excused) = (Life::Retired, true); // It counts as no death.
        }
        self.died(worker, None, out);
    }

    /// The worker has grown too big while nothing ran: another takes its place when it has done what it has.
    pub fn wear_out(&mut self, worker: WorkerId, out: &mut Vec<Action>) {
        if let Some(its) = self.workers.get_mut(worker.0)
            && its.life == Life::Up
        {
            its.life = Life::Worn;
        }
        self.retire_if_worn(worker, out);
    }

    /// No worker comes up: what waits is settled, so that nobody waits for ever.
    pub(crate) fn give_up(&mut self, out: &mut Vec<Action>) {
        self.broken = true;
        while let Some(task) = self.next_waiting() {
            self.settle(task, Verdict::Broken, out);
        }
        let all: Vec<_> = self.workers.iter().map(|(key, _)| WorkerId(key)).collect();
        for worker in all {
            self.kill(worker, out);
        }
    }
}
