//! How long a put or a get may wait: its `block` and `timeout`.
//!
//! What is wrong with a timeout is not said at once: a queue that has been shut down says so first, and a put
//! that has room for ever never looks at its timeout.

use crate::limit::Limit;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt};

/// How long.
#[derive(Debug)]
pub enum When {
    /// Until then.
    Limit(Limit),
    /// No timeout at all: negative, or not a number.
    Invalid(PyErr),
    /// More than a lock can wait: an error if it comes to waiting.
    TooLong(PyErr),
}

impl When {
    /// Not at all.
    pub const NOW: Self = Self::Limit(Limit::Now);
    /// As long as it takes.
    pub const EVER: Self = Self::Limit(Limit::Never);

    /// What `block` and `timeout` mean.
    pub fn new(block: Option<&Bound<'_, PyAny>>, timeout: Option<&Bound<'_, PyAny>>) -> Self {
        Self::parse(block, timeout).unwrap_or_else(Self::Invalid)
    }

    /// Whether nothing can be wrong with `block` and `timeout`: then they matter only if it comes to waiting.
    pub fn is_plain(block: Option<&Bound<'_, PyAny>>, timeout: Option<&Bound<'_, PyAny>>) -> bool {
        block.is_none_or(|block| block.is_exact_instance_of::<PyBool>())
            && timeout.is_none_or(|timeout| {
                timeout.is_none()
                    || timeout
                        .cast_exact::<PyFloat>()
                        .is_ok_and(|seconds| seconds.value() >= 0.0)
                    || timeout.cast_exact::<PyInt>().is_ok()
                        && timeout.extract::<i64>().is_ok_and(|seconds| seconds >= 0)
            })
    }

    fn parse(block: Option<&Bound<'_, PyAny>>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        if let Some(block) = block
            && !block.is_truthy()?
        {
            return Ok(Self::NOW);
        }
        let Some(timeout) = timeout.filter(|timeout| !timeout.is_none()) else {
            return Ok(Self::EVER);
        };
        if timeout.lt(0)? {
            return Err(PyValueError::new_err("'timeout' must be a non-negative number"));
        }
        let limit = match timeout.cast_exact::<PyFloat>() {
            // An end that never comes: the standard library turns in a loop here, which need not be.
            Ok(float) if float.value().is_nan() => Ok(Limit::Never),
            Ok(_) => Limit::from_timeout(Some(timeout)),
            Err(_) if timeout.is_exact_instance_of::<PyInt>() => {
                // Added to a time it becomes a float, if it can.
                let seconds = PyFloat::new(timeout.py(), timeout.extract()?);
                Limit::from_timeout(Some(seconds.as_any()))
            }
            Err(_) => {
                // Any number will do that can be added to a time.
                let clock = timeout.py().import("time")?.getattr("monotonic")?;
                let end = clock.call0()?.add(timeout)?;
                Limit::from_timeout(Some(&end.sub(clock.call0()?)?))
            }
        };
        Ok(limit.map_or_else(Self::TooLong, Self::Limit))
    }

    /// Whether not to wait at all.
    #[must_use]
    pub fn is_now(&self) -> bool {
        matches!(self, Self::Limit(Limit::Now))
    }

    /// Whether it is a timeout.
    ///
    /// # Errors
    /// `ValueError` for a negative one, `TypeError` for what is not a number.
    pub fn check(&self, py: Python<'_>) -> PyResult<()> {
        match self {
            Self::Invalid(error) => Err(error.clone_ref(py)),
            Self::Limit(_) | Self::TooLong(_) => Ok(()),
        }
    }

    /// The limit of a wait that has to be.
    ///
    /// # Errors
    /// As [`check`](Self::check), and `OverflowError` beyond `threading.TIMEOUT_MAX`.
    pub fn limit(&self, py: Python<'_>) -> PyResult<Limit> {
        match self {
            Self::Limit(limit) => Ok(*limit),
            Self::Invalid(error) | Self::TooLong(error) => Err(error.clone_ref(py)),
        }
    }
}
