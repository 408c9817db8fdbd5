//! How a worker ends: its pidfd becomes readable, its ring is drained (committed results count), it is asked what it ran, and
//! the policy says what follows. How it ended is asked of its handle: where that needs Python, by whoever is attached; a zygote's
//! worker is buried by the reader, and what Python owns of it let go of later.

use super::Driver;
use super::deliveries::Record;
use super::inside::{Corpse, Inside, News};
use super::settling::Obituary;
use super::worker::Worker;
use crate::process::start::Handle;
use plait_core::clock;
use plait_pool::{TaskId, WorkerId};
use pyo3::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// Who ends by one of these was ended by somebody else (the system, where memory is short).
const KILLED: [i32; 2] = [-libc::SIGKILL, -libc::SIGTERM];
/// So many in a row, none of which came up, are taken for accidents.
const STRUCK: u32 = 1000;
/// So long the starter is given to know how a process ended that has.
const REPORT: Duration = Duration::from_millis(500);

impl Inside {
    /// A worker's process has ended.
    pub fn has_ended(&mut self, id: WorkerId, news: &mut News) {
        if let Some(worker) = self.worker_mut(id)
            && !worker.is_dead
        {
            worker.is_dead = true;
            self.dead.push(id);
            news.deaths = true;
        }
    }
}

impl Inside {
    /// The next one to be buried. Without the interpreter not one that has done nothing: why it did not come up may be known
    /// already, but not told, which takes the interpreter, and comes first.
    fn next_dead(&mut self, attached: bool) -> Option<WorkerId> {
        let has_worked = |id: &WorkerId| {
            let worker = self.worker(*id);
            worker.is_none_or(|worker| worker.done > 0 || worker.board().running() != 0)
        };
        let at = self.dead.iter().rposition(|id| attached || has_worked(id))?;
        Some(self.dead.remove(at))
    }
}

impl Driver {
    /// What of [`serve`](Self::serve) cannot wait for the interpreter, as far as it can be done without: the dead are buried and
    /// others started in their place.
    pub fn serve_detached(self: &Arc<Self>) {
        if self.starts_detached() {
            self.bury(None);
            self.serve_starts(None);
        }
    }

    /// Buries the workers whose processes have ended.
    pub fn bury(self: &Arc<Self>, py: Option<Python<'_>>) {
        loop {
            let mut inside = self.inside.lock();
            let Some(id) = inside.next_dead(py.is_some()) else {
                return;
            };
            inside.starting += 1;
            let handle = inside.worker(id).map(|worker| Arc::clone(&worker.handle));
            drop(inside);
            let exitcode = handle.as_ref().and_then(|handle| match py {
                Some(py) => exit_code(py, handle),
                None => handle.status_detached(),
            });
            if let Some(py) = py {
                self.hear_why(py, id);
            }
            let corpse = self.take_out(id, exitcode);
            self.arena.gone(id.to_bits());
            if py.is_none() {
                self.inside.lock().remains.push(Corpse {
                    _handle: handle,
                    _worker: corpse,
                });
            }
            self.serve_starts(py);
        }
    }

    /// What an initializer raised may have come with the end: that is why the pool is broken, and not the end.
    fn hear_why(self: &Arc<Self>, py: Python<'_>, id: WorkerId) {
        let mut news = News::default();
        let mut guard = self.inside.lock();
        let inside = &mut *guard;
        inside.drain_to_end(id, clock::now(), &mut news);
        inside.publish(&mut news);
        let unfit = inside.records.pull(|one| matches!(one, Record::Unfit(..)));
        drop(guard);
        let _: News = self.after(news);
        if let Some(Err(error)) = unfit.map(|one| self.handle(py, one)) {
            error.write_unraisable(py, None);
        }
    }

    fn take_out(&self, id: WorkerId, exitcode: Option<i32>) -> Option<Box<Worker>> {
        let mut news = News::default();
        let mut guard = self.inside.lock();
        let inside = &mut *guard;
        let now = clock::now();
        inside.starting -= 1;
        inside.drain_to_end(id, now, &mut news);
        let worker = inside.workers.get_mut(id.place())?;
        if worker.as_ref().is_none_or(|worker| worker.id != id) {
            return None;
        }
        let mut worker = worker.take()?;
        // Nothing comes after the end: what is in the pipe is all (unless a child of its own has it, which may go on).
        worker.listen();
        let running = worker.board().running();
        let running = (running != 0).then(|| TaskId::from_bits(running));
        inside.obituary = Obituary {
            exitcode,
            stderr: worker.last_words(),
            pid: worker.pid,
            used: worker.used,
        };
        if inside.why.is_empty() && exitcode != Some(0) {
            inside.why = format!(
                "A process in the process pool was terminated abruptly before it was ready: {}\n{}",
                exit_text(exitcode),
                inside.obituary.stderr
            );
        }
        // Before its calls go to others.
        self.arena.gone(id.to_bits());
        inside.sums.died_workers += u64::from(exitcode != Some(0));
        if matches!(exitcode, Some(code) if KILLED.contains(&code)) && inside.struck < STRUCK {
            inside.struck += 1;
            inside.policy.excuse(id);
        }
        inside.policy.died(id, running, &mut inside.out);
        if inside.policy.is_past_its_deaths() && inside.gate == super::Gate::Open {
            inside.why = format!(
                "A process in the process pool was terminated abruptly, and no more than max_deaths={} may be: {}\n{}",
                self.settings.policy.deaths.unwrap_or_default(),
                exit_text(exitcode),
                inside.obituary.stderr
            );
        }
        if let Some(task) = running {
            inside.charge(task);
        }
        if inside.policy.is_broken() && inside.gate == super::Gate::Open {
            inside.gate = super::Gate::Broken;
        }
        inside.carry_out(now, &mut news);
        inside.obituary = Obituary::default();
        inside.publish(&mut news);
        drop(guard);
        let _: News = self.after(news);
        Some(worker)
    }
}

fn exit_text(code: Option<i32>) -> String {
    let code = code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
    format!("exit code {code}")
}

/// How the process ended; None if the starter does not learn it in time.
fn exit_code(py: Python<'_>, handle: &Handle) -> Option<i32> {
    let until = std::time::Instant::now() + REPORT;
    loop {
        let code = handle.status(py).ok()?;
        if code.is_some() {
            return code;
        }
        if std::time::Instant::now() > until {
            return None;
        }
        crate::door::detached(py, || std::thread::sleep(Duration::from_micros(500)));
    }
}
