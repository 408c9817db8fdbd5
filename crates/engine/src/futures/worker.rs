//! The loop of a worker thread: takes jobs, calls them, delivers, and idles at the door.
//!
//! The loop is native, so the interpreter's requests (to let another thread have the GIL, to stop for the collector of a
//! free-threaded build) are not seen between jobs. So every [`TURN`] jobs it calls a Python function that does
//! nothing but see to them. (Detaching for a moment every 5 ms instead starved a thread that waited for the GIL: each
//! time it was woken too late, and began to wait its own 5 ms, after which it would have asked, anew.)
//!
//! A thread that sleeps for a result is woken just after detaching, before the next job: while it wakes, this one
//! goes on. One that spins is only notified: the worker goes on with what is queued, and the spinner goes
//! on as soon as somebody detaches.

use super::crew::{Crew, Gate, Submit, Take};
use super::face;
use super::future::{FutureCore, name};
use super::job::Job;
use super::observer::{self, Ear};
use super::outcome::Outcome;
use crate::deadlock::Reason;
use crate::door;
use crate::held::Held;
use crate::hot;
use crate::limit::Limit;
use plait_core::cell::{Finish, Start};
use plait_core::graph::Wait;
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::sync::Arc;

/// How many jobs are run between two looks at what the interpreter requests.
const TURN: u32 = 16;

/// What a worker thread is given: it keeps the crew alive, not the executor.
#[pyclass(frozen, module = "plait._engine")]
#[derive(Debug)]
pub struct Worker {
    pub crew: Arc<Crew>,
}

/// An idle worker is never part of a deadlock: whoever submits ends its wait.
struct Idle(*mut PyObject);

impl Reason for Idle {
    fn object(&self) -> *mut PyObject {
        self.0
    }

    fn action(&self) -> &'static str {
        "get a job from"
    }

    fn resolvers(&self) -> Wait {
        Wait {
            resolvers: Vec::new(),
            only_these: false,
        }
    }

    fn looks(&self) -> bool {
        false
    }
}

/// What sees to the interpreter's requests.
struct Turn<'py> {
    jobs: u32,
    requests: Bound<'py, PyAny>,
}

impl Turn<'_> {
    #[inline]
    fn tick(&mut self) {
        self.jobs += 1;
        if self.jobs.is_multiple_of(TURN)
            && let Err(error) = self.requests.call0()
        {
            report(self.requests.py(), Err(error));
        }
    }
}

#[pymethods]
impl Worker {
    /// Works until the crew is closed. `executor` is a weak reference to the executor.
    fn run(slf: &Bound<'_, Self>, executor: &Bound<'_, PyAny>) -> PyResult<()> {
        let (py, crew) = (slf.py(), &*slf.get().crew);
        let me = door::ident();
        let mut turn = Turn {
            jobs: 0,
            requests: face::get(py, intern!(py, "_see_to_requests"))?,
        };
        crew.roster.enter(me);
        let mut idle = false;
        loop {
            match crew.take(idle) {
                Take::Job(job, next) => {
                    next.notify();
                    idle = work(py, crew, job, me, executor);
                    turn.tick();
                }
                Take::Empty => {
                    door::wait(py, crew, Limit::Never, &Idle(slf.as_ptr()))?;
                    idle = true;
                }
                Take::Leave => break,
            }
        }
        crew.roster.exit(me);
        Ok(())
    }

    /// The initializer has failed: closes the crew and returns the futures of what was queued.
    fn fail<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.crew.close(Gate::Broken).notify();
        let jobs = self.crew.drain();
        PyList::new(py, jobs.into_iter().map(|job| job.split().0.into_bound(py)))
    }
}

