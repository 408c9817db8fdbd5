//! `PoolCore`: submit and map, over a [`Crew`].
//!
//! Arguments, threads and shutting down are the Python side's: `plait.concurrent.futures.ThreadPoolExecutor`.

use super::crew::{Crew, Gate, Submit};
use super::face;
use super::future::{FutureCore, hidden_future, new_future};
use super::items;
use super::job::{Call, Job};
use super::results::Results;
use super::worker::Worker;
use crate::held::Held;
use crate::hot;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi::PyObject;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::sync::{Arc, OnceLock};

/// The native half of `plait.ThreadPoolExecutor`.
#[pyclass(frozen, subclass, module = "plait.concurrent.futures")]
#[derive(Debug, Default)]
pub struct PoolCore {
    crew: OnceLock<Arc<Crew>>,
}

impl Drop for PoolCore {
    fn drop(&mut self) {
        if let Some(crew) = self.crew.get() {
            crew.close(Gate::Shutdown).notify();
        }
    }
}

impl PoolCore {
    fn crew(&self) -> PyResult<&Arc<Crew>> {
        self.crew
            .get()
            .ok_or_else(|| PyRuntimeError::new_err("ThreadPoolExecutor.__init__() was not called"))
    }
}

/// What is left to do after a submission that was not plain.
#[cold]
fn settle(py: Python<'_>, slf: &Bound<'_, PyAny>, crew: &Crew, mut end: Submit) -> PyResult<()> {
    loop {
        end = match end {
            Submit::Queued(next) => {
                next.notify();
                return Ok(());
            }
            Submit::Grow(number) => {
                let started = slf.call_method1(intern!(py, "_add_worker"), (number,));
                crew.grown(started.is_ok());
                return started.map(drop);
            }
            Submit::Refused(_, gate) => {
                let why = match gate {
                    Gate::Broken => "broken",
                    Gate::Exit => "exit",
                    Gate::Shutdown | Gate::Open => "shutdown",
                };
                face::get(py, intern!(py, "_refuse"))?.call1((slf, why))?;
                return Err(PyRuntimeError::new_err("cannot schedule new futures"));
            }
            Submit::Forked(job, parents) => {
                for job in parents {
                    let (future, _call) = job.split();
                    // SAFETY: a job's future is a FutureCore, and `future` holds it.
                    let core: &FutureCore = unsafe { hot::this(future.as_ptr()) };
                    FutureCore::cancel(&future.bind(py), core)?;
                }
                slf.call_method0(intern!(py, "_forget_workers"))?;
                crew.submit(job)
            }
        };
    }
}

/// Submits a call; its future, from `make`, owned by the caller, or null with the error set.
///
/// # Safety
/// As [`Call::new`]; `slf` is the pool, `make` is [`new_future`] or [`hidden_future`].
#[inline]
unsafe fn submit_call(
    slf: *mut PyObject,
    crew: &Crew,
    make: unsafe fn(u32) -> *mut PyObject,
    callable: *mut PyObject,
    args: *const *mut PyObject,
    positional: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the caller's promise.
    unsafe {
        let future = make(crew.roster.id);
        if future.is_null() {
            return future;
        }
        let job = Job::new(Held::new(future), Call::new(callable, args, positional, names));
        match crew.submit(job) {
            Submit::Queued(next) => {
                next.notify();
                future
            }
            end => hot::slow(|py| {
                let slf = Bound::from_borrowed_ptr(py, slf);
                let future = Bound::from_owned_ptr(py, future);
                if let Err(error) = settle(py, &slf, crew, end) {
                    // Nobody gets this future: whoever finds the job passes it by.
                    if let Ok(core) = future.cast::<FutureCore>() {
                        FutureCore::cancel(&future, core.get())?;
                    }
                    return Err(error);
                }
                Ok(future.into_ptr())
            }),
        }
    }
}

