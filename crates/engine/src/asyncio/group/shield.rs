//! `shield`: a future that can be cancelled without what it stands for being cancelled.
//!
//! A [`Shield`] knows both. Once the outer one is done first, the inner one's failure has nobody to tell: from 3.14 on it is
//! reported to the loop's exception handler, before that it counts as seen.

use super::child::{self, Listener, Outcome};
use super::{ensure, graph, here};
use crate::asyncio::future::Future;
#[cfg(Py_3_14)]
use crate::asyncio::future::stdlib;
use crate::guarded::Guarded;
#[cfg(Py_3_14)]
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

/// The inner future, the outer one, and the task that asked.
#[pyclass(frozen, module = "plait._engine", name = "Shield")]
#[derive(Debug)]
pub struct Shield {
    inner: Py<PyAny>,
    outer: Py<Future>,
    pub(super) task: Option<Py<PyAny>>,
    listener: Guarded<Option<Listener>>,
}

#[pymethods]
impl Shield {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.inner)?;
        visit.call(&self.outer)?;
        visit.call(&self.task)?;
        match self.listener.try_lock().as_deref() {
            Some(Some(listener)) => listener.traverse(&visit),
            _ => Ok(()),
        }
    }

    fn __clear__(&self) {
        let listener = self.listener.lock().take();
        drop(listener);
    }
}

fn inner_told(shield: &Bound<'_, PyAny>, inner: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = shield.py();
    // SAFETY: the listener was made with a shield.
    let this = unsafe { shield.cast_unchecked::<Shield>() }.get();
    let listener = this.listener.lock().take();
    drop(listener);
    graph::discard(inner, this.task.as_ref().map(|task| task.bind(py)))?;
    let outer = this.outer.bind(py);
    if outer.get().is_done() {
        #[cfg(not(Py_3_14))]
        child::seen(inner)?;
        return Ok(());
    }
    match child::outcome(inner)? {
        Outcome::Value(value) => Future::finish(outer, value),
        Outcome::Error(error) => Future::fail(outer, PyErr::from_value(error.into_bound(py))),
        Outcome::Cancelled => Future::cancel(outer, None).map(drop),
    }
}

fn outer_told(shield: &Bound<'_, PyAny>, _outer: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = shield.py();
    // SAFETY: the observer was made with a shield.
    let this = unsafe { shield.cast_unchecked::<Shield>() }.get();
    let inner = this.inner.bind(py);
    let listener = this.listener.lock().take();
    if child::is_done(inner)? {
        let old = std::mem::replace(&mut *this.listener.lock(), listener);
        drop(old);
        return Ok(());
    }
    if let Some(listener) = &listener {
        listener.forget(inner)?;
    }
    #[cfg(Py_3_14)]
    {
        // One callback only, however many shields there were. (The first releases of 3.14 do not have it.)
        if let Ok(log) = stdlib!(py, "asyncio.tasks", "_log_on_exception") {
            inner.call_method1(intern!(py, "remove_done_callback"), (log,))?;
            inner.call_method1(intern!(py, "add_done_callback"), (log,))?;
        }
    }
    graph::discard(inner, this.task.as_ref().map(|task| task.bind(py)))
}

/// Protects a future, a task or a coroutine from being cancelled: only the wait for it is. As `asyncio.shield`.
///
/// Keep a reference to a task that you shield: loops hold tasks weakly.
#[pyfunction]
pub fn shield<'py>(arg: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = arg.py();
    let inner = ensure::ensure(arg, None)?;
    if child::is_done(&inner)? {
        return Ok(inner);
    }
    let event_loop = child::event_loop(&inner)?;
    let outer = Future::create(py, &event_loop)?;
    let task = if cfg!(Py_3_14) {
        here::current_task(&event_loop)?
    } else {
        None
    };
    graph::add(&inner, task.as_ref())?;
    let shield = Bound::new(
        py,
        Shield {
            inner: inner.clone().unbind(),
            outer: outer.clone().unbind(),
            task: task.map(Bound::unbind),
            listener: Guarded::new(None),
        },
    )?;
    let mut listener = Listener::new(inner_told, shield.clone().into_any().unbind());
    listener.observe(&inner)?;
    *shield.get().listener.lock() = Some(listener);
    child::observe(&outer, outer_told, shield.as_any())?;
    Ok(outer.into_any())
}
