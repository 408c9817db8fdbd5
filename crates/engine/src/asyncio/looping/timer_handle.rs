//! `TimerHandle`: what `call_later` and `call_at` return. Behaviour as `asyncio.TimerHandle`.

use super::LoopCore;
use super::handle::{Call, Handle};
use crate::guarded::Guarded;
use plait_reactor::TimerKey;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pyclass::CompareOp;
use pyo3::types::PyTuple;

/// A callback that is to be run at a time of the loop's clock.
#[pyclass(extends = Handle, subclass, frozen, module = "plait.asyncio")]
#[derive(Debug)]
pub struct TimerHandle {
    when: f64,
    /// While the loop has it in its timers.
    pub key: Guarded<Option<TimerKey>>,
}

impl TimerHandle {
    /// A handle for `when` that runs `call`; not yet scheduled.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn create<'py>(core: &Bound<'py, LoopCore>, when: f64, call: Call) -> PyResult<Bound<'py, Self>> {
        let timer = Self {
            when,
            key: Guarded::new(None),
        };
        Bound::new(
            core.py(),
            PyClassInitializer::from(Handle::new(core, call, false)).add_subclass(timer),
        )
    }
}

#[pymethods]
impl TimerHandle {
    /// The time at which the callback is to run, on the loop's clock.
    fn when(&self) -> f64 {
        self.when
    }

    /// Does not run the callback; without effect if it has run.
    #[pyo3(name = "cancel")]
    fn py_cancel(slf: &Bound<'_, Self>) -> PyResult<()> {
        if Handle::cancel(slf.as_super())? {
            let key = slf.get().key.lock().take();
            if let Some(key) = key
                && let Some(core) = slf.as_super().get().core(slf.py())
            {
                core.get().cancel_timer(slf.py(), key);
            }
        }
        Ok(())
    }

    #[getter]
    fn _when(&self) -> f64 {
        self.when
    }

    #[getter]
    fn _scheduled(&self) -> bool {
        self.key.lock().is_some()
    }

    fn _repr_info<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let info = Handle::_repr_info(slf.as_super())?;
        let at = usize::from(slf.as_super().get().is_cancelled()) + 1;
        info.call_method1(
            intern!(py, "insert"),
            (
                at.min(info.len()?),
                format!("when={}", pyo3::types::PyFloat::new(py, slf.get().when).repr()?),
            ),
        )?;
        Ok(info)
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        pyo3::types::PyFloat::new(py, self.when).hash()
    }

    fn __richcmp__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
        op: CompareOp,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let truth = |value: bool| pyo3::types::PyBool::new(py, value).to_owned().into_any();
        let Ok(other) = other.cast::<Self>() else {
            return Ok(py.NotImplemented().into_bound(py));
        };
        let (mine, theirs) = (slf.get().when, other.get().when);
        let same = || -> PyResult<bool> {
            let (a, b) = (slf.as_super().get(), other.as_super().get());
            if mine != theirs || a.is_cancelled() != b.is_cancelled() {
                return Ok(false);
            }
            let callbacks = (a._callback(py), b._callback(py));
            let args = (a.args(py)?, b.args(py)?);
            Ok(callbacks.0.bind_eq(py, callbacks.1)? && args.0.bind_eq(py, args.1)?)
        };
        Ok(truth(match op {
            CompareOp::Lt => mine < theirs,
            CompareOp::Gt => mine > theirs,
            CompareOp::Le => mine < theirs || same()?,
            CompareOp::Ge => mine > theirs || same()?,
            CompareOp::Eq => same()?,
            CompareOp::Ne => !same()?,
        }))
    }
}

/// Equality of what may be missing.
trait MaybeEqual {
    fn bind_eq(&self, py: Python<'_>, other: Self) -> PyResult<bool>;
}

impl MaybeEqual for Option<Py<PyAny>> {
    fn bind_eq(&self, py: Python<'_>, other: Self) -> PyResult<bool> {
        match (self, other) {
            (None, None) => Ok(true),
            (Some(a), Some(b)) => a.bind(py).eq(b.bind(py)),
            _ => Ok(false),
        }
    }
}

impl MaybeEqual for Option<Bound<'_, PyTuple>> {
    fn bind_eq(&self, _py: Python<'_>, other: Self) -> PyResult<bool> {
        match (self, other) {
            (None, None) => Ok(true),
            (Some(a), Some(b)) => a.eq(b),
            _ => Ok(false),
        }
    }
}
