//! `wait`: until one, the first failure, or all are done.
//!
//! A [`Watch`] counts what the futures tell and completes the one future that the caller waits for.

use super::child::{self, Listener, Outcome, Told};
use super::{graph, here};
use crate::asyncio::await_::{Await, Machine, Resume, Step};
use crate::asyncio::future::Future;
use crate::guarded::Guarded;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PySet, PyString};
use pyo3::{PyTraverseError, PyVisit};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    First,
    Failure,
    All,
}

/// Counts the futures that are done.
#[pyclass(frozen, module = "plait._engine", name = "Watch")]
#[derive(Debug)]
pub struct Watch {
    waiter: Py<Future>,
    left: AtomicUsize,
    when: When,
    pub(super) task: Option<Py<PyAny>>,
    timer: Guarded<Option<Py<PyAny>>>,
}

impl Watch {
    fn stop_timer(&self, py: Python<'_>) -> PyResult<()> {
        let timer = self.timer.lock().take();
        match timer {
            Some(timer) => timer.call_method0(py, intern!(py, "cancel")).map(drop),
            None => Ok(()),
        }
    }
}

#[pymethods]
impl Watch {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.waiter)?;
        visit.call(&self.task)?;
        match self.timer.try_lock() {
            Some(timer) => visit.call(&*timer),
            None => Ok(()),
        }
    }

    fn __clear__(&self) {
        let timer = self.timer.lock().take();
        drop(timer);
    }
}

/// Completes a future unless it is done.
fn release(waiter: &Bound<'_, Future>) -> PyResult<()> {
    if waiter.get().is_done() {
        return Ok(());
    }
    Future::finish(waiter, waiter.py().None())
}

/// A future tells that it is done.
fn told(watch: &Bound<'_, PyAny>, future: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = watch.py();
    // SAFETY: the listener was made with a watch.
    let this = unsafe { watch.cast_unchecked::<Watch>() }.get();
    let left = this.left.fetch_sub(1, Ordering::Relaxed) - 1;
    let enough = match this.when {
        _ if left == 0 => true,
        When::First => true,
        When::Failure => matches!(child::failure(future)?, Some(Outcome::Error(_))),
        When::All => false,
    };
    if enough {
        this.stop_timer(py)?;
        release(this.waiter.bind(py))?;
    }
    graph::discard(future, this.task.as_ref().map(|task| task.bind(py)))
}

/// The time is over.
fn late(watch: &Bound<'_, PyAny>, _: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: the timer was made with a watch.
    let this = unsafe { watch.cast_unchecked::<Watch>() }.get();
    release(this.waiter.bind(watch.py()))
}

/// One call of `wait`.
struct Wait {
    given: Option<Given>,
    begun: Option<Begun>,
}

/// Its arguments.
struct Given {
    futures: Py<PyAny>,
    timeout: Option<Py<PyAny>>,
    return_when: Py<PyAny>,
}

/// What it waits with.
struct Begun {
    futures: Vec<Py<PyAny>>,
    listener: Listener,
    watch: Py<Watch>,
}

