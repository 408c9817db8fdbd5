//! A future that is waited for: ours without a detour, anybody else's through its methods.
//!
//! *Native* are the exact types only: a subclass can override any method, and then the method is called.

use super::gather::Gathering;
use crate::asyncio::future::{Future, Observer, Phase, object};
use crate::asyncio::looping::Run;
use crate::asyncio::task::Task;
use crate::guarded::Guarded;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

/// How a future ended.
#[derive(Debug)]
pub enum Outcome {
    /// With a result.
    Value(Py<PyAny>),
    /// With an exception, which counts as retrieved from here.
    Error(Py<PyAny>),
    /// Cancelled.
    Cancelled,
}

/// The future as ours, if that is what it is.
#[inline]
pub fn native<'a, 'py>(object: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, Future>> {
    let ours = object::is_exact(object.as_ptr()) || object.is_exact_instance_of::<Gathering>();
    // SAFETY: all three are futures.
    ours.then(|| unsafe { object.cast_unchecked::<Future>() })
}

/// Whether asyncio takes `object` for a future.
///
/// # Errors
/// What its attribute raises.
pub fn is_future(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    if native(object).is_some() {
        return Ok(true);
    }
    let mark = intern!(object.py(), "_asyncio_future_blocking");
    Ok(object.get_type().hasattr(mark)? && !object.getattr(mark)?.is_none())
}

/// Whether it is done.
///
/// # Errors
/// What a foreign future raises.
#[inline]
pub fn is_done(future: &Bound<'_, PyAny>) -> PyResult<bool> {
    match native(future) {
        Some(ours) => Ok(ours.get().is_done()),
        None => future.call_method0(intern!(future.py(), "done"))?.is_truthy(),
    }
}

/// Whether it was cancelled.
///
/// # Errors
/// What a foreign future raises.
pub fn is_cancelled(future: &Bound<'_, PyAny>) -> PyResult<bool> {
    match native(future) {
        Some(ours) => Ok(ours.get().is_cancelled()),
        None => future
            .call_method0(intern!(future.py(), "cancelled"))?
            .is_truthy(),
    }
}

/// How a future that is done has ended.
///
/// # Errors
/// What a foreign future raises.
pub fn outcome(future: &Bound<'_, PyAny>) -> PyResult<Outcome> {
    let py = future.py();
    if let Some(ours) = native(future) {
        let mut state = ours.get().state.lock();
        let outcome = match (state.phase, state.failed) {
            (Phase::Cancelled, _) => return Ok(Outcome::Cancelled),
            (_, true) => {
                state.log_traceback = false;
                state
                    .outcome
                    .as_ref()
                    .map(|error| Outcome::Error(error.share(py)))
            }
            (_, false) => state
                .outcome
                .as_ref()
                .map(|value| Outcome::Value(value.share(py))),
        };
        drop(state);
        return Ok(outcome.unwrap_or_else(|| Outcome::Value(py.None())));
    }
    if is_cancelled(future)? {
        return Ok(Outcome::Cancelled);
    }
    let error = future.call_method0(intern!(py, "exception"))?;
    if error.is_none() {
        let value = future.call_method0(intern!(py, "result"))?;
        return Ok(Outcome::Value(value.unbind()));
    }
    Ok(Outcome::Error(error.unbind()))
}

/// What a future that is done has failed with: an error or a cancellation; None if it has a result.
///
/// # Errors
/// What a foreign future raises.
pub fn failure(future: &Bound<'_, PyAny>) -> PyResult<Option<Outcome>> {
    let py = future.py();
    if let Some(ours) = native(future) {
        let mut state = ours.get().state.lock();
        return Ok(match (state.phase, state.failed) {
            (Phase::Cancelled, _) => Some(Outcome::Cancelled),
            (Phase::Finished, true) => {
                state.log_traceback = false;
                state
                    .outcome
                    .as_ref()
                    .map(|error| Outcome::Error(error.share(py)))
            }
            (Phase::Finished | Phase::Pending, _) => None,
        });
    }
    if is_cancelled(future)? {
        return Ok(Some(Outcome::Cancelled));
    }
    let error = future.call_method0(intern!(py, "exception"))?;
    Ok((!error.is_none()).then(|| Outcome::Error(error.unbind())))
}

/// Marks the exception of a future that is done, if it has one, as retrieved.
///
/// # Errors
/// What a foreign future raises.
pub fn seen(future: &Bound<'_, PyAny>) -> PyResult<()> {
    failure(future).map(drop)
}

/// Nobody has the task, so that it need not be reported when it is destroyed while it is pending.
///
/// # Errors
/// What a foreign task raises.
pub fn never_mind(task: &Bound<'_, PyAny>) -> PyResult<()> {
    if task.is_exact_instance_of::<Task>() {
        // SAFETY: just checked.
        let task = unsafe { task.cast_unchecked::<Task>() };
        task.get().state.lock().log_destroy_pending = false;
        return Ok(());
    }
    task.setattr(intern!(task.py(), "_log_destroy_pending"), false)
}

/// As `future.result()`.
///
/// # Errors
/// The future's own.
pub fn result(future: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    match native(future) {
        Some(ours) => Future::result(ours),
        None => Ok(future.call_method0(intern!(future.py(), "result"))?.unbind()),
    }
}

/// The `CancelledError` of a future that was cancelled.
///
/// # Errors
/// What a foreign future raises.
pub fn cancelled_error(future: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    let error = future.call_method0(intern!(future.py(), "_make_cancelled_error"))?;
    Ok(PyErr::from_value(error))
}

/// Cancels it, with a message if there is one.
///
/// # Errors
/// What a foreign future raises.
pub fn cancel(future: &Bound<'_, PyAny>, message: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
    if object::is_exact(future.as_ptr()) {
        // SAFETY: it is one of ours.
        let ours = unsafe { future.cast_unchecked::<Future>() };
        return Future::cancel(ours, message.map(|message| message.clone().unbind()));
    }
    let py = future.py();
    let name = intern!(py, "cancel");
    let cancelled = match message {
        None => future.call_method0(name)?,
        Some(message) => {
            let named = pyo3::types::PyDict::new(py);
            named.set_item(intern!(py, "msg"), message)?;
            future.call_method(name, (), Some(&named))?
        }
    };
    cancelled.is_truthy()
}

/// The loop of a future.
///
/// # Errors
/// What a foreign future raises.
pub fn event_loop<'py>(future: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = future.py();
    match future.getattr_opt(intern!(py, "get_loop"))? {
        Some(get) => get.call0(),
        None => future.getattr(intern!(py, "_loop")),
    }
}

