//! `ProcessPoolCore`: submit and map, over a [`Driver`]; and [`Crew`], what is left of a pool when nobody has the executor.
//!
//! Arguments, contexts and waiting at exit are the Python side's: `plait.concurrent.futures.ProcessPoolExecutor` and
//! `plait.multiprocessing.Pool`.

pub mod crew;
pub mod encode;
pub mod map;

use super::driver::{Callee, Driver, Entry, Gate, Refusal, Settings, deliveries};
use super::protocol::form;
use super::start::Starter;
use crate::futures::face;
use crate::futures::future::{FutureCore, future_of};
use crate::futures::results::Results;
use crate::held::Held;
use crate::hot;
use crew::Crew;
use encode::Encoded;
use plait_pool::Call;
use pyo3::exceptions::{PyMemoryError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::ffi::PyObject;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};
use std::sync::{Arc, OnceLock};

/// After an exception has been raised in a call that is late or unwanted, so many seconds until its worker is killed.
const GRACE: f64 = 1.0;
/// So many workers in a row may end before any of them was ready.
const STILLBORN: u32 = 3;
/// Longer times are as good as for ever, in seconds.
const LONGEST: f64 = 1e9;

/// The native half of `plait.ProcessPoolExecutor`.
#[pyclass(frozen, subclass, module = "plait.concurrent.futures")]
#[derive(Debug, Default)]
pub struct ProcessPoolCore {
    driver: OnceLock<Arc<Driver>>,
    promise: OnceLock<Call>,
}

impl Drop for ProcessPoolCore {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.get() {
            // SAFETY: an object is dropped by a thread that is attached.
            driver.close(unsafe { Python::assume_attached() }, false, Gate::Shutdown);
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "in range by the clamp"
)]
fn nanos(seconds: f64) -> u64 {
    (seconds.clamp(0.0, LONGEST) * 1e9) as u64
}

impl ProcessPoolCore {
    fn driver(&self) -> PyResult<&Arc<Driver>> {
        self.driver
            .get()
            .ok_or_else(|| PyRuntimeError::new_err("ProcessPoolExecutor.__init__() was not called"))
    }

    /// What is promised for a call that says nothing else.
    fn promise(&self) -> Call {
        self.promise.get().copied().unwrap_or_default()
    }
}

/// Submits a call; its future, owned by the caller, or null with the error set.
///
/// # Safety
/// The arguments are those of a vectorcall; attached; `slf` is the pool.
#[inline]
#[expect(clippy::too_many_arguments, reason = "those of a vectorcall, and whose it is")]
pub unsafe fn submit_call(
    slf: *mut PyObject,
    driver: &Arc<Driver>,
    hidden: bool,
    call: Call,
    callable: *mut PyObject,
    args: *const *mut PyObject,
    positional: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the caller's promise.
    unsafe {
        let py = Python::assume_attached();
        if driver.is_foreign() {
            return hot::slow(|_| Err(foreign()));
        }
        let future = future_of(driver, hidden);
        if future.is_null() {
            return future;
        }
        let core: &FutureCore = hot::this(future);
        let held = Held::new(future);
        let mut held = held;
        let simple = encode::simple(py, args, positional, names);
        let mut body = None;
        if let Some(simple) = simple {
            let entry = Entry {
                callee: Callee::Object(callable),
                form: form::SIMPLE,
                body: simple,
                offer: None,
                call,
            };
            match driver.submit(py, entry, held, core) {
                Ok(()) => return future,
                Err((Refusal::Unknown(again), back)) => (body, held) = (Some(again), back),
                Err((Refusal::Gate(gate), back)) => {
                    drop(back);
                    drop(Held::from_owned(future));
                    return hot::slow(|py| refuse(py, slf, gate));
                }
            }
        }
        match encode::call(py, driver, callable, body, args, positional, names) {
            Ok(Encoded {
                function,
                form,
                body,
                offer,
            }) => {
                let entry = Entry {
                    callee: Callee::Number(function),
                    form,
                    body,
                    offer,
                    call,
                };
                match driver.submit(py, entry, held, core) {
                    Ok(()) => future,
                    Err((refusal, held)) => {
                        drop(held);
                        drop(Held::from_owned(future));
                        let gate = match refusal {
                            Refusal::Gate(gate) => gate,
                            Refusal::Unknown(_) => Gate::Broken,
                        };
                        hot::slow(|py| refuse(py, slf, gate))
                    }
                }
            }
            Err(error) => hot::slow(|py| {
                let gate = driver.inside.lock().gate;
                let future = Bound::from_owned_ptr(py, future);
                drop(held);
                if gate != Gate::Open {
                    return refuse(py, slf, gate);
                }
                driver.start_for_unsent(py);
                deliveries::finish_unsent(&future, core, error)?;
                Ok(future.into_ptr())
            }),
        }
    }
}

