//! `FutureCore`: what can be done with a future, over a [`Cell`].
//!
//! Behaviour as `concurrent.futures.Future`. The Python class `Future` derives from this and from the standard
//! library's, so that `isinstance` holds. Once somebody has reached for a private attribute the cell is *manual*, and
//! each method hands over to the standard library's own ([`super::private`]).

use super::face;
use super::observer::{self, Ear};
use super::outcome::{Outcome, give};
use super::private::Private;
use super::roster;
use crate::deadlock::{Link, Reason};
use crate::door;
use crate::hot;
use crate::limit::Limit;
use crate::process::driver::Driver;
use plait_core::cell::{Cancel, Cell, Done, Finish, Start, State};
use plait_core::clock;
use plait_core::graph::Wait;
use pyo3::PyTypeInfo;
use pyo3::exceptions::PyTimeoutError;
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// The native half of `plait.Future`.
#[pyclass(frozen, subclass, module = "plait.concurrent.futures")]
#[derive(Debug, Default)]
pub struct FutureCore {
    pub cell: Cell<Outcome, Ear>,
    /// The thread that runs it, as far as it is known.
    pub runner: AtomicUsize,
    /// The [roster](super::roster) of those in whose queue it was put, or 0.
    pub roster: AtomicU32,
    /// The pool of processes that it comes from, and the number of its call there, where its cell stays PENDING to the end.
    pub origin: Option<Arc<Driver>>,
    pub task: AtomicU64,
    /// What the private attributes show, once somebody has asked.
    pub private: OnceLock<Box<Private>>,
}

/// Why a thread waits for a future.
#[derive(Debug)]
struct Awaited<'a> {
    object: *mut PyObject,
    future: &'a FutureCore,
}

impl Reason for Awaited<'_> {
    fn object(&self) -> *mut PyObject {
        self.object
    }

    fn action(&self) -> &'static str {
        "get the result of"
    }

    fn resolvers(&self) -> Wait {
        self.future.resolvers()
    }

    fn link(&self) -> Link {
        match self.future.state() {
            State::Running => Link::Run,
            _ => Link::Queued,
        }
    }
}

impl FutureCore {
    /// Where in its life it is.
    #[must_use]
    pub fn state(&self) -> State {
        match (self.cell.state(), &self.origin) {
            (State::Pending, Some(driver)) if driver.is_running(self.task.load(Ordering::Relaxed)) => {
                State::Running
            }
            (state, _) => state,
        }
    }

