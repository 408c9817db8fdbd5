//! Closing a pool, and giving it up.

use super::inside::News;
use super::{Driver, Gate};
use plait_core::clock;
use pyo3::prelude::*;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Driver {
    /// Takes no more calls; with `cancel`, those that have not begun are cancelled.
    pub fn close(self: &Arc<Self>, py: Python<'_>, cancel: bool, gate: Gate) {
        if self.is_foreign() {
            return;
        }
        let mut news = News::default();
        let mut guard = self.inside.lock();
        let inside = &mut *guard;
        if inside.gate == Gate::Open || inside.gate == Gate::Shutdown && gate == Gate::Exit {
            inside.gate = gate;
        }
        inside.policy.close(cancel, &mut inside.out);
        inside.carry_out(clock::now(), &mut news);
        inside.publish(&mut news);
        drop(guard);
        let _: News = self.after(news);
        if self.reader_is_there.load(Ordering::Acquire) {
            self.wake_reader();
        } else {
            self.serve(py, true);
            self.end_if_over(py);
        }
    }

    /// Sends all workers a signal, and gives up what is left: for `kill_workers` and `terminate_workers`.
    pub fn kill(self: &Arc<Self>, py: Python<'_>, signal: i32) {
        if self.is_foreign() {
            return;
        }
        let mut news = News::default();
        let mut guard = self.inside.lock();
        let inside = &mut *guard;
        if inside.gate == Gate::Open {
            inside.gate = Gate::Shutdown;
        }
        if inside.why.is_empty() {
            inside.why = "The workers of the pool were ended by its owner.".to_owned();
        }
        inside.kill_with = signal;
        inside.policy.break_up(&mut inside.out);
        inside.carry_out(clock::now(), &mut news);
        drop(guard);
        let _: News = self.after(news);
        if self.reader_is_there.load(Ordering::Acquire) {
            self.wake_reader();
        } else {
            self.end_if_over(py);
        }
    }
}