impl Wait {
    fn begin(&mut self, py: Python<'_>) -> PyResult<Py<Future>> {
        let Some(given) = self.given.take() else {
            return Err(pyo3::exceptions::PyRuntimeError::new_err(
                "cannot reuse already awaited wait()",
            ));
        };
        let futures = given.futures.bind(py);
        if child::is_future(futures)? || here::is_coroutine(futures)? {
            let kind = futures.get_type();
            let text = format!("expect a list of futures, not {}", kind.name()?);
            return Err(PyTypeError::new_err(text));
        }
        if !futures.is_truthy()? {
            return Err(PyValueError::new_err("Set of Tasks/Futures is empty."));
        }
        let when = parse(given.return_when.bind(py))?;
        let all = PySet::empty(py)?;
        for future in futures.try_iter()? {
            all.add(future?)?;
        }
        for future in &all {
            if here::is_coroutine(&future)? {
                return Err(PyTypeError::new_err(
                    "Passing coroutines is forbidden, use tasks explicitly.",
                ));
            }
        }
        let event_loop = here::needed(py)?;
        let waiter = Future::create(py, &event_loop)?;
        let task = here::current_task(&event_loop)?;
        let watch = Bound::new(
            py,
            Watch {
                waiter: waiter.clone().unbind(),
                left: AtomicUsize::new(all.len()),
                when,
                task: task.clone().map(Bound::unbind),
                timer: Guarded::new(None),
            },
        )?;
        if let Some(timeout) = &given.timeout {
            let timer = Told::after(&event_loop, timeout.bind(py), late, &watch)?;
            *watch.get().timer.lock() = Some(timer.unbind());
        }
        let begun = self.begun.insert(Begun {
            futures: Vec::with_capacity(all.len()),
            listener: Listener::new(told, watch.clone().into_any().unbind()),
            watch: watch.unbind(),
        });
        for future in &all {
            begun.listener.observe(&future)?;
            graph::add(&future, task.as_ref())?;
            begun.futures.push(future.unbind());
        }
        Ok(waiter.unbind())
    }

    /// Takes the listener off; says what is done and what is not.
    fn end(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (done, pending) = (PySet::empty(py)?, PySet::empty(py)?);
        if let Some(begun) = self.begun.take() {
            let watch = begun.watch.get();
            watch.stop_timer(py)?;
            for future in begun.futures {
                let future = future.into_bound(py);
                begun.listener.forget(&future)?;
                graph::discard(&future, watch.task.as_ref().map(|task| task.bind(py)))?;
                if child::is_done(&future)? {
                    done.add(future)?;
                } else {
                    pending.add(future)?;
                }
            }
        }
        Ok((done, pending).into_pyobject(py)?.into_any().unbind())
    }
}

impl Machine for Wait {
    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        match resume {
            Resume::Next if self.begun.is_none() => match self.begin(py) {
                Ok(waiter) => Ok(Step::Wait(waiter)),
                Err(error) => {
                    self.end(py)?;
                    Err(error)
                }
            },
            Resume::Next => Ok(Step::Return(self.end(py)?)),
            Resume::Throw(error) => {
                self.end(py)?;
                Err(error)
            }
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(given) = &self.given {
            visit.call(&given.futures)?;
            visit.call(&given.timeout)?;
            visit.call(&given.return_when)?;
        }
        if let Some(begun) = &self.begun {
            for future in &begun.futures {
                visit.call(future)?;
            }
            begun.listener.traverse(visit)?;
            visit.call(&begun.watch)?;
        }
        Ok(())
    }
}

fn parse(return_when: &Bound<'_, PyAny>) -> PyResult<When> {
    if let Ok(text) = return_when.cast::<PyString>() {
        match &*text.to_cow()? {
            "FIRST_COMPLETED" => return Ok(When::First),
            "FIRST_EXCEPTION" => return Ok(When::Failure),
            "ALL_COMPLETED" => return Ok(When::All),
            _ => {}
        }
    }
    let text = format!("Invalid return_when value: {}", return_when.str()?);
    Err(PyValueError::new_err(text))
}

/// Waits for futures and tasks; gives two sets, (done, pending). As `asyncio.wait`.
///
/// Returns when all are done, when the first is (`return_when=FIRST_COMPLETED`), when the first has failed
/// (`FIRST_EXCEPTION`), or after `timeout` seconds, without an error. Nothing is cancelled.
#[pyfunction]
#[pyo3(signature = (fs, *, timeout=None, return_when=None))]
pub fn wait(
    py: Python<'_>,
    fs: Py<PyAny>,
    timeout: Option<Py<PyAny>>,
    return_when: Option<Py<PyAny>>,
) -> PyResult<Bound<'_, Await>> {
    let return_when = match return_when {
        Some(return_when) => return_when,
        None => intern!(py, "ALL_COMPLETED").clone().into_any().unbind(),
    };
    let given = Given {
        futures: fs,
        timeout,
        return_when,
    };
    Await::create(
        py,
        Wait {
            given: Some(given),
            begun: None,
        },
    )
}
