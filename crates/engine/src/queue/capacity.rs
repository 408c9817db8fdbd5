//! `maxsize`: any object, as in the standard library, and what it means where it is a number.

use crate::held::Held;
use plait_core::Latch;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Compare the object itself, each time.
const ODD: usize = 0;
const UNBOUNDED: usize = usize::MAX;

/// How many items a queue takes.
#[derive(Debug)]
pub struct Capacity {
    object: Latch<Held>,
    /// `UNBOUNDED`, `ODD`, or the number.
    most: AtomicUsize,
}

impl Capacity {
    /// What `maxsize` says.
    pub fn new(maxsize: Bound<'_, PyAny>) -> Self {
        Self {
            most: AtomicUsize::new(Self::number(&maxsize)),
            object: Latch::new(maxsize.into()),
        }
    }

    fn number(maxsize: &Bound<'_, PyAny>) -> usize {
        if let Ok(number) = maxsize.cast_exact::<PyInt>() {
            return match number.extract::<isize>() {
                Ok(number) if number > 0 => number.unsigned_abs(),
                Ok(_) => UNBOUNDED,
                // Too large to be reached, or too negative to be a limit.
                Err(_) => UNBOUNDED,
            };
        }
        match maxsize.cast_exact::<PyFloat>() {
            Ok(float) if float.value() <= 0.0 || float.value().is_nan() => UNBOUNDED,
            _ => ODD,
        }
    }

    /// Changes it.
    pub fn set(&self, maxsize: Bound<'_, PyAny>) {
        let number = Self::number(&maxsize);
        let before = {
            let mut object = self.object.lock();
            self.most.store(number, Ordering::Relaxed);
            std::mem::replace(&mut *object, maxsize.into())
        };
        drop(before);
    }

    /// The object that was given.
    pub fn get<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        let object = self.object.lock().clone_ref(py);
        object.into_bound(py)
    }

    /// How many items may be there before a put waits, as far as that is a number; else 0.
    #[inline]
    pub fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// Whether there is a limit: `maxsize > 0`.
    ///
    /// # Errors
    /// What comparing raises.
    pub fn is_bounded(&self, py: Python<'_>) -> PyResult<bool> {
        match self.most() {
            UNBOUNDED => Ok(false),
            ODD => self.get(py).gt(0),
            _ => Ok(true),
        }
    }

    /// As [`is_bounded`](Self::is_bounded), in `full()`'s words: `0 < maxsize`.
    ///
    /// # Errors
    /// What comparing raises.
    pub fn is_over_zero(&self, py: Python<'_>) -> PyResult<bool> {
        match self.most() {
            ODD => 0_u8.into_pyobject(py)?.lt(self.get(py)),
            _ => self.is_bounded(py),
        }
    }

    /// Whether `size` items reach the limit that there is: `size >= maxsize`.
    ///
    /// # Errors
    /// What comparing raises.
    pub fn is_reached_by(&self, size: &Size<'_>, py: Python<'_>) -> PyResult<bool> {
        match (size, self.most()) {
            (Size::Number(size), ODD) => size.into_pyobject(py)?.ge(self.get(py)),
            (Size::Number(size), most) => Ok(*size >= most),
            (Size::Object(size), _) => size.ge(self.get(py)),
        }
    }

    /// Visits what is held, for the collector.
    ///
    /// # Errors
    /// As the visitor.
    pub fn traverse(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        match self.object.try_lock() {
            Some(object) => object.traverse(visit),
            None => Ok(()),
        }
    }
}

/// How many items there are: what `_qsize()` gives.
#[derive(Debug)]
pub enum Size<'py> {
    /// Ours.
    Number(usize),
    /// From an overridden hook.
    Object(Bound<'py, PyAny>),
}

impl<'py> Size<'py> {
    /// Whether there are none.
    ///
    /// # Errors
    /// What `__bool__` raises.
    pub fn is_zero(&self) -> PyResult<bool> {
        match self {
            Self::Number(size) => Ok(*size == 0),
            Self::Object(size) => Ok(!size.is_truthy()?),
        }
    }

    /// As a Python object.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn into_object(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Number(size) => Ok(size.into_pyobject(py)?.into_any()),
            Self::Object(size) => Ok(size),
        }
    }
}
