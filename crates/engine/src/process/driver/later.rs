//! The workers of a new `Pool` beside the first: made when they may be of use.
//!
//! Whoever opens a pool goes on when its first worker is there. The others follow [`HEAD_START`] later, one after the other: a pool that
//! is over by then never makes them. Who asks which workers there are has them made at once, and waits for them.
//!
//! | who | what |
//! | --- | --- |
//! | [`start_all`](Driver::start_all), before there is a reader | puts them into [`Later`] |
//! | the reader | takes them out when it is time, or calls them off |
//! | a thread for them alone, since the reader may not wait for a zygote | has them made, one after the other |
//!
//! All under the driver's latch. From being taken out until they are entered they are counted in `starting`.

use super::Driver;
use super::inside::{Inside, News};
use crate::door;
use crate::process::reader;
use plait_core::clock::{self, Nanos};
use plait_pool::WorkerId;
use pyo3::prelude::*;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// So much later than the first the others are made: about what it costs to make and to end one (fork, page faults, its own
/// beginning, its end), on the very processors that the first and the caller need. So waiting in vain costs no more than a worker
/// that was made in vain.
const HEAD_START: Nanos = 5_000_000;

/// Workers that are wanted, and when.
#[derive(Debug, Default)]
pub struct Later {
    ids: VecDeque<WorkerId>,
    at: Nanos,
}

impl Driver {
    /// Starts all workers that there may be. Where a zygote makes them only the first is there when this returns.
    ///
    /// # Errors
    /// What the last one raised that could not be started.
    pub fn start_all(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        let has_zygote = self.has_zygote();
        let mut news = News::default();
        let mut guard = self.inside.lock();
        let inside = &mut *guard;
        // Until the error is taken the pool is not over: the reader would end, and take it away.
        inside.starting += 1;
        inside.policy.fill(&mut inside.out);
        inside.carry_out(clock::now(), &mut news);
        if has_zygote && inside.starts.len() > 1 {
            inside.later = Later {
                ids: inside.starts.split_off(1),
                at: clock::now() + HEAD_START,
            };
        }
        drop(guard);
        self.serve_starts(Some(py));
        let mut inside = self.inside.lock();
        inside.starting -= 1;
        let error = inside.start_error.take();
        drop(inside);
        self.wake_if_over();
        error.map_or(Ok(()), Err)
    }

    /// Waits, a moment at a time, until no worker is wanted, or being started by another thread.
    pub fn wait_for_starts(&self, py: Python<'_>) {
        loop {
            let mut inside = self.inside.lock();
            // (A pool that was given up because it has no reader has nobody who calls them off.)
            let waits = !inside.later.ids.is_empty() && !inside.policy.needs_no_more();
            if inside.starting == 0 && !waits {
                return;
            }
            let hurry = waits && std::mem::take(&mut inside.later.at) != 0;
            drop(inside);
            if hurry {
                self.wake_reader();
            }
            door::detached(py, || std::thread::sleep(Duration::from_micros(200)));
        }
    }

    /// Has these made, by a thread of their own.
    pub fn bear_later(self: &Arc<Self>, ids: VecDeque<WorkerId>) {
        if ids.is_empty() {
            return;
        }
        let its = Arc::clone(self);
        let rest = ids.clone();
        if reader::thread(move || its.bear_each(ids)).is_err() {
            self.bear_each(rest);
        }
    }

    fn bear_each(self: &Arc<Self>, ids: VecDeque<WorkerId>) {
        for id in ids {
            let mut inside = self.inside.lock();
            inside.starting -= 1;
            inside.starts.push_back(id);
            drop(inside);
            self.serve_starts(None);
        }
    }
}

impl Inside {
    /// The workers that are to be made now. Calls off those that nobody needs.
    pub fn take_later(&mut self, now: Nanos, news: &mut News) -> VecDeque<WorkerId> {
        if self.later.ids.is_empty() {
            return VecDeque::new();
        }
        if self.policy.needs_no_more() {
            let ids = std::mem::take(&mut self.later.ids);
            self.call_off(ids, now, news);
        } else if now >= self.later.at {
            self.starting += self.later.ids.len();
            return std::mem::take(&mut self.later.ids);
        } else {
            news.alarm = news.alarm.min(self.later.at);
        }
        VecDeque::new()
    }

    /// Nobody needs these any more, which have not been asked for.
    pub fn call_off(&mut self, ids: VecDeque<WorkerId>, now: Nanos, news: &mut News) {
        for id in ids {
            self.policy.call_off(id, &mut self.out);
        }
        self.carry_out(now, news);
    }
}
