//! Which worker gets the next task, and when another one is started.

use crate::policy::{Action, Policy};
use crate::task::Place;
use crate::worker::{Life, Worker, WorkerId};

impl Policy {
    /// Gives waiting tasks to workers, starts workers for the rest, and lets workers go when nothing can come.
    pub(crate) fn place(&mut self, out: &mut Vec<Action>) {
        while !self.line.is_empty() {
            let Some(worker) = self.who_has_room() else {
                self.start_one(out);
                return;
            };
            let Some(task) = self.next_waiting() else { break };
            if let Some(its) = self.tasks.get_mut(task.0) {
                its.place = Place::Leased(worker);
            }
            if let Some(its) = self.workers.get_mut(worker.0) {
                its.lend(task);
                if self.settings.tasks_per_worker == Some(its.given) {
                    its.life = Life::Worn;
                }
            }
            self.last = Some(worker);
            out.push(Action::Send(worker, task));
        }
        if self.closed {
            let idle: Vec<_> = self.workers.iter().map(|(key, _)| WorkerId(key)).collect();
            for worker in idle {
                if let Some(its) = self.workers.get_mut(worker.0)
                    && its.life == Life::Up
                {
                    its.life = Life::Retired;
                    out.push(Action::Retire(worker));
                }
            }
        }
    }

    /// The worker for the next task: an idle one, the one that was busy last before others; else the least filled.
    fn who_has_room(&self) -> Option<WorkerId> {
        if let Some(last) = self.last
            && let Some(its) = self.workers.get(last.0)
            && its.has_room()
            && (its.leases.is_empty() || self.workers.len() == 1)
        {
            return Some(last);
        }
        let with_room = self.workers.iter().filter(|(_, its)| its.has_room());
        let (key, its) = with_room.min_by_key(|(_, its)| its.leases.len())?;
        // While there may be more workers, no second task is put behind the first.
        let may_start = self.workers.len() < self.settings.workers;
        (its.leases.is_empty() || !may_start).then_some(WorkerId(key))
    }

    pub(crate) fn start_one(&mut self, out: &mut Vec<Action>) {
        if !self.broken && self.workers.len() < self.settings.workers {
            out.push(Action::Start(WorkerId(self.workers.insert(Worker::new()))));
        }
    }
}