fn foreign() -> PyErr {
    PyRuntimeError::new_err(
        "this pool of processes belongs to the process that this one was forked from: make another",
    )
}

#[cold]
fn refuse(py: Python<'_>, slf: *mut PyObject, gate: Gate) -> PyResult<*mut PyObject> {
    // SAFETY: the pool is alive: its method runs.
    let slf = unsafe { Bound::from_borrowed_ptr(py, slf) };
    face::get(py, intern!(py, "_refuse"))?.call1((slf, gate.name()))?;
    Err(PyRuntimeError::new_err("cannot schedule new futures"))
}

unsafe extern "C" fn submit(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a ProcessPoolCore, attached.
    unsafe {
        let pool: &ProcessPoolCore = hot::this(slf);
        if count >= 1
            && let Some(driver) = pool.driver.get()
        {
            return submit_call(
                slf,
                driver,
                false,
                pool.promise(),
                *args,
                args.add(1),
                count.unsigned_abs() - 1,
                names,
            );
        }
        hot::slow(|_| {
            pool.driver()?;
            Err(PyTypeError::new_err(
                "ProcessPoolExecutor.submit() missing 1 required positional argument: 'fn'",
            ))
        })
    }
}

#[pymethods]
impl ProcessPoolCore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyAny>>) -> Self {
        Self::default()
    }

    /// Begins: `workers` at most, made by `starter`, each greeted with `hello`. Times in seconds, memory in bytes.
    #[pyo3(signature = (workers, starter, hello, *, tasks_per_worker=None, retries=0, timeout=None, grace=GRACE, memory_limit=None, max_deaths=None, eager=false, copy=false))]
    #[expect(clippy::too_many_arguments, reason = "keywords")]
    fn _open(
        &self,
        workers: usize,
        starter: Bound<'_, PyAny>,
        hello: Vec<u8>,
        tasks_per_worker: Option<u32>,
        retries: u32,
        timeout: Option<f64>,
        grace: f64,
        memory_limit: Option<u64>,
        max_deaths: Option<u32>,
        eager: bool,
        copy: bool,
    ) -> PyResult<Crew> {
        if face::future_class().is_null() {
            return Err(PyRuntimeError::new_err(
                "plait.concurrent.futures has not been imported",
            ));
        }
        let settings = Settings {
            policy: plait_pool::Settings {
                workers: workers.max(1),
                tasks_per_worker,
                grace: nanos(grace),
                stillborn: STILLBORN,
                deaths: max_deaths,
            },
            retries,
            memory_limit,
            eager,
            copy,
        };
        let driver = Driver::new(settings, Starter::of(&starter), hello)?;
        let promise = Call {
            priority: 0,
            retries,
            timeout: timeout.map(nanos),
        };
        let crew = Crew {
            driver: Arc::clone(&driver),
        };
        if self.driver.set(driver).is_err() || self.promise.set(promise).is_err() {
            return Err(PyRuntimeError::new_err("the pool has been opened before"));
        }
        Ok(crew)
    }

    /// As submit(), with promises of this call's own: `timeout` in seconds, `retries`, `priority` (higher goes first).
    #[pyo3(signature = (r#fn, args=None, kwargs=None, *, timeout=None, retries=None, priority=0))]
    fn _submit(
        slf: &Bound<'_, Self>,
        r#fn: &Bound<'_, PyAny>,
        args: Option<&Bound<'_, PyTuple>>,
        kwargs: Option<&Bound<'_, PyDict>>,
        timeout: Option<f64>,
        retries: Option<u32>,
        priority: i32,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let this = slf.get();
        let driver = this.driver()?;
        if timeout.is_some_and(|seconds| seconds.is_nan() || seconds <= 0.0) {
            return Err(PyValueError::new_err("timeout must be greater than 0"));
        }
        let promise = this.promise();
        let call = Call {
            priority,
            retries: retries.unwrap_or(promise.retries),
            timeout: timeout.map(nanos).or(promise.timeout),
        };
        let mut flat: Vec<*mut PyObject> = Vec::new();
        for arg in args.into_iter().flat_map(|args| args.iter_borrowed()) {
            flat.push(arg.as_ptr());
        }
        let positional = flat.len();
        let pairs: Vec<_> = kwargs.into_iter().flat_map(|kwargs| kwargs.iter()).collect();
        let names = PyTuple::new(py, pairs.iter().map(|(name, _)| name))?;
        flat.extend(pairs.iter().map(|(_, value)| value.as_ptr()));
        let names = if pairs.is_empty() {
            std::ptr::null_mut()
        } else {
            names.as_ptr()
        };
        // SAFETY: the arguments are held by `args` and `pairs`, and laid out as those of a vectorcall.
        unsafe {
            let future = submit_call(
                slf.as_ptr(),
                driver,
                false,
                call,
                r#fn.as_ptr(),
                flat.as_ptr(),
                positional,
                names,
            );
            Bound::from_owned_ptr_or_opt(py, future)
                .map(Bound::unbind)
                .ok_or_else(|| PyErr::take(py).unwrap_or_else(|| PyMemoryError::new_err(())))
        }
    }

    /// Submits `function` for each item of the iterables, as `map` does, and returns the results: in order, each within
    /// `timeout` seconds from now.
    #[pyo3(signature = (function, iterables, timeout=None))]
    fn _map(
        slf: &Bound<'_, Self>,
        function: &Bound<'_, PyAny>,
        iterables: &Bound<'_, PyTuple>,
        timeout: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Results> {
        map::map(slf, function, iterables, timeout.as_ref())
    }

    /// Takes no more calls. With `cancel`, those that have not begun are cancelled.
    fn _close(&self, py: Python<'_>, cancel: bool) -> PyResult<()> {
        self.driver()?.close(py, cancel, Gate::Shutdown);
        Ok(())
    }

    /// Sends every worker a signal; what is left of the calls fails.
    fn _kill_workers(&self, py: Python<'_>, signal: i32) -> PyResult<()> {
        self.driver()?.kill(py, signal);
        Ok(())
    }

    /// Waits until everything is settled and delivered and every worker gone. False if `timeout` seconds come first.
    #[pyo3(signature = (timeout=None))]
    fn _wait(&self, py: Python<'_>, timeout: Option<Bound<'_, PyAny>>) -> PyResult<bool> {
        crew::wait(py, self.driver()?, timeout.as_ref())
    }

    /// Sums over all calls so far, and the workers; times in seconds.
    fn _stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        crew::stats(py, self.driver()?)
    }

    /// The handles of the workers that are there.
    fn _workers<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        crew::workers(py, self.driver()?)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(driver) = self.driver.get()
            && let Some(inside) = driver.inside.try_lock()
        {
            inside.functions.traverse(&visit)?;
        }
        Ok(())
    }

    /// What is visited breaks its own cycles: a function lets go of its closure.
    #[expect(clippy::unused_self, reason = "the slot asks for it")]
    fn __clear__(&self) {}
}

/// Puts the raw methods over the class.
///
/// # Errors
/// As [`hot::install`].
pub fn init(py: Python<'_>) -> PyResult<()> {
    hot::install(
        &py.get_type::<ProcessPoolCore>(),
        vec![hot::fast(
            c"submit",
            c"submit($self, fn, /, *args, **kwargs)\n--\n\nHas `fn(*args, **kwargs)` called by a worker process; returns its Future.\nRaises RuntimeError after shutdown(), BrokenProcessPool if no worker can be had. What cannot be pickled is the future's exception.",
            submit,
        )],
    )
}
