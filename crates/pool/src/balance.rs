//! Moving tasks that no worker has begun: from a full worker to one that has nothing to do; and having all workers there.

use crate::policy::{Action, Policy};
use crate::task::{Place, TaskId};
use crate::worker::{Life, Worker, WorkerId};

impl Policy {
    /// A record was taken back before its worker claimed it: for another worker, or, if the pool was closed with
    /// `cancel`, for good.
    pub fn reclaimed(&mut self, worker: WorkerId, task: TaskId, out: &mut Vec<Action>) {
        let Some(its) = self.tasks.get_mut(task.0) else {
            return;
        };
        if its.place != Place::Leased(worker) {
            return;
        }
        its.place = Place::Waiting;
        let (priority, turn) = (its.call.priority, its.turn);
        if let Some(its) = self.workers.get_mut(worker.0)
            && its.take_back(task)
        {
            its.given -= 1;
            if its.life == Life::Worn {
                its.life = Life::Up;
            }
        }
        self.line.put(priority, turn, task);
        self.drop_waiting(out);
        self.place(out);
    }

    /// Whether a worker has nothing to do while another has tasks behind the one that it runs.
    #[must_use]
    pub fn is_lopsided(&self) -> bool {
        self.line.is_empty()
            && self
                .workers
                .iter()
                .any(|(_, its)| its.life != Life::Retired && its.leases.len() > 1)
            && (self.workers.iter().any(|(_, its)| its.is_free())
                || self.workers.len() < self.settings.workers
                    && self.workers.iter().all(|(_, its)| its.life != Life::Starting))
    }

    /// Has half of what lies behind the running task of the fullest worker taken back, if another has nothing to do; starts
    /// another if there may be one. To be
    /// called when that has lasted: tasks that take microseconds are done sooner than they are moved.
    pub fn rebalance(&mut self, out: &mut Vec<Action>) {
        if !self.is_lopsided() {
            return;
        }
        if !self.workers.iter().any(|(_, its)| its.is_free()) {
            // Its tasks stay where they are until the new one is up: then it is that which has nothing to do.
            self.start_one(out);
            return;
        }
        let fullest = self.workers.iter().max_by_key(|(_, its)| its.leases.len());
        let Some((key, its)) = fullest else { return };
        let behind = its.leases.len() - 1;
        let moved = its.leases.iter().rev().take(behind.div_ceil(2));
        out.extend(moved.map(|task| Action::Reclaim(WorkerId(key), *task)));
    }

    /// Starts one more worker, if there may be one: a call came that would have had it, and cannot be sent.
    pub fn start_another(&mut self, out: &mut Vec<Action>) {
        if !self.closed {
            self.start_one(out);
        }
    }

    /// Starts all workers that there may be, ahead of any task.
    pub fn fill(&mut self, out: &mut Vec<Action>) {
        while !self.closed && !self.broken && self.workers.len() < self.settings.workers {
            out.push(Action::Start(WorkerId(self.workers.insert(Worker::new()))));
        }
    }
}
