//! Who is told when a future is done.
//!
//! The order is the standard library's: collectors (`wait`, `as_completed`), then threads in `result()`, then the callbacks.

use super::collector::Collector;
use super::face;
use crate::held::Held;
use plait_core::Unpark;
use plait_core::cell::{Crowd, Few, Observer};
use pyo3::exceptions::PyException;
use pyo3::{intern, prelude::*};

/// One that is told.
#[derive(Debug)]
pub enum Ear {
    /// What `add_done_callback` was given.
    Callback(Held),
    /// A [`Collector`].
    Sink(Held),
}

impl Observer for Ear {
    fn hears_cancel(&self) -> bool {
        matches!(self, Self::Callback(_))
    }
}

impl Ear {
    /// The object, whatever it is.
    pub fn object(&self) -> &Held {
        match self {
            Self::Callback(object) | Self::Sink(object) => object,
        }
    }
}

/// Tells collectors and threads; hands the threads that have to be woken to `unpark`. Callbacks are left.
pub fn announce(
    future: &Bound<'_, PyAny>,
    crowd: Crowd<Ear>,
    failed: bool,
    mut unpark: impl FnMut(Unpark),
) -> Few<Ear> {
    for ear in &crowd.observers {
        if let Ear::Sink(sink) = ear
            && let Ok(sink) = sink.bind(future.py()).cast::<Collector>()
        {
            sink.get().add(future, failed).notify_with(&mut unpark);
        }
    }
    crowd.threads.notify_with(unpark);
    crowd.observers
}

/// Calls the callbacks. What they raise is logged, except what is no `Exception`.
///
/// # Errors
/// The first `BaseException` that is no `Exception`; the callbacks after it are not called.
pub fn call_back(future: &Bound<'_, PyAny>, ears: Few<Ear>) -> PyResult<()> {
    for ear in ears {
        if let Ear::Callback(callback) = ear {
            call(future, &callback.into_bound(future.py()))?;
        }
    }
    Ok(())
}

/// Calls one callback, as [`call_back`].
///
/// # Errors
/// As there.
pub fn call(future: &Bound<'_, PyAny>, callback: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    match callback.call1((future,)) {
        Ok(_) => Ok(()),
        Err(error) if error.is_instance_of::<PyException>(py) => {
            face::get(py, intern!(py, "_callback_failed"))?.call1((future, error))?;
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Tells everybody, at once.
///
/// # Errors
/// As [`call_back`].
pub fn tell(future: &Bound<'_, PyAny>, crowd: Crowd<Ear>, failed: bool) -> PyResult<()> {
    let ears = announce(future, crowd, failed, Unpark::now);
    call_back(future, ears)
}
