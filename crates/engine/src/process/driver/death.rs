//! How a worker ends: its pidfd becomes readable, its ring is drained (committed results count), it is asked what it ran, and
//! the policy says what follows. How it ended is asked of its handle, which needs Python: so a worker is buried by
//! whoever is attached.

use super::Driver;
use super::inside::{Inside, News};
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

impl Driver {
    /// Buries the workers whose processes have ended.
    pub fn bury(self: &Arc<Self>, py: Python<'_>) {
        loop {
            let mut inside = self.inside.lock();
            let Some(id) = inside.dead.pop() else { return };
            inside.starting += 1;
            let handle = inside.worker(id).map(|worker| Arc::clone(&worker.handle));
            drop(inside);
            let exitcode = handle.and_then(|handle| exit_code(py, &handle));
            let corpse = self.take_out(id, exitcode);
            self.arena.gone(id.to_bits());
            drop(corpse);
            self.serve_starts(py);
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
                "A process in the process pool was terminated abruptly before it was ready: exit code {}\n{}",
                exitcode.map_or_else(|| "unknown".to_owned(), |code| code.to_string()),
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