/// Runs a job and delivers its result. Returns whether this worker counts as idle.
fn work(py: Python<'_>, crew: &Crew, job: Job, me: usize, executor: &Bound<'_, PyAny>) -> bool {
    let (future, mut call) = job.split();
    // SAFETY: a job's future is a FutureCore, and `future` holds it.
    let core: &FutureCore = unsafe { hot::this(future.as_ptr()) };
    match core.cell.start() {
        Start::Started => {}
        other => {
            if !start_slow(&future.bind(py), other) {
                return false;
            }
        }
    }
    core.runner.store(me, std::sync::atomic::Ordering::Relaxed);
    // SAFETY: attached. The arguments go before the result is known, as after a plain call.
    let result = unsafe { call.make() };
    let outcome = if result.is_null() {
        Outcome::Error(raised())
    } else {
        // SAFETY: the call's result is owned.
        Outcome::Value(unsafe { Held::from_owned(result) })
    };
    drop(call);
    // If nobody else has the future its end may run finalizers here: then this worker is busy.
    // SAFETY: the object is alive.
    let mut idle = unsafe { ffi::Py_REFCNT(future.as_ptr()) } > 1 && crew.mark_idle();
    let failed = outcome.failed();
    match core.cell.finish(outcome) {
        Finish::Finished(crowd) if crowd.threads.is_empty() && crowd.observers.is_empty() => {}
        Finish::Finished(crowd) => {
            let future = future.bind(py).to_owned();
            let mut asleep = Vec::new();
            let ears = observer::announce(&future, crowd, failed, |thread| asleep.push(thread));
            let mut end = Ok(());
            if ears.iter().any(|ear| matches!(ear, Ear::Callback(_))) {
                for thread in asleep.drain(..) {
                    thread.now();
                }
                if std::mem::take(&mut idle) {
                    place(py, crew, crew.unmark_idle(), executor);
                }
                end = observer::call_back(&future, ears);
            }
            if !asleep.is_empty() {
                door::detached(py, || asleep.into_iter().for_each(plait_core::Unpark::now));
            }
            report(py, end);
        }
        other => {
            if std::mem::take(&mut idle) {
                place(py, crew, crew.unmark_idle(), executor);
            }
            report(py, finish_slow(future.bind(py).as_any(), other));
        }
    }
    idle
}

/// What follows a start that was not plain. True if the job is to be run.
#[cold]
fn start_slow(future: &Bound<'_, PyAny>, start: Start<Ear>) -> bool {
    let py = future.py();
    let end = match start {
        Start::Started => Ok(true),
        Start::Cancelled(crowd) => observer::tell(future, crowd, false).map(|()| false),
        Start::Invalid(state) => face::get(py, intern!(py, "_unexpected_state"))
            .and_then(|complain| complain.call1((future, name(state))))
            .map(|_| false),
        Start::Manual => face::call_stdlib(future, "set_running_or_notify_cancel", None)
            .and_then(|started| started.extract()),
    };
    end.unwrap_or_else(|error| {
        report(py, Err(error));
        false
    })
}

#[cold]
fn finish_slow(future: &Bound<'_, PyAny>, end: Finish<Outcome, Ear>) -> PyResult<()> {
    let py = future.py();
    match end {
        Finish::Finished(crowd) => observer::tell(future, crowd, false),
        Finish::Invalid(_, state) => face::get(py, intern!(py, "_done_already"))?
            .call1((future, name(state)))
            .map(drop),
        Finish::Manual(Outcome::Value(value)) => {
            face::call_stdlib(future, "set_result", Some(&value.into_bound(py))).map(drop)
        }
        Finish::Manual(Outcome::Error(error)) => {
            face::call_stdlib(future, "set_exception", Some(&error.into_bound(py))).map(drop)
        }
        // Only pools of processes have such.
        Finish::Manual(Outcome::Packed(_)) => Ok(()),
    }
}

/// Wakes or starts who was found.
fn place(py: Python<'_>, crew: &Crew, found: Submit, executor: &Bound<'_, PyAny>) {
    match found {
        Submit::Queued(next) => next.notify(),
        Submit::Grow(number) => {
            let started = executor.call0().and_then(|executor| {
                if executor.is_none() {
                    return Ok(false);
                }
                executor.call_method1(intern!(py, "_add_worker"), (number,))?;
                Ok(true)
            });
            crew.grown(matches!(started, Ok(true)));
        }
        Submit::Refused(..) | Submit::Forked(..) => {}
    }
}

/// Logs what a callback has raised that no future can carry.
fn report(py: Python<'_>, end: PyResult<()>) {
    if let Err(error) = end
        && let Err(error) = face::get(py, intern!(py, "_worker_failed")).and_then(|log| log.call1((error,)))
    {
        error.write_unraisable(py, None);
    }
}

/// The exception that is set, with its traceback; it is not set any more.
fn raised() -> Held {
    #[cfg(Py_3_12)]
    // SAFETY: attached, and a call has failed, so there is one.
    unsafe {
        Held::from_owned(ffi::PyErr_GetRaisedException())
    }
    #[cfg(not(Py_3_12))]
    // SAFETY: as above; the three references are owned.
    unsafe {
        let (mut class, mut value, mut traceback) =
            (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
        ffi::PyErr_Fetch(&raw mut class, &raw mut value, &raw mut traceback);
        ffi::PyErr_NormalizeException(&raw mut class, &raw mut value, &raw mut traceback);
        if !traceback.is_null() {
            ffi::PyException_SetTraceback(value, traceback);
            ffi::Py_DECREF(traceback);
        }
        ffi::Py_XDECREF(class);
        Held::from_owned(value)
    }
}
