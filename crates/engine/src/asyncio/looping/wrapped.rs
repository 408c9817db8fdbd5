//! `wrap_future`: from a future of threads to one of a loop, without a Python function on the way.
//!
//! As asyncio's: the result is copied by the loop's thread, one turn after it is there, and a cancelled future of the loop cancels
//! the other one. Whose future it is does not matter, but for a detour less where it is one of our pools'.

use super::{Entry, LoopCore, Native, running};
use crate::asyncio::future::{Future, stdlib};
use crate::asyncio::group::{child, here};
use crate::futures::future::FutureCore;
use crate::held::Held;
use crate::process::outcome::Opened;
use pyo3::exceptions::PyAssertionError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;

/// What the source calls when it is done.
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
    if let Ok(source) = source.cast::<FutureCore>()
        && let Some(outcome) = source.get().cell.value()
        && let Opened::Value(value) = outcome.open(py)
    {
        // SAFETY: the outcome holds it, and `source` the outcome.
        let value = unsafe { Bound::from_borrowed_ptr(py, value) };
        return Future::finish(own, value.unbind());
    }
    stdlib!(py, "asyncio.futures", "_copy_future_state")?
        .call1((source, future))
        .map(drop)
}

/// Cancels the source if the loop's future has been cancelled.
fn pass_on(source: &Bound<'_, PyAny>, future: &Bound<'_, PyAny>) -> PyResult<()> {
    if future.cast::<Future>()?.get().is_cancelled() {
        source.call_method0(intern!(source.py(), "cancel"))?;
    }
    Ok(())
}

/// Wraps a future of threads (`concurrent.futures.Future`) in one of `loop`, or of the loop of this thread. As `asyncio.wrap_future`.
///
/// The result is there a turn of the loop after the thread's. If the wrapping future is cancelled, so is the other one. A future
/// of asyncio's is given back as it is. Raises AssertionError for anything else.
#[pyfunction]
#[pyo3(signature = (future, *, r#loop=None))]
pub fn wrap_future<'py>(
    future: &Bound<'py, PyAny>,
    r#loop: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = future.py();
    if child::is_future(future)? {
        return Ok(future.clone());
    }
    if future.cast::<FutureCore>().is_err()
        && !future.is_instance(
            &py.import(intern!(py, "concurrent.futures"))?
                .getattr(intern!(py, "Future"))?,
        )?
    {
        return Err(PyAssertionError::new_err(format!(
            "concurrent.futures.Future is expected, got {}",
            future.repr()?
        )));
    }
    let event_loop = match r#loop.filter(|given| !given.is_none()) {
        Some(given) => given.clone(),
        None => here::event_loop(py)?,
    };
    wrap(&event_loop, future)
}

/// A future of `event_loop`, ours or anybody's, that ends as `source` does, which is one of threads.
///
/// # Errors
/// `MemoryError`, and what a foreign loop or future raises.
pub fn wrap<'py>(event_loop: &Bound<'py, PyAny>, source: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = event_loop.py();
    let Some(core) = super::of(event_loop) else {
        let future = event_loop.call_method0(intern!(py, "create_future"))?;
        stdlib!(py, "asyncio.futures", "_chain_future")?.call1((source, &future))?;
        return Ok(future);
    };
    let future = Future::create(py, event_loop)?;
    child::observe(&future, pass_on, source)?;
    let delivery = Delivery {
        event_loop: core.clone().into_any().into(),
        future: future.clone().into_any().into(),
    };
    source.call_method1(intern!(py, "add_done_callback"), (Bound::new(py, delivery)?,))?;
    Ok(future.into_any())
}
