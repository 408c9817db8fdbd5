//! Processes by descriptor, for the handles that Python sees.

use super::start::borrow;
use plait_proc::{Pidfd, pidfd};
use pyo3::prelude::*;
use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;

/// Waits until the process behind a pidfd has ended, for so many seconds at most (`None`: for ever). Whether it has.
#[pyfunction]
#[pyo3(signature = (process, timeout=None))]
pub fn _wait_for_process(py: Python<'_>, process: RawFd, timeout: Option<f64>) -> PyResult<bool> {
    /// So often signals are heard.
    const TURN: Duration = Duration::from_millis(100);
    let process = borrow(process)?;
    let left = timeout.map(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX));
    let deadline = left.and_then(|left| std::time::Instant::now().checked_add(left));
    loop {
        let left = deadline.map_or(TURN, |end| {
            end.saturating_duration_since(std::time::Instant::now())
        });
        if py.detach(|| pidfd::readable(process, left.min(TURN)))? {
            return Ok(true);
        }
        py.check_signals()?;
        if deadline.is_some_and(|end| std::time::Instant::now() >= end) {
            return Ok(false);
        }
    }
}

/// A new pidfd, closed on exec.
#[pyfunction]
pub fn _pidfd(pid: i32) -> PyResult<RawFd> {
    let process = Pidfd::open(pid)?;
    Ok(std::os::fd::IntoRawFd::into_raw_fd(OwnedFd::from(process)))
}