    /// Whether it has been cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.cell.state(), State::Cancelled | State::Notified)
    }

    /// Who could end a wait for it: the worker that runs it; all workers of a pool that can have no more.
    pub fn resolvers(&self) -> Wait {
        let resolvers = match self.cell.state() {
            State::Running => match self.runner.load(Ordering::Relaxed) {
                0 => Vec::new(),
                runner => vec![runner],
            },
            State::Pending => roster::everyone(self.roster.load(Ordering::Relaxed)),
            _ => Vec::new(),
        };
        Wait {
            resolvers,
            only_these: true,
        }
    }

    /// Waits until it is done, or taken over. False if `limit` comes first.
    ///
    /// # Errors
    /// As [`door::wait`].
    pub fn wait(&self, py: Python<'_>, object: *mut PyObject, limit: Limit) -> PyResult<bool> {
        let site = Done {
            cell: &self.cell,
            spin: roster::spin(self.roster.load(Ordering::Relaxed)),
        };
        let reason = Awaited { object, future: self };
        if let Some(driver) = &self.origin {
            driver.help(py, limit, || self.cell.state().is_done() || self.cell.is_manual());
        }
        door::wait(py, &site, limit, &reason)
    }

    /// Whether what its process has logged has been handled.
    #[inline]
    #[must_use]
    pub fn has_heard(&self) -> bool {
        self.origin
            .as_ref()
            .is_none_or(|driver| driver.logs.are_handled())
    }

    /// Sees to it that it is handled, or waits a little while another thread does.
    #[inline]
    pub fn hear(&self, py: Python<'_>) {
        if let Some(driver) = &self.origin {
            driver.hear(py);
        }
    }

    /// The outcome, when it is there; None if the cell has been taken over.
    ///
    /// # Errors
    /// `CancelledError`, `TimeoutError`, and as [`door::wait`].
    pub fn outcome(
        &self,
        py: Python<'_>,
        object: *mut PyObject,
        limit: impl FnOnce() -> PyResult<Limit>,
    ) -> PyResult<Option<&Outcome>> {
        let mut limit = Some(limit);
        loop {
            if let Some(outcome) = self.cell.value() {
                self.hear(py);
                return Ok(Some(outcome));
            }
            if self.cell.is_manual() {
                return Ok(None);
            }
            match self.cell.state() {
                State::Cancelled | State::Notified => return Err(face::cancelled(py)),
                // It has ended since we looked, where nobody holds a GIL; or the garbage collector has emptied it.
                State::Finished => return Ok(self.cell.value()),
                State::Pending | State::Running => {}
            }
            let until = match limit.take() {
                Some(limit) => limit()?,
                None => Limit::Never,
            };
            if until == Limit::Now || !self.wait(py, object, until)? {
                return Err(PyTimeoutError::new_err(()));
            }
        }
    }

    /// The result, owned by the caller, or the exception raised.
    ///
    /// # Errors
    /// The future's own, and as [`outcome`](Self::outcome).
    pub fn result(
        slf: &Bound<'_, PyAny>,
        core: &Self,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<*mut PyObject> {
        let py = slf.py();
        match core.outcome(py, slf.as_ptr(), || Limit::from_timeout(timeout))? {
            Some(outcome) => given(py, outcome),
            None => face::call_stdlib(slf, "result", timeout).map(Bound::into_ptr),
        }
    }

    /// As [`result`](Self::result), until a point in time.
    ///
    /// # Errors
    /// As there.
    pub fn result_within(slf: &Bound<'_, PyAny>, core: &Self, limit: Limit) -> PyResult<*mut PyObject> {
        let py = slf.py();
        match core.outcome(py, slf.as_ptr(), || Ok(limit))? {
            Some(outcome) => given(py, outcome),
            None => {
                let left = match limit {
                    Limit::Never => None,
                    Limit::Now => Some(0.0),
                    Limit::At(at) => {
                        #[expect(clippy::cast_precision_loss, reason = "a timeout")]
                        let left = at.saturating_sub(clock::now()) as f64 / 1e9;
                        Some(left)
                    }
                };
                let left = left.into_pyobject(py)?;
                face::call_stdlib(slf, "result", Some(&left)).map(Bound::into_ptr)
            }
        }
    }

    /// Sets what it ends with and tells everybody.
    ///
    /// # Errors
    /// `InvalidStateError` if it is done, and what a callback raises, if it is no `Exception`.
    pub fn finish(slf: &Bound<'_, PyAny>, core: &Self, outcome: Outcome) -> PyResult<()> {
        let failed = outcome.failed();
        match core.cell.finish(outcome) {
            Finish::Finished(crowd) => observer::tell(slf, crowd, failed),
            Finish::Invalid(_, state) => {
                face::get(slf.py(), intern!(slf.py(), "_done_already"))?.call1((slf, name(state)))?;
                Ok(())
            }
            Finish::Manual(Outcome::Value(value)) => {
                face::call_stdlib(slf, "set_result", Some(&value.into_bound(slf.py()))).map(drop)
            }
            Finish::Manual(Outcome::Error(error)) => {
                face::call_stdlib(slf, "set_exception", Some(&error.into_bound(slf.py()))).map(drop)
            }
            // The driver of a pool of processes completes its futures itself.
            Finish::Manual(Outcome::Packed(_)) => Ok(()),
        }
    }

    /// Cancels it if nobody has begun.
    ///
    /// # Errors
    /// What a callback raises, if it is no `Exception`.
    pub fn cancel(slf: &Bound<'_, PyAny>, core: &Self) -> PyResult<bool> {
        match core.cell.cancel() {
            Cancel::Cancelled(crowd) => {
                if let Some(driver) = &core.origin {
                    driver.cancel(core.task.load(Ordering::Relaxed));
                    // The worker lets go of it by and by; nobody has to wait for that to hear of it.
                    if let Start::Cancelled(rest) = core.cell.start() {
                        observer::tell(slf, rest, false)?;
                    }
                }
                observer::tell(slf, crowd, false).map(|()| true)
            }
            Cancel::Already => Ok(true),
            Cancel::TooLate => Ok(false),
            Cancel::Manual => face::call_stdlib(slf, "cancel", None)?.extract(),
        }
    }

    /// Marks it as running. False if it has been cancelled; then whoever waits for that is told.
    ///
    /// # Errors
    /// `RuntimeError` in any other state.
    pub fn start(slf: &Bound<'_, PyAny>, core: &Self) -> PyResult<bool> {
        match core.cell.start() {
            Start::Started => Ok(true),
            Start::Cancelled(crowd) => observer::tell(slf, crowd, false).map(|()| false),
            Start::Invalid(state) => {
                face::get(slf.py(), intern!(slf.py(), "_unexpected_state"))?.call1((slf, name(state)))?;
                Ok(false)
            }
            Start::Manual => face::call_stdlib(slf, "set_running_or_notify_cancel", None)?.extract(),
        }
    }
}

