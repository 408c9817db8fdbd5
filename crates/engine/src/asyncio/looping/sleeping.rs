//! How a loop sleeps that has nothing to do, and what it does before.
//!
//! Waking a core costs more than a turn: 40 to 100 µs where it is a virtual machine's. So as far as that has paid before, a loop stays
//! awake a moment longer. One to which other threads bring work spins like a thread at the [door], and as there, one that was
//! woken lets its notifier detach first. One whose peers in other processes answer at once polls without sleeping, for as long as
//! waking would take. Both scores are the loop's own; what is in vain ever more often is tried ever more rarely.

use super::LoopCore;
use crate::door;
use plait_core::clock::{self, Nanos};
use plait_core::spin::BUDGET;
use plait_reactor::poller::Events;
use pyo3::prelude::*;

/// How long a loop polls without sleeping: about what it takes to wake an idle core. (20 µs were too short for 100 KiB.)
const AWAKE: Nanos = 50_000;
/// Two polls that are so far apart had another process between them.
const GAP: Nanos = 10_000;

impl LoopCore {
    /// Sleeps in the poller; false if there was work before it came to that.
    pub(super) fn sleep(
        &self,
        py: Python<'_>,
        events: &mut Events,
        timeout: Option<Nanos>,
    ) -> PyResult<bool> {
        if timeout.is_none_or(|timeout| timeout > BUDGET) && self.spin.pays() {
            self.arrival.rearm();
            if !self.ready.lock().is_empty() || door::spin_for(py, &self.arrival, &self.spin) {
                return Ok(false);
            }
        }
        self.arrival.rearm();
        self.waker.about_to_sleep();
        if !self.ready.lock().is_empty() {
            self.waker.awake();
            return Ok(false);
        }
        let done = door::sleep_for(py, &self.arrival, &self.spin, || {
            let awake = timeout.is_none_or(|timeout| timeout > AWAKE) && self.spin_at_poller.pays();
            if awake && self.poll_awake(events)? {
                return Ok(());
            }
            self.poller.wait(events, timeout)
        });
        self.waker.awake();
        done?;
        Ok(true)
    }

    /// Polls for a moment without sleeping: who answers at once finds the core awake. It keeps the core meanwhile: to yield it
    /// to one that computes would cost a slice, where a sleeper that is woken goes first. Nor is it met if another had the core.
    fn poll_awake(&self, events: &mut Events) -> std::io::Result<bool> {
        let mut last = clock::now();
        let end = last + AWAKE;
        loop {
            self.poller.wait(events, Some(0))?;
            let now = clock::now();
            if !events.is_empty() || now >= end {
                self.spin_at_poller.note(!events.is_empty() && now - last < GAP);
                return Ok(!events.is_empty());
            }
            last = now;
        }
    }
}
