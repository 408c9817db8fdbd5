//! How long a wait may last, from what Python code passes as `timeout`.
//!
//! The standard library's two conventions are both here: that of the C locks (`blocking=True, timeout=-1`), and
//! that of the Python classes (`timeout=None`, where 0 and less mean "look, but do not wait").
//! Whatever is not a plain float or int in range is shown to a lock of the standard library's first,
//! so that it raises what it raises there, in every version's words.

use plait_core::clock::{self, Nanos};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyFloat, PyInt};
use pyo3::{ffi, intern};

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Not at all.
    Now,
    /// Until then.
    At(Nanos),
    /// As long as it takes.
    Never,
}

/// `threading.TIMEOUT_MAX`, in seconds.
const MOST: f64 = 9_223_372_036.0;

impl Limit {
    /// `seconds` from now; not more than `TIMEOUT_MAX`.
    #[must_use]
    pub fn after(seconds: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "in range by the clamp"
        )]
        Self::At(clock::now().saturating_add((seconds.clamp(0.0, MOST) * 1e9).ceil() as u64))
    }

    /// What `timeout` means to the Python classes: None waits for ever, 0 and less do not wait.
    ///
    /// # Errors
    /// As `threading.Condition.wait(timeout)` raises: `TypeError` for what cannot be compared with 0,
    /// `OverflowError` beyond `threading.TIMEOUT_MAX`.
    pub fn from_timeout(timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(timeout) = timeout.filter(|timeout| !timeout.is_none()) else {
            return Ok(Self::Never);
        };
        if let Some(seconds) = plain_seconds(timeout)
            && seconds <= MOST
        {
            return Ok(if seconds > 0.0 {
                Self::after(seconds)
            } else {
                Self::Now
            });
        }
        if !timeout.gt(0)? {
            return Ok(Self::Now);
        }
        stdlib_accepts(timeout.py(), timeout)?;
        Ok(Self::after(timeout.extract()?))
    }

    /// What `blocking` and `timeout` mean to the C locks.
    ///
    /// # Errors
    /// As `threading.Lock.acquire` raises.
    pub fn from_lock_arguments(blocking: bool, timeout: &Bound<'_, PyAny>) -> PyResult<Self> {
        let seconds =
            plain_seconds(timeout).filter(|seconds| *seconds == -1.0 || (0.0..=MOST).contains(seconds));
        let seconds = match seconds {
            Some(seconds) if blocking || seconds == -1.0 => seconds,
            _ => {
                stdlib_lock(timeout.py())?
                    .call_method1(intern!(timeout.py(), "acquire"), (blocking, timeout))?;
                timeout.extract()?
            }
        };
        Ok(match (blocking, seconds) {
            (false, _) => Self::Now,
            (true, seconds) if seconds < 0.0 => Self::Never,
            (true, 0.0) => Self::Now,
            (true, seconds) => Self::after(seconds),
        })
    }
}

/// The value of a float or an int of just that type, if it is a number.
fn plain_seconds(timeout: &Bound<'_, PyAny>) -> Option<f64> {
    if let Ok(float) = timeout.cast_exact::<PyFloat>() {
        return Some(float.value()).filter(|seconds| !seconds.is_nan());
    }
    let int = timeout.cast_exact::<PyInt>().ok()?;
    // SAFETY: `int` is an int; the error of one that is too large is cleared.
    unsafe {
        let value = ffi::PyLong_AsDouble(int.as_ptr());
        if value == -1.0 && !ffi::PyErr_Occurred().is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(value)
    }
}

/// A free lock of the standard library's, made before anything could be replaced.
pub fn stdlib_lock(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static ALLOCATE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    ALLOCATE
        .get_or_try_init(py, || {
            Ok::<_, PyErr>(py.import("_thread")?.getattr("allocate_lock")?.unbind())
        })?
        .bind(py)
        .call0()
}

/// Raises what the standard library raises for a blocking wait of `timeout`.
fn stdlib_accepts(py: Python<'_>, timeout: &Bound<'_, PyAny>) -> PyResult<()> {
    stdlib_lock(py)?
        .call_method1(intern!(py, "acquire"), (true, timeout))
        .map(drop)
}
