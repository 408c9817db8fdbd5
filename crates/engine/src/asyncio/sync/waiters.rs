//! The futures that wait at a primitive: which loop they belong to, and how they are woken.

use super::line::{Line, Place};
use crate::asyncio::future::{Future, cancelled_error, stdlib};
use crate::asyncio::looping;
use crate::held::{Held, HeldSlot};
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;

/// Where the futures stand, and the loop to which a primitive is bound by its first wait.
#[derive(Debug, Default)]
pub struct Waiters {
    pub futures: Place,
    pub event_loop: HeldSlot,
    /// A future that has been waited for and that nobody else has: the next who waits takes it. Who hands items over one by
    /// one would make one for each.
    spare: HeldSlot,
}

/// The loop that runs in this thread.
///
/// # Errors
/// `RuntimeError` if there is none.
#[inline]
pub fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    if let Some(event_loop) = looping::running(py) {
        return Ok(event_loop.into_any());
    }
    stdlib!(py, "asyncio.events", "get_running_loop")?.call0()
}

impl Waiters {
    /// The running loop, to which `owner` is bound from the first time on.
    ///
    /// # Errors
    /// `RuntimeError` if it is bound to another one.
    #[inline]
    pub fn bind<'py>(&self, owner: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = owner.py();
        let running = running_loop(py)?;
        if self.event_loop.get(py).is_none() {
            self.event_loop.fill(running.clone().into());
        }
        if self.event_loop.get(py).is_some_and(|own| own.is(&running)) {
            return Ok(running);
        }
        Err(PyRuntimeError::new_err(format!(
            "{} is bound to a different event loop",
            owner.repr()?
        )))
    }

    /// A pending future of the loop.
    ///
    /// # Errors
    /// As [`Future::create`].
    #[inline]
    pub fn future<'py>(&self, event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Future>> {
        match self
            .spare
            .take()
            .and_then(|spare| Future::again(spare, event_loop))
        {
            Some(future) => Ok(future),
            None => Future::create(event_loop.py(), event_loop),
        }
    }

    /// Keeps a future that was waited for, if nobody else has it.
    #[inline]
    pub fn keep(&self, py: Python<'_>, future: Held) {
        if Future::is_spent(py, &future) {
            self.spare.replace(Some(future));
        }
    }

    /// A new future at the end of the line.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    #[inline]
    pub fn enqueue<'py>(&self, owner: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Future>> {
        let future = self.future(&self.bind(owner)?)?;
        self.futures
            .line(owner.py())?
            .push(future.clone().into_any().into());
        Ok(future)
    }

    /// Takes a future out of the line.
    #[inline]
    pub fn leave(&self, py: Python<'_>, future: &Held) {
        if let Some(line) = self.futures.get(py) {
            line.take(future);
        }
    }

    /// Whether no one waits but those that were cancelled.
    ///
    /// # Errors
    /// What asking a foreign future raises.
    #[inline]
    pub fn only_cancelled(&self, py: Python<'_>) -> PyResult<bool> {
        let Some(line) = self.futures.get(py) else {
            return Ok(true);
        };
        let mut index = 0;
        while let Some(future) = line.get(py, index) {
            if !is_cancelled(&future)? {
                return Ok(false);
            }
            index += 1;
        }
        Ok(true)
    }

    /// Completes the first `most` futures that are pending. How many there were.
    ///
    /// # Errors
    /// What completing a foreign future raises.
    #[inline]
    pub fn wake(&self, py: Python<'_>, most: usize, value: bool) -> PyResult<usize> {
        let Some(line) = self.futures.get(py) else {
            return Ok(0);
        };
        let (mut woken, mut index) = (0, 0);
        while woken < most {
            let Some(future) = line.get(py, index) else { break };
            woken += usize::from(wake(&future, truth(py, value))?);
            index += 1;
        }
        Ok(woken)
    }

    /// For `__traverse__`.
    ///
    /// # Errors
    /// What the visitor returns.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.futures.traverse(visit)?;
        self.spare.traverse(visit)?;
        self.event_loop.traverse(visit)
    }

    /// For `__clear__`.
    pub fn clear(&self) {
        self.futures.clear();
        self.spare.replace(None);
        self.event_loop.replace(None);
    }
}

/// `True` or `False`.
pub fn truth(py: Python<'_>, value: bool) -> Py<PyAny> {
    pyo3::types::PyBool::new(py, value).to_owned().into_any().unbind()
}

/// Wakes the first of `line` that is not done, taking out all up to it: as `Queue._wakeup_next`.
///
/// # Errors
/// What completing a foreign future raises.
#[inline]
pub fn wake_next(py: Python<'_>, line: &Line) -> PyResult<()> {
    while let Some(future) = line.pop_front() {
        if wake(&future.into_bound(py), py.None())? {
            break;
        }
    }
    Ok(())
}

/// Completes `future` with `value`. Whether it was pending.
///
/// # Errors
/// What completing a foreign future raises.
#[inline]
pub fn wake(future: &Bound<'_, PyAny>, value: Py<PyAny>) -> PyResult<bool> {
    if let Ok(future) = future.cast::<Future>() {
        if future.get().is_done() {
            return Ok(false);
        }
        Future::finish(future, value)?;
        return Ok(true);
    }
    if future.call_method0(intern!(future.py(), "done"))?.is_truthy()? {
        return Ok(false);
    }
    future.call_method1(intern!(future.py(), "set_result"), (value,))?;
    Ok(true)
}

#[inline]
fn is_cancelled(future: &Bound<'_, PyAny>) -> PyResult<bool> {
    match future.cast::<Future>() {
        Ok(future) => Ok(future.get().is_cancelled()),
        Err(_) => future
            .call_method0(intern!(future.py(), "cancelled"))?
            .is_truthy(),
    }
}

/// Whether `error` is a `CancelledError`.
///
/// # Errors
/// What the interpreter raises when it is asked.
pub fn is_cancellation(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    Ok(error.matches(py, cancelled_error(py)?)?)
}

/// What the standard library's `repr()` of a primitive is, with `extra` in brackets.
///
/// # Errors
/// What `object.__repr__` raises.
pub fn repr(slf: &Bound<'_, PyAny>, extra: &str, waiters: usize) -> PyResult<String> {
    let base = slf
        .py()
        .get_type::<PyAny>()
        .call_method1(intern!(slf.py(), "__repr__"), (slf,))?
        .to_string();
    let base = base.strip_prefix('<').unwrap_or(&base);
    let base = base.strip_suffix('>').unwrap_or(base);
    let waiting = if waiters > 0 {
        format!(", waiters:{waiters}")
    } else {
        String::new()
    };
    Ok(format!("<{base} [{extra}{waiting}]>"))
}
