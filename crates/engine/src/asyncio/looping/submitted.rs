//! `run_coroutine_threadsafe`: a coroutine that another thread hands to a loop, and the future of threads that it gets for it.
//!
//! A [`Submitted`] is what the loop calls: it makes the task, in the context of the thread that submitted, and ties task and future to
//! each other. A result goes from the task to the future one turn after the task has ended, and a thread that waits for it is woken
//! there and then. A future that is cancelled has its task cancelled by the loop's thread.
//!
//! The future stands in the loop's queue as far as the watch over waits is concerned: the thread that runs the loop can end the wait,
//! and nobody else. So a task that waits for a coroutine of its own loop without awaiting it is told so.

use super::of;
use crate::asyncio::future::stdlib;
use crate::asyncio::group::child::{self, Outcome};
use crate::asyncio::group::{ensure, here};
use crate::futures::face;
use crate::futures::future::{FutureCore, new_future};
use crate::futures::outcome::Outcome as Ended;
use crate::guarded::Guarded;
use crate::held::Held;
use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;

/// A coroutine on its way to its loop.
#[pyclass(frozen, module = "plait._engine", name = "Submitted")]
#[derive(Debug)]
pub struct Submitted {
    event_loop: Held,
    future: Held,
    /// None once its task has been made, or the collector has been here.
    coro: Guarded<Option<Py<PyAny>>>,
}

#[pymethods]
impl Submitted {
    /// In the loop's thread.
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let coro = self.coro.lock().take();
        let Some(coro) = coro else { return Ok(()) };
        let (event_loop, future) = (self.event_loop.bind(py), self.future.bind(py));
        let begun = ensure::ensure(coro.bind(py), Some(&event_loop))
            .and_then(|task| tie(&event_loop, &task, &future));
        let Err(error) = begun else { return Ok(()) };
        if !error.is_instance_of::<PySystemExit>(py) && !error.is_instance_of::<PyKeyboardInterrupt>(py) {
            end(&future, Ended::Error(error.value(py).clone().into_any().into()))?;
        }
        Err(error)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.event_loop.traverse(&visit)?;
        self.future.traverse(&visit)?;
        match self.coro.try_lock() {
            Some(coro) => visit.call(&*coro),
            None => Ok(()),
        }
    }

    fn __clear__(&self) {
        let coro = self.coro.lock().take();
        drop(coro);
    }
}

/// What the future calls when it is done: if it was cancelled, so is the task.
#[pyclass(frozen, module = "plait._engine", name = "Recall")]
#[derive(Debug)]
struct Recall {
    event_loop: Held,
    task: Held,
}

#[pymethods]
impl Recall {
    fn __call__(&self, future: &Bound<'_, FutureCore>) -> PyResult<()> {
        let py = future.py();
        if !future.get().is_cancelled() {
            return Ok(());
        }
        let (event_loop, task) = (self.event_loop.bind(py), self.task.bind(py));
        // Before 3.14 it is always a turn later, so a task that had not begun runs to its first await.
        if cfg!(Py_3_14) && here::running(py)?.is_some_and(|running| running.is(event_loop)) {
            return child::cancel(&task, None).map(drop);
        }
        let cancel = task.getattr(intern!(py, "cancel"))?;
        event_loop
            .call_method1(intern!(py, "call_soon_threadsafe"), (cancel,))
            .map(drop)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.event_loop.traverse(&visit)?;
        self.task.traverse(&visit)
    }
}

/// What becomes of one becomes of the other.
fn tie(event_loop: &Bound<'_, PyAny>, task: &Bound<'_, PyAny>, future: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = task.py();
    let recall = Recall {
        event_loop: event_loop.clone().into(),
        task: task.clone().into(),
    };
    future.call_method1(intern!(py, "add_done_callback"), (Bound::new(py, recall)?,))?;
    child::observe_any(task, told, future)
}

/// The task has ended.
fn told(future: &Bound<'_, PyAny>, task: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    let ended = match child::outcome(task)? {
        Outcome::Value(value) => Ended::Value(value.into_bound(py).into()),
        Outcome::Error(error) => {
            let convert = stdlib!(py, "asyncio.futures", "_convert_future_exc")?;
            Ended::Error(convert.call1((error,))?.into())
        }
        Outcome::Cancelled => {
            let core = future.cast::<FutureCore>()?.get();
            FutureCore::cancel(future, core)?;
            return FutureCore::start(future, core).map(drop);
        }
    };
    end(future, ended)
}

/// Ends the future, unless it has been cancelled.
fn end(future: &Bound<'_, PyAny>, ended: Ended) -> PyResult<()> {
    let core = future.cast::<FutureCore>()?.get();
    if FutureCore::start(future, core)? {
        FutureCore::finish(future, core, ended)?;
    }
    Ok(())
}

/// Runs a coroutine as a task of `loop`, from any other thread; the result is a `concurrent.futures.Future`. As
/// `asyncio.run_coroutine_threadsafe`.
///
/// The coroutine runs in a copy of the caller's context. Cancelling the future cancels the task. Raises TypeError for what is no
/// coroutine, and RuntimeError if the loop is closed. To wait for the result in the loop's own thread is a deadlock, and reported.
#[pyfunction]
pub fn run_coroutine_threadsafe<'py>(
    coro: &Bound<'py, PyAny>,
    r#loop: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = coro.py();
    if !here::is_coroutine(coro)? {
        return Err(PyTypeError::new_err("A coroutine object is required"));
    }
    if face::future_class().is_null() {
        py.import(intern!(py, "plait.concurrent.futures"))?;
    }
    let roster = of(r#loop).map_or(0, |core| core.get().roster.id);
    // SAFETY: attached, and the Python side is there.
    let future = unsafe { Bound::from_owned_ptr_or_err(py, new_future(roster))? };
    let submitted = Submitted {
        event_loop: r#loop.clone().into(),
        future: future.clone().into(),
        coro: Guarded::new(Some(coro.clone().unbind())),
    };
    r#loop.call_method1(intern!(py, "call_soon_threadsafe"), (Bound::new(py, submitted)?,))?;
    Ok(future)
}