unsafe extern "C" fn submit(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a PoolCore, attached.
    unsafe {
        let pool: &PoolCore = hot::this(slf);
        if count >= 1
            && let Some(crew) = pool.crew.get()
        {
            return submit_call(
                slf,
                crew,
                new_future,
                *args,
                args.add(1),
                count.unsigned_abs() - 1,
                names,
            );
        }
        hot::slow(|_| {
            pool.crew()?;
            Err(PyTypeError::new_err(
                "ThreadPoolExecutor.submit() missing 1 required positional argument: 'fn'",
            ))
        })
    }
}

#[pymethods]
impl PoolCore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyAny>>) -> Self {
        Self::default()
    }

    /// Begins, with `most` workers at most.
    #[pyo3(signature = (most, leaves_at_exit=true))]
    fn _open(slf: &Bound<'_, Self>, most: usize, leaves_at_exit: bool) -> PyResult<Worker> {
        if face::future_class().is_null() {
            return Err(PyRuntimeError::new_err(
                "plait.concurrent.futures has not been imported",
            ));
        }
        // Its references are not counted lazily: a pool that is dropped ends its workers then, not at the next
        // collection.
        let crew = slf.get().crew.get_or_init(|| Crew::new(most, leaves_at_exit));
        Ok(Worker {
            crew: Arc::clone(crew),
        })
    }

    /// The number of a worker to be started ahead of any call, or None if all are there.
    fn _reserve(&self) -> PyResult<Option<usize>> {
        Ok(self.crew()?.reserve())
    }

    /// Whether a thread is being started just now.
    fn _is_growing(&self) -> PyResult<bool> {
        Ok(self.crew()?.is_growing())
    }

    /// Takes no more calls. With `cancel`, those in the queue are cancelled.
    fn _close(&self, py: Python<'_>, cancel: bool) -> PyResult<()> {
        let crew = self.crew()?;
        crew.close(Gate::Shutdown).notify();
        if cancel {
            for job in crew.drain() {
                let (future, _call) = job.split();
                // SAFETY: a job's future is a FutureCore, and `future` holds it.
                let core: &FutureCore = unsafe { hot::this(future.as_ptr()) };
                let future = future.bind(py);
                if FutureCore::cancel(&future, core)? {
                    // So that wait() and as_completed() hear of it too.
                    FutureCore::start(&future, core)?;
                }
            }
        }
        Ok(())
    }

    /// Submits `function` for each item, and returns the results in order.
    fn _map(
        slf: &Bound<'_, Self>,
        function: &Bound<'_, PyAny>,
        iterables: &Bound<'_, PyTuple>,
        timeout: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Results> {
        let crew = slf.get().crew()?;
        items::each(iterables, timeout.as_ref(), |args| {
            // SAFETY: the arguments are alive meanwhile; attached.
            unsafe {
                submit_call(
                    slf.as_ptr(),
                    crew,
                    hidden_future,
                    function.as_ptr(),
                    args.as_ptr(),
                    args.len(),
                    std::ptr::null_mut(),
                )
            }
        })
    }

    /// Why it takes no more calls: "" while it does, or "shutdown", "exit", "broken".
    fn _gate(&self) -> PyResult<&'static str> {
        Ok(match self.crew()?.gate() {
            Gate::Open => "",
            Gate::Shutdown => "shutdown",
            Gate::Exit => "exit",
            Gate::Broken => "broken",
        })
    }

    /// How many calls are queued, and how many workers idle.
    fn _load(&self) -> PyResult<(usize, usize)> {
        let crew = self.crew()?;
        Ok((crew.queued(), crew.idle()))
    }
}

/// Closes all pools, at the interpreter's exit.
#[pyfunction]
pub fn _close_all_pools() {
    super::crew::exit_all();
}

/// Puts the raw methods over the class.
///
/// # Errors
/// As [`hot::install`].
pub fn init(py: Python<'_>) -> PyResult<()> {
    hot::install(
        &py.get_type::<PoolCore>(),
        vec![hot::fast(
            c"submit",
            c"submit($self, fn, /, *args, **kwargs)\n--\n\nHas `fn(*args, **kwargs)` called by a worker thread; returns its Future.\nRaises RuntimeError after shutdown(), BrokenThreadPool if an initializer failed.",
            submit,
        )],
    )
}
