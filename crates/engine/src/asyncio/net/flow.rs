//! Flow control of writes: between the high and the low mark, as `asyncio.transports._FlowControlMixin` has it.

use super::report;
use super::wire::Wire;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// How much may wait before the protocol is asked to pause, and how little before it may go on.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub high: usize,
    pub low: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            high: 64 * 1024,
            low: 16 * 1024,
        }
    }
}

impl Limits {
    /// What `set_write_buffer_limits(high, low)` means.
    ///
    /// # Errors
    /// `ValueError`, if they are negative or the wrong way round.
    pub fn create(high: Option<isize>, low: Option<isize>) -> PyResult<Self> {
        let high = high.unwrap_or_else(|| low.map_or(64 * 1024, |low| low.saturating_mul(4)));
        let low = low.unwrap_or_else(|| high.div_euclid(4));
        match (usize::try_from(high), usize::try_from(low)) {
            (Ok(high), Ok(low)) if high >= low => Ok(Self { high, low }),
            _ => Err(PyValueError::new_err(format!(
                "high ({high}) must be >= low ({low}) must be >= 0"
            ))),
        }
    }
}

/// Asks the protocol to pause, if more waits than it allows.
///
/// # Errors
/// `SystemExit` and `KeyboardInterrupt` of the protocol; its other errors are reported.
pub fn maybe_pause(slf: &Bound<'_, Wire>) -> PyResult<()> {
    {
        let mut state = slf.get().state.lock();
        if state.protocol_paused || state.buffer_size() <= state.limits.high {
            return Ok(());
        }
        state.protocol_paused = true;
    }
    tell(slf, "pause_writing")
}

/// Tells the protocol to go on, if so little waits.
///
/// # Errors
/// As `maybe_pause`.
pub fn maybe_resume(slf: &Bound<'_, Wire>) -> PyResult<()> {
    {
        let mut state = slf.get().state.lock();
        if !state.protocol_paused || state.buffer_size() > state.limits.low {
            return Ok(());
        }
        state.protocol_paused = false;
    }
    tell(slf, "resume_writing")
}

fn tell(slf: &Bound<'_, Wire>, method: &str) -> PyResult<()> {
    let py = slf.py();
    let protocol = slf.get().protocol(py);
    let protocol = protocol.unwrap_or_else(|| py.None().into_bound(py));
    match protocol.call_method0(method) {
        Err(error) if !report::is_exit(py, &error) => {
            report::exception(slf, &format!("protocol.{method}() failed"), error)
        }
        result => result.map(drop),
    }
}
