//! Something that happens later: a native timer of our loop, or a handle of any other.

use crate::asyncio::looping::calls::nanos;
use crate::asyncio::looping::{self, LoopCore, Native, Run};
use crate::held::Held;
use plait_reactor::TimerKey;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt};

/// What is to happen, until it is cancelled.
#[derive(Debug)]
pub enum Timer {
    /// In this loop of ours.
    Native(Held, TimerKey),
    /// What `call_at`, `call_later` or `call_soon` returned.
    Handle(Held),
}

/// `event_loop` as one of ours that keeps its own time.
#[inline]
pub fn keeper<'a, 'py>(event_loop: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, LoopCore>> {
    looping::of(event_loop).filter(|core| core.get().keeps_time())
}

/// The time of `event_loop`.
///
/// # Errors
/// What a loop's own `time()` raises.
#[inline]
pub fn time(event_loop: &Bound<'_, PyAny>) -> PyResult<f64> {
    if keeper(event_loop).is_some() {
        #[expect(clippy::cast_precision_loss, reason = "as the loop's own time() has it")]
        return Ok(LoopCore::native_time() as f64 / 1e9);
    }
    event_loop
        .call_method0(intern!(event_loop.py(), "time"))?
        .extract()
}

impl Timer {
    /// Runs `run(object, argument)` at `when`, which is of the clock of `core`.
    #[inline]
    pub fn native(
        core: &Bound<'_, LoopCore>,
        when: f64,
        run: Run,
        object: &Bound<'_, PyAny>,
        argument: Py<PyAny>,
    ) -> Self {
        let native = Native {
            run,
            object: object.clone().unbind(),
            argument,
        };
        let key = core.get().timer(core.py(), nanos(when), native);
        Self::Native(core.clone().into_any().into(), key)
    }

    /// It is not to happen.
    ///
    /// # Errors
    /// What a foreign handle raises.
    pub fn cancel(self, py: Python<'_>) -> PyResult<()> {
        match self {
            Self::Native(core, key) => {
                // SAFETY: only loops of ours are put there.
                unsafe { core.bind(py).cast_unchecked::<LoopCore>() }
                    .get()
                    .cancel_timer(py, key);
                Ok(())
            }
            Self::Handle(handle) => handle.bind(py).call_method0(intern!(py, "cancel")).map(drop),
        }
    }

    /// For `__traverse__`.
    ///
    /// # Errors
    /// What the visitor returns.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Native(held, _) | Self::Handle(held) => held.traverse(visit),
        }
    }
}

/// The value of an exact `int` or `float`; others go through Python's own arithmetic.
#[inline]
pub fn plain_number(number: &Bound<'_, PyAny>) -> Option<f64> {
    if let Ok(float) = number.cast_exact::<PyFloat>() {
        return Some(float.value());
    }
    let int = number.cast_exact::<PyInt>().ok()?;
    // SAFETY: attached, and an int.
    let value = unsafe { ffi::PyLong_AsDouble(int.as_ptr()) };
    #[expect(
        clippy::float_cmp,
        reason = "what the call returns for an int that is too large"
    )]
    if value == -1.0 && PyErr::take(number.py()).is_some() {
        return None;
    }
    Some(value)
}

/// Whether it is an exact `int` or `float`.
#[inline]
pub fn is_plain_number(number: &Bound<'_, PyAny>) -> bool {
    number.is_exact_instance_of::<PyFloat>() || number.is_exact_instance_of::<PyInt>()
}