/// The name of a state, as `Future._state` has it.
pub fn name(state: State) -> &'static str {
    match state {
        State::Pending => "PENDING",
        State::Running => "RUNNING",
        State::Cancelled => "CANCELLED",
        State::Notified => "CANCELLED_AND_NOTIFIED",
        State::Finished => "FINISHED",
    }
}

/// As [`give`], as a `Result`.
fn given(py: Python<'_>, outcome: &Outcome) -> PyResult<*mut PyObject> {
    match give(outcome) {
        result if result.is_null() => Err(PyErr::fetch(py)),
        result => Ok(result),
    }
}

/// A pending future of the queue of that roster (0: of none), owned by the caller; null if there is no memory.
///
/// # Safety
/// The thread is attached, and the Python side has been imported.
#[inline]
pub unsafe fn new_future(roster: u32) -> *mut PyObject {
    // SAFETY: the caller's promise.
    unsafe { allocate(face::future_class(), roster, None) }
}

/// As [`new_future`], for a future that no Python code gets to see: without what the class adds (attributes, weak
/// references), and not tracked by the collector, so whoever holds it has to visit what it holds.
///
/// # Safety
/// As [`new_future`].
#[inline]
pub unsafe fn hidden_future(roster: u32) -> *mut PyObject {
    // SAFETY: the caller's promise.
    unsafe {
        let object = allocate(
            FutureCore::type_object_raw(Python::assume_attached()),
            roster,
            None,
        );
        if !object.is_null() {
            ffi::PyObject_GC_UnTrack(object.cast());
        }
        object
    }
}

/// A pending future of a pool of processes, owned by the caller; `hidden` as [`hidden_future`]. Null if there is no memory.
///
/// # Safety
/// As [`new_future`].
#[inline]
pub unsafe fn future_of(driver: &Arc<Driver>, hidden: bool) -> *mut PyObject {
    // SAFETY: the caller's promise.
    unsafe {
        let class = if hidden {
            FutureCore::type_object_raw(Python::assume_attached())
        } else {
            face::future_class()
        };
        let object = allocate(class, 0, Some(Arc::clone(driver)));
        if hidden && !object.is_null() {
            ffi::PyObject_GC_UnTrack(object.cast());
        }
        object
    }
}

#[inline]
unsafe fn allocate(class: *mut ffi::PyTypeObject, roster: u32, origin: Option<Arc<Driver>>) -> *mut PyObject {
    // SAFETY: the class is FutureCore or derives from it, so what the interpreter allocates has room for its value at the
    // place where `hot::this` finds it; nothing has been there, so nothing is dropped.
    unsafe {
        let object = ffi::PyType_GenericAlloc(class, 0);
        if !object.is_null() {
            let core: *const FutureCore = hot::this::<FutureCore>(object);
            core.cast_mut().write(FutureCore {
                roster: AtomicU32::new(roster),
                origin,
                ..FutureCore::default()
            });
        }
        object
    }
}