/// What foreign futures and timers call: `run(object, future)`.
#[pyclass(frozen, module = "plait._engine", name = "Told")]
pub struct Told {
    run: Run,
    /// None once the collector has been here.
    object: Guarded<Option<Py<PyAny>>>,
}

impl Told {
    fn new(run: Run, object: Py<PyAny>) -> Self {
        Self {
            run,
            object: Guarded::new(Some(object)),
        }
    }

    fn object<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let object = self.object.lock().as_ref().map(|object| object.clone_ref(py));
        object.map(|object| object.into_bound(py))
    }
}

#[pymethods]
impl Told {
    #[pyo3(signature = (future=None))]
    fn __call__(&self, py: Python<'_>, future: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let none = py.None().into_bound(py);
        match self.object(py) {
            Some(object) => (self.run)(&object, future.unwrap_or(&none)),
            None => Ok(()),
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        match self.object(py) {
            Some(object) => Ok(format!("<callback of {}>", object.get_type().name()?)),
            None => Ok("<callback of nobody>".to_owned()),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.object.try_lock() {
            Some(object) => visit.call(&*object),
            None => Ok(()),
        }
    }

    fn __clear__(&self) {
        let object = self.object.lock().take();
        drop(object);
    }
}

impl Told {
    /// Has `run(object, None)` called after so many seconds; the result has `cancel()`.
    ///
    /// # Errors
    /// What the loop raises.
    pub fn after<'py>(
        event_loop: &Bound<'py, PyAny>,
        seconds: &Bound<'py, PyAny>,
        run: Run,
        object: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = event_loop.py();
        let object = object.clone().unbind();
        let told = Bound::new(py, Self::new(run, object))?;
        event_loop.call_method1(intern!(py, "call_later"), (seconds, told))
    }
}

/// One that is told when futures are done, and can take itself off again.
#[derive(Debug)]
pub struct Listener {
    run: Run,
    object: Py<PyAny>,
    /// Made for the first foreign future.
    told: Option<Py<Told>>,
}

impl Listener {
    /// `run(object, future)` is what will be called.
    pub fn new(run: Run, object: Py<PyAny>) -> Self {
        Self {
            run,
            object,
            told: None,
        }
    }

    /// Hears of `future` when it is done: one turn later, also if it is done already.
    ///
    /// # Errors
    /// What a foreign future raises.
    pub fn observe(&mut self, future: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = future.py();
        if let Some(ours) = native(future) {
            return observe(ours, self.run, self.object.bind(py));
        }
        let told = match &self.told {
            Some(told) => told.clone_ref(py),
            None => {
                let told = Py::new(py, Told::new(self.run, self.object.clone_ref(py)))?;
                self.told = Some(told.clone_ref(py));
                told
            }
        };
        future
            .call_method1(intern!(py, "add_done_callback"), (told,))
            .map(drop)
    }

    /// Will not hear of `future`.
    ///
    /// # Errors
    /// What a foreign future raises.
    pub fn forget(&self, future: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Some(ours) = native(future) {
            Future::unobserve(ours, self.object.as_ptr());
        } else if let Some(told) = &self.told {
            future.call_method1(intern!(future.py(), "remove_done_callback"), (told,))?;
        }
        Ok(())
    }

    /// For `__traverse__`.
    ///
    /// # Errors
    /// What the visitor returns.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.object)?;
        visit.call(&self.told)
    }
}

/// `run(object, future)` when `future` is done, one turn later.
///
/// # Errors
/// `MemoryError`, or what a foreign loop raises.
#[inline]
pub fn observe(future: &Bound<'_, Future>, run: Run, object: &Bound<'_, PyAny>) -> PyResult<()> {
    Future::observe(
        future,
        Observer::Native {
            run,
            object: object.clone().unbind(),
        },
    )
}

/// An observer of one future, ours or another's, that is never taken off.
///
/// # Errors
/// As [`Listener::observe`].
pub fn observe_any(future: &Bound<'_, PyAny>, run: Run, object: &Bound<'_, PyAny>) -> PyResult<()> {
    match native(future) {
        Some(ours) => observe(ours, run, object),
        None => Listener::new(run, object.clone().unbind()).observe(future),
    }
}
