//! `Barrier`, as `threading.Barrier`.

use crate::deadlock::Anyone;
use crate::door;
use crate::held::HeldSlot;
use crate::hot;
use crate::limit::Limit;
use plait_core::BarrierState;
use plait_core::barrier::{Arrival, End, Round, RoundEnd};
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Lets `parties` threads go on together. `Barrier(parties, action=None, timeout=None)`; `wait(timeout=None)` returns this
/// thread's place, 0 to parties-1; `reset()` and `abort()` end the wait of all with BrokenBarrierError.
#[pyclass(frozen, subclass, dict, weakref, module = "threading")]
#[derive(Debug, Default)]
pub struct Barrier {
    state: BarrierState,
    parties: AtomicI64,
    action: HeldSlot,
    timeout: HeldSlot,
}

fn broken(py: Python<'_>) -> PyErr {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    match CLASS.import(py, "threading", "BrokenBarrierError") {
        Ok(class) => PyErr::from_type(class.clone(), ()),
        Err(error) => error,
    }
}

impl Barrier {
    /// Waits for the end of `round`; if the time is up first, breaks the barrier.
    fn wait_round(&self, slf: &Bound<'_, Self>, round: &Arc<Round>, limit: Limit) -> PyResult<()> {
        let py = slf.py();
        let reason = Anyone {
            object: slf.as_ptr(),
            action: "wait at",
        };
        let ended = door::wait(
            py,
            &RoundEnd {
                barrier: &self.state,
                round,
            },
            limit,
            &reason,
        )?;
        if !ended {
            self.state.give_up(round);
        }
        if round.end() == End::Tripped {
            Ok(())
        } else {
            Err(broken(py))
        }
    }
}

#[pymethods]
impl Barrier {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(parties, action=None, timeout=None)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyAny>>) -> Self {
        Self::default()
    }

    #[pyo3(signature = (parties, action=None, timeout=None))]
    fn __init__(
        slf: &Bound<'_, Self>,
        parties: &Bound<'_, PyAny>,
        action: Option<Bound<'_, PyAny>>,
        timeout: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        hot::defer_refcount(slf.as_ptr());
        if cfg!(Py_3_13) && parties.lt(1)? {
            let text = if cfg!(Py_3_14) {
                "parties must be >= 1"
            } else {
                "parties must be > 0"
            };
            return Err(PyValueError::new_err(text));
        }
        let this = slf.get();
        this.parties.store(parties.extract()?, Ordering::Relaxed);
        this.action.replace(action.map(Into::into));
        this.timeout.replace(timeout.map(Into::into));
        Ok(())
    }

    /// Waits for the others, for `timeout` seconds at most (else the barrier's own timeout). This thread's place.
    #[pyo3(signature = (timeout=None))]
    fn wait(slf: &Bound<'_, Self>, timeout: Option<Bound<'_, PyAny>>) -> PyResult<usize> {
        let (py, this) = (slf.py(), slf.get());
        let timeout = timeout.or_else(|| this.timeout.get(py).map(|timeout| timeout.to_owned()));
        let action = this.action.get(py);
        let parties = usize::try_from(this.parties.load(Ordering::Relaxed)).unwrap_or(0);
        loop {
            match this.state.arrive(parties, action.is_some()) {
                Arrival::Broken => return Err(broken(py)),
                Arrival::Later(round) => {
                    let reason = Anyone {
                        object: slf.as_ptr(),
                        action: "wait at",
                    };
                    door::wait(
                        py,
                        &RoundEnd {
                            barrier: &this.state,
                            round: &round,
                        },
                        Limit::Never,
                        &reason,
                    )?;
                }
                Arrival::Early(round, place) => {
                    let waited = Limit::from_timeout(timeout.as_ref())
                        .and_then(|limit| this.wait_round(slf, &round, limit));
                    if waited.is_err() {
                        this.state.depart(&round);
                    }
                    return waited.map(|()| place);
                }
                Arrival::Last(round, place) => {
                    if let Some(action) = action {
                        if let Err(error) = action.call0() {
                            this.state.give_up(&round);
                            return Err(error);
                        }
                        this.state.trip(&round);
                        if round.end() == End::Broken {
                            return Err(broken(py));
                        }
                    }
                    return Ok(place);
                }
            }
        }
    }

    /// Makes the barrier as new; threads that wait get BrokenBarrierError.
    fn reset(&self) {
        self.state.reset(false);
    }

    /// Breaks the barrier: all that wait, or will, get BrokenBarrierError until reset().
    fn abort(&self) {
        self.state.reset(true);
    }

    /// How many threads it takes.
    #[getter]
    fn parties(&self) -> i64 {
        self.parties.load(Ordering::Relaxed)
    }

    /// How many threads wait now.
    #[getter]
    fn n_waiting(&self) -> usize {
        self.state.waiting()
    }

    /// Whether it is broken.
    #[getter]
    fn broken(&self) -> bool {
        self.state.is_broken()
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let this = slf.get();
        if this.state.is_broken() {
            return super::repr(slf, "broken");
        }
        super::repr(
            slf,
            &format!("waiters={}/{}", this.state.waiting(), this.parties()),
        )
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.action.traverse(&visit)?;
        self.timeout.traverse(&visit)
    }

    fn __clear__(&self) {
        self.action.replace(None);
        self.timeout.replace(None);
    }
}
