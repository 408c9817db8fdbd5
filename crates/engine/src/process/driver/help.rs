//! The caller that waits for a result reads the rings itself.
//!
//! First still attached, for [`ATTACHED`]: a call of a microsecond is back by then, and whoever detaches while another
//! thread wants the interpreter gets it back milliseconds later. Then detached, yielding the core to the workers, for
//! [`YIELDING`] while that pays. What comes meanwhile is completed for everybody. Then it goes to the door as any waiter,
//! and the reader takes over.
//!
//! Where getting the interpreter back has lately taken long ([`LONG`]), the first stage lasts for [`PATIENT`], as long as that pays:
//! a worker that slept while another thread had the interpreter for its 5 ms takes more than 20 µs to wake, and to detach
//! meanwhile would cost the next 5 ms, after which it sleeps again, and so on with every call.

use super::Driver;
use super::inside::News;
use crate::door;
use crate::limit::Limit;
use plait_core::clock::{self, Nanos};
use plait_core::spin;
use pyo3::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const ATTACHED: Nanos = 20_000;
const YIELDING: Nanos = 100_000;
const PATIENT: Nanos = 500_000;
/// Nobody but a thread that wants the interpreter for itself, or a busy machine, makes anybody wait for so long.
const LONG: Nanos = 500_000;

/// Whether a caller stays attached for longer.
#[derive(Debug, Default)]
pub struct Patience(AtomicU32);

impl Patience {
    const MOST: u32 = 32;
    const VAIN: u32 = 8;

    fn pays(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// A longer look has found something, or not. (Racing updates may lose one: it is advice.)
    fn note(&self, met: bool) {
        let left = self.0.load(Ordering::Relaxed);
        let next = if met {
            Self::MOST
        } else {
            left.saturating_sub(Self::VAIN)
        };
        self.0.store(next, Ordering::Relaxed);
    }

    /// To be attached again took so long.
    fn learn(&self, waited: Nanos) {
        if waited >= LONG && !self.pays() {
            self.0.store(Self::VAIN, Ordering::Relaxed);
        }
    }
}

impl Driver {
    /// Looks for results until `done` says so, or for as long as it pays.
    pub fn help(self: &Arc<Self>, py: Python<'_>, limit: Limit, done: impl Fn() -> bool + Sync) {
        if self.is_foreign() {
            return;
        }
        self.begin_to_look();
        let mut news = News::default();
        let start = clock::now();
        let within = |nanos: Nanos| match limit {
            Limit::Now => start,
            Limit::At(at) => at.min(start + nanos),
            Limit::Never => start + nanos,
        };
        let mut found = self.look_for(start + ATTACHED, &done, &mut news, false);
        if !found && self.patience.pays() {
            found = self.look_for(within(PATIENT), &done, &mut news, true);
            self.patience.note(found);
        }
        let until = within(YIELDING);
        if !found && (spin::one_core() || self.spin.pays()) {
            let end;
            (found, end) = door::detached(py, || {
                (self.look_for(until, &done, &mut news, true), clock::now())
            });
            self.patience.learn(clock::now() - end);
            self.spin.note(found);
        }
        self.stop_looking(found, &mut news);
        let news = self.after(news);
        if news.wants_python() || news.deaths {
            self.serve(py, false);
        } else if found {
            // So that a future whose result was taken is not kept here.
            self.drop_spent(py);
        }
    }

    /// Reads the rings until `done`, or until then.
    fn look_for(&self, until: Nanos, done: &impl Fn() -> bool, news: &mut News, yields: bool) -> bool {
        let mut now = clock::now();
        loop {
            self.look(now, news);
            if done() {
                return true;
            }
            if now >= until {
                return false;
            }
            if yields {
                // SAFETY: the call cannot fail.
                unsafe { libc::sched_yield() };
            } else {
                for _ in 0..16 {
                    std::hint::spin_loop();
                }
            }
            now = clock::now();
        }
    }

    /// Reads the rings once, unless somebody does.
    fn look(&self, now: Nanos, news: &mut News) {
        if let Some(mut guard) = self.inside.try_lock() {
            let inside = &mut *guard;
            let before = news.found;
            inside.drain(now, news);
            if news.found != before {
                inside.publish(news);
                self.mind_balance(inside, now, news);
            }
            drop(guard);
            for threads in news.threads.drain(..) {
                threads.notify();
            }
        }
    }
}
