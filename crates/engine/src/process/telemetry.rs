//! What is known of a call that has ended, and of a pool: when, how long, how much, by whom.

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// One call.
#[derive(Debug, Clone, Copy, Default)]
pub struct Telemetry {
    /// When it was submitted, and when its outcome was read: nanoseconds of the monotonic clock.
    pub submitted: u64,
    pub ended: u64,
    /// How long it ran, and how much processor time it took, in nanoseconds.
    pub took: u64,
    pub cpu: u64,
    /// The most memory that its worker had meanwhile, in KiB; 0 where it was not asked for.
    pub peak: u32,
    /// Its worker's process; 0 if it had none.
    pub pid: i32,
    /// How many workers began it.
    pub attempts: u32,
}

#[expect(clippy::cast_precision_loss, reason = "times in seconds")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

impl Telemetry {
    /// As Python sees it: seconds and bytes.
    ///
    /// # Errors
    /// No memory.
    pub fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        let started = self.ended.saturating_sub(self.took).max(self.submitted);
        dict.set_item("queued", seconds(started - self.submitted))?;
        dict.set_item("submitted", seconds(self.submitted))?;
        dict.set_item("started", seconds(started))?;
        dict.set_item("ended", seconds(self.ended))?;
        dict.set_item("ran", seconds(self.took))?;
        dict.set_item("cpu", seconds(self.cpu))?;
        let peak = (self.peak != 0).then(|| u64::from(self.peak) * 1024);
        dict.set_item("peak", peak)?;
        dict.set_item("worker", (self.pid != 0).then_some(self.pid))?;
        dict.set_item("attempts", self.attempts)?;
        Ok(dict)
    }
}

/// Sums over the calls of a pool.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sums {
    pub submitted: u64,
    pub finished: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub retried: u64,
    pub timed_out: u64,
    pub started_workers: u64,
    pub died_workers: u64,
    pub ran: u64,
    pub cpu: u64,
    pub longest: u64,
}

impl Sums {
    /// A call has ended with a result or an exception of its own.
    pub fn add(&mut self, took: u64, cpu: u64, failed: bool) {
        self.finished += 1;
        self.failed += u64::from(failed);
        self.ran += took;
        self.cpu += cpu;
        self.longest = self.longest.max(took);
    }

    /// Puts them into a dict, times in seconds.
    ///
    /// # Errors
    /// No memory.
    pub fn put(&self, dict: &Bound<'_, PyDict>) -> PyResult<()> {
        for (name, count) in [
            ("submitted", self.submitted),
            ("finished", self.finished),
            ("failed", self.failed),
            ("cancelled", self.cancelled),
            ("retried", self.retried),
            ("timed_out", self.timed_out),
            ("workers_started", self.started_workers),
            ("workers_died", self.died_workers),
        ] {
            dict.set_item(name, count)?;
        }
        dict.set_item("ran", seconds(self.ran))?;
        dict.set_item("cpu", seconds(self.cpu))?;
        dict.set_item("longest", seconds(self.longest))
    }
}
