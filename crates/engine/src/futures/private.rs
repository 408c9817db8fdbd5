//! The private attributes of a future, as the standard library's own code (and its tests) read and write them.
//!
//! `_state`, `_result` and `_exception` can be read at any time. Whoever reads `_condition`, `_waiters` or
//! `_done_callbacks`, or writes any of them, takes the cell over: from then on this future lives by the standard library's
//! own methods, with a real Condition, over the attributes stored here. Threads that were waiting are
//! woken and wait again on that Condition. So what such code does is what it did before, to the letter.

use super::face;
use super::future::FutureCore;
use super::observer::Ear;
use crate::held::Held;
use crate::process::outcome::Opened;
use plait_core::Latch;
use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::types::PyList;
use pyo3::{PyTraverseError, PyVisit, intern};

/// A place for a reference that may be replaced while others read it.
pub type Place = Latch<Option<Held>>;

/// What the private attributes hold.
#[derive(Debug)]
pub struct Private {
    pub condition: Place,
    pub waiters: Place,
    pub callbacks: Place,
    pub result: Place,
    pub exception: Place,
}

/// Replaces what is in a place.
pub fn put(place: &Place, value: Option<Held>) {
    let old = std::mem::replace(&mut *place.lock(), value);
    drop(old);
}

fn get(py: Python<'_>, place: &Place) -> Option<Held> {
    place.lock().as_ref().map(|value| value.clone_ref(py))
}

impl Private {
    fn places(&self) -> [&Place; 5] {
        [
            &self.condition,
            &self.waiters,
            &self.callbacks,
            &self.result,
            &self.exception,
        ]
    }

    /// For `__traverse__`.
    ///
    /// # Errors
    /// What the visitor returns.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for place in self.places() {
            if let Some(held) = place.try_lock()
                && let Some(object) = held.as_ref()
            {
                object.traverse(visit)?;
            }
        }
        Ok(())
    }

    /// For `__clear__`.
    pub fn clear(&self) {
        for place in self.places() {
            put(place, None);
        }
    }
}

impl FutureCore {
    /// Takes the cell over, if nobody has, and returns what the attributes hold.
    ///
    /// # Errors
    /// What making a Condition can raise.
    pub fn take_over(&self, slf: &Bound<'_, PyAny>) -> PyResult<&Private> {
        let py = slf.py();
        if let Some(private) = self.private.get() {
            if !self.cell.is_manual()
                && let Some(condition) = get(py, &private.condition)
            {
                // Another thread is about to; it holds the condition meanwhile.
                condition.bind(py).call_method0(intern!(py, "acquire"))?;
                condition.bind(py).call_method0(intern!(py, "release"))?;
            }
            return Ok(private);
        }
        let condition = face::get(py, intern!(py, "_Condition"))?.call0()?;
        condition.call_method0(intern!(py, "acquire"))?;
        let (waiters, callbacks) = (PyList::empty(py), PyList::empty(py));
        let mine = Box::new(Private {
            condition: Latch::new(Some(condition.clone().into())),
            waiters: Latch::new(Some(waiters.clone().into_any().into())),
            callbacks: Latch::new(Some(callbacks.clone().into_any().into())),
            result: Latch::new(None),
            exception: Latch::new(None),
        });
        if self.private.set(mine).is_err() {
            return self.take_over(slf);
        }
        let mut end = Ok(());
        if let Some(crowd) = self.cell.take_over() {
            crowd.threads.notify();
            for ear in crowd.observers {
                end = end.and(match ear {
                    Ear::Sink(sink) => waiters.append(sink.into_bound(py)),
                    Ear::Callback(callback) => callbacks.append(callback.into_bound(py)),
                });
            }
        }
        condition.call_method0(intern!(py, "release"))?;
        end?;
        self.private
            .get()
            .map(|private| &**private)
            .ok_or_else(|| PyAttributeError::new_err("_condition"))
    }

    /// What one attribute holds; takes the cell over.
    ///
    /// # Errors
    /// `AttributeError` when the garbage collector has emptied it.
    pub fn read(
        &self,
        slf: &Bound<'_, PyAny>,
        place: impl FnOnce(&Private) -> &Place,
        attribute: &'static str,
    ) -> PyResult<Py<PyAny>> {
        let private = self.take_over(slf)?;
        get(slf.py(), place(private))
            .map(|value| value.into_bound(slf.py()).unbind())
            .ok_or_else(|| PyAttributeError::new_err(attribute))
    }

    /// What is stored as `_result` or `_exception`, from either life of the future.
    pub fn stored(&self, py: Python<'_>, exception: bool) -> Py<PyAny> {
        let written = self.private.get().and_then(|private| {
            get(
                py,
                if exception {
                    &private.exception
                } else {
                    &private.result
                },
            )
        });
        let value = written.or_else(
            || match self.cell.value_before().map(|outcome| outcome.open(py)) {
                // SAFETY: alive as long as the outcome, and the thread is attached.
                Some(Opened::Value(value)) if !exception => Some(unsafe { Held::new(value) }),
                // SAFETY: as above.
                Some(Opened::Error(error)) if exception => Some(unsafe { Held::new(error) }),
                _ => None,
            },
        );
        value.map_or_else(|| py.None(), |value| value.into_bound(py).unbind())
    }
}
