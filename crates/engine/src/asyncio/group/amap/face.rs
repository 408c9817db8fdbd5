//! `AsyncMap`: what the user iterates, awaits and closes.

use super::work::{Next, Work};
use crate::asyncio::await_::{Await, Machine, Resume, Step};
use crate::asyncio::future::Future;
use crate::asyncio::group::here;
use pyo3::exceptions::PyStopAsyncIteration;
use pyo3::prelude::*;
use pyo3::types::PyList;
use pyo3::{PyTraverseError, PyVisit, intern};

/// The results of `amap`: `async for` them one by one, or `await` them all as a list.
///
/// Closing it (`aclose()`, the end of `async with`, leaving the loop) cancels the calls that run.
// No `__clear__`: what it holds has one.
#[pyclass(frozen, weakref, module = "plait.asyncio", name = "AsyncMap")]
pub struct AsyncMap {
    work: Py<Work>,
}

impl Drop for AsyncMap {
    fn drop(&mut self) {
        // SAFETY: objects are dropped by attached threads.
        let py = unsafe { Python::assume_attached() };
        let pending = PyErr::take(py);
        if let Err(error) = abandon(self.work.bind(py)) {
            error.write_unraisable(py, None);
        }
        if let Some(pending) = pending {
            pending.restore(py);
        }
    }
}

/// Nobody can take results any more.
fn abandon(work: &Bound<'_, Work>) -> PyResult<()> {
    let (py, this) = (work.py(), work.get());
    let state = this.state.lock();
    let event_loop = state
        .event_loop
        .as_ref()
        .map(|event_loop| event_loop.clone_ref(py));
    let ending = state.ending;
    drop(state);
    let Some(event_loop) = event_loop else {
        return Ok(());
    };
    if ending || this.is_idle() {
        return Ok(());
    }
    if here::running(py)?.is_some_and(|running| running.is(&event_loop)) {
        this.end(py);
        this.close_bar(py);
        return Ok(());
    }
    // Another thread, or a loop that has stopped. A closed one has nothing that could be cancelled.
    let event_loop = event_loop.bind(py);
    if event_loop.call_method0(intern!(py, "is_closed"))?.is_truthy()? {
        return Ok(());
    }
    let end = work.getattr(intern!(py, "_end"))?;
    event_loop
        .call_method1(intern!(py, "call_soon_threadsafe"), (end,))
        .map(drop)
}

#[pymethods]
impl AsyncMap {
    /// Not begun yet. `source`: an iterator, or an asynchronous iterable.
    #[new]
    #[pyo3(signature = (function, source, asynchronous, limit, buffer, ordered, return_exceptions, bar))]
    #[expect(clippy::too_many_arguments, reason = "called by `plait.asyncio.amap` only")]
    fn new(
        py: Python<'_>,
        function: Py<PyAny>,
        source: Py<PyAny>,
        asynchronous: bool,
        limit: usize,
        buffer: usize,
        ordered: bool,
        return_exceptions: bool,
        bar: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let how = (ordered, return_exceptions);
        let work = Work::new(function, source, asynchronous, (limit, buffer), how, bar);
        Ok(Self {
            work: Py::new(py, work)?,
        })
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// The next result.
    fn __anext__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Await>> {
        wait(slf, Wanted::One)
    }

    /// All results that are left, as a list.
    fn __await__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Await>> {
        wait(slf, Wanted::All(Vec::new()))
    }

    fn __aenter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Await>> {
        wait(slf, Wanted::Itself)
    }

    #[pyo3(signature = (*_error))]
    fn __aexit__<'py>(
        slf: Bound<'py, Self>,
        _error: &Bound<'py, pyo3::types::PyTuple>,
    ) -> PyResult<Bound<'py, Await>> {
        wait(slf, Wanted::Nothing)
    }

    /// Cancels the calls that run, and waits until they have ended.
    fn aclose(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Await>> {
        wait(slf, Wanted::Nothing)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.work)
    }
}

/// What an await of the map is for.
enum Wanted {
    One,
    All(Vec<Py<PyAny>>),
    Itself,
    Nothing,
}

/// One await.
struct Wait {
    /// The map is alive as long as it is awaited.
    map: Py<AsyncMap>,
    wanted: Wanted,
    waiter: Option<Py<Future>>,
    /// Thrown in: raised when the calls have ended.
    thrown: Option<PyErr>,
}

fn wait(map: Bound<'_, AsyncMap>, wanted: Wanted) -> PyResult<Bound<'_, Await>> {
    Await::create(
        map.py(),
        Wait {
            map: map.clone().unbind(),
            wanted,
            waiter: None,
            thrown: None,
        },
    )
}

impl Machine for Wait {
    const NAME: &'static str = "amap";

    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        let map = self.map.bind(py).clone();
        let work = map.get().work.bind(py);
        let waiter = self.waiter.take();
        if let Resume::Throw(error) = resume {
            if let Wanted::One = self.wanted {
                if let Some(waiter) = waiter {
                    let waiter = waiter.bind(py);
                    if waiter.get().is_done() && !waiter.get().is_cancelled() {
                        work.get().pass_on(py);
                    } else {
                        Future::cancel(waiter, None)?;
                    }
                }
                return Err(error);
            }
            work.get().end(py);
            if work.get().is_idle() || error.is_instance_of::<pyo3::exceptions::PyGeneratorExit>(py) {
                work.get().close_bar(py);
                return Err(error);
            }
            self.thrown = Some(error);
        }
        if let Wanted::Itself = self.wanted {
            return Ok(Step::Return(map.into_any().unbind()));
        }
        if let Wanted::Nothing = self.wanted {
            let begun = work.get().state.lock().event_loop.is_some();
            work.get().end(py);
            if !begun || work.get().is_idle() {
                work.get().close_bar(py);
                return match self.thrown.take() {
                    Some(error) => Err(error),
                    None => Ok(Step::ReturnNone),
                };
            }
        }
        loop {
            match Work::next(work)? {
                Next::Result(result) => match &mut self.wanted {
                    Wanted::All(results) => results.push(result),
                    _ => return Ok(Step::Return(result)),
                },
                Next::Wait(waiter) => {
                    self.waiter = Some(waiter.clone_ref(py));
                    return Ok(Step::Wait(waiter));
                }
                Next::Error(error) => {
                    return match (self.thrown.take(), &self.wanted) {
                        (Some(thrown), _) => Err(thrown),
                        (None, Wanted::Nothing) => Ok(Step::ReturnNone),
                        (None, _) => Err(error),
                    };
                }
                Next::End => {
                    if let Some(error) = self.thrown.take() {
                        return Err(error);
                    }
                    return match std::mem::replace(&mut self.wanted, Wanted::Nothing) {
                        Wanted::One => Err(PyStopAsyncIteration::new_err(())),
                        Wanted::All(results) => {
                            Ok(Step::Return(PyList::new(py, results)?.into_any().unbind()))
                        }
                        Wanted::Itself | Wanted::Nothing => Ok(Step::ReturnNone),
                    };
                }
            }
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.map)?;
        visit.call(&self.waiter)?;
        if let Wanted::All(results) = &self.wanted {
            for result in results {
                visit.call(result)?;
            }
        }
        Ok(())
    }
}
