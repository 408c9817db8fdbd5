//! From a pool's future to one of the loop's, without a Python function on the way.
//!
//! As `asyncio.wrap_future`: the result is copied by the loop's thread, one turn after it is there, and a cancelled future of the loop cancels
//! the pool's.

use super::{Entry, LoopCore, Native, running};
use crate::asyncio::future::{Future, Observer};
use crate::futures::future::FutureCore;
use crate::held::Held;
use crate::process::outcome::Opened;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// What a pool's future calls when it is done.
#[pyclass(frozen, module = "plait.asyncio")]
#[derive(Debug)]
struct Delivery {
    event_loop: Held,
    future: Held,
}

impl Delivery {
    fn core<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, LoopCore>> {
        Ok(self.event_loop.bind(py).to_owned().cast_into::<LoopCore>()?)
    }
}

#[pymethods]
impl Delivery {
    fn __call__(&self, source: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = source.py();
        let core = self.core(py)?;
        if core.get().is_closed() {
            return Ok(());
        }
        let future = self.future.bind(py);
        // From 3.14 on who is in the loop's thread already does not wait for the next turn.
        if cfg!(Py_3_14) && running(py).is_some_and(|running| running.is(&core)) {
            return settle(&future, source);
        }
        core.get().push_threadsafe(
            py,
            Entry::Native(Native {
                run: settle,
                object: future.to_owned().unbind(),
                argument: source.clone().unbind(),
            }),
        );
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.event_loop.traverse(&visit)?;
        self.future.traverse(&visit)
    }
}

/// Copies what `source` ended with.
fn settle(future: &Bound<'_, PyAny>, source: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    let own = future.cast::<Future>()?;
    if own.get().is_done() {
        return Ok(());
    }
    // A FutureCore: `follow` has seen to that.
    let outcome = source.cast::<FutureCore>()?.get().cell.value();
    if let Some(Opened::Value(value)) = outcome.map(|outcome| outcome.open(py)) {
        // SAFETY: the outcome holds it, and `source` the outcome.
        let value = unsafe { Bound::from_borrowed_ptr(py, value) };
        return Future::finish(own, value.unbind());
    }
    static COPY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    COPY.import(py, "asyncio.futures", "_copy_future_state")?
        .call1((source, future))?;
    Ok(())
}

/// Cancels the pool's future if the loop's has been cancelled.
fn pass_on(source: &Bound<'_, PyAny>, future: &Bound<'_, PyAny>) -> PyResult<()> {
    if future.cast::<Future>()?.get().is_cancelled() {
        source.call_method0(intern!(source.py(), "cancel"))?;
    }
    Ok(())
}

/// A future of `core` that ends as `source` does; None if that is not a future of our pools.
///
/// # Errors
/// `MemoryError`.
pub fn follow<'py>(
    core: &Bound<'py, LoopCore>,
    source: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, Future>>> {
    let py = core.py();
    if source.cast::<FutureCore>().is_err() {
        return Ok(None);
    }
    let future = Future::create(py, core.as_any())?;
    let observer = Observer::Native {
        run: pass_on,
        object: source.clone().unbind(),
    };
    Future::observe(&future, observer)?;
    let delivery = Delivery {
        event_loop: core.clone().into_any().into(),
        future: future.clone().into_any().into(),
    };
    source.call_method1(intern!(py, "add_done_callback"), (Bound::new(py, delivery)?,))?;
    Ok(Some(future))
}
