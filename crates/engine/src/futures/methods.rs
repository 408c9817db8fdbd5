//! The methods and attributes of `FutureCore`, as Python sees them.

use super::face;
use super::future::{FutureCore, name};
use super::observer::{self, Ear};
use super::outcome::{Outcome, give};
use super::private::put;
use crate::held::Held;
use crate::hot::{self, Args};
use crate::limit::Limit;
use crate::process::outcome::Opened;
use plait_core::cell::{Few, Observe, State};
use pyo3::exceptions::PyValueError;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

unsafe extern "C" fn result(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a FutureCore, attached.
    unsafe {
        let core: &FutureCore = hot::this(slf);
        let args = Args::new(args, count, names);
        if args.none()
            && let Some(outcome) = core.cell.value()
            && core.has_heard()
        {
            return give(outcome);
        }
        hot::slow(|py| {
            let [timeout] = args.bind(py, "Future.result", ["timeout"], 0)?;
            let timeout = Bound::from_borrowed_ptr_or_opt(py, timeout);
            FutureCore::result(&Bound::from_borrowed_ptr(py, slf), core, timeout.as_ref())
        })
    }
}

unsafe extern "C" fn exception(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a FutureCore, attached.
    unsafe {
        let core: &FutureCore = hot::this(slf);
        let args = Args::new(args, count, names);
        hot::slow(|py| {
            let [timeout] = args.bind(py, "Future.exception", ["timeout"], 0)?;
            let timeout = Bound::from_borrowed_ptr_or_opt(py, timeout);
            match core.outcome(py, slf, || Limit::from_timeout(timeout.as_ref()))? {
                Some(outcome) => Ok(match outcome.open(py) {
                    Opened::Value(_) => hot::none(),
                    Opened::Error(error) => Held::new(error).into_ptr(),
                }),
                None => {
                    let slf = Bound::from_borrowed_ptr(py, slf);
                    face::call_stdlib(&slf, "exception", timeout.as_ref()).map(Bound::into_ptr)
                }
            }
        })
    }
}

unsafe extern "C" fn done(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a FutureCore, attached.
    hot::truth(unsafe { hot::this::<FutureCore>(slf) }.cell.state().is_done())
}

unsafe extern "C" fn set_result(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a FutureCore, attached.
    unsafe {
        let core: &FutureCore = hot::this(slf);
        let args = Args::new(args, count, names);
        hot::slow(|py| {
            let [value] = args.bind(py, "Future.set_result", ["result"], 1)?;
            let slf = Bound::from_borrowed_ptr(py, slf);
            FutureCore::finish(&slf, core, Outcome::Value(Held::new(value)))?;
            Ok(hot::none())
        })
    }
}

impl FutureCore {
    /// Visits all that it holds, for the collector.
    ///
    /// # Errors
    /// What the visitor returns.
    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(outcome) = self.cell.value_before() {
            outcome.traverse(visit)?;
        }
        let mut end = Ok(());
        self.cell.try_each(|ear| {
            if end.is_ok() {
                end = ear.object().traverse(visit);
            }
        });
        end?;
        self.private
            .get()
            .map_or(Ok(()), |private| private.traverse(visit))
    }
}

#[pymethods]
impl FutureCore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyAny>>) -> Self {
        Self::default()
    }

    /// Cancels the call if it has not begun: True if it is cancelled, False if it runs or has finished.
    #[pyo3(name = "cancel")]
    fn py_cancel(slf: &Bound<'_, Self>) -> PyResult<bool> {
        Self::cancel(slf.as_any(), slf.get())
    }

    /// Whether it has been cancelled.
    fn cancelled(&self) -> bool {
        self.is_cancelled()
    }

    /// Whether a worker runs it now.
    fn running(&self) -> bool {
        self.state() == State::Running
    }

    /// What is known of a call that a process has made, as a dict (times in seconds, memory in bytes): `queued`,
    /// `submitted`, `started`, `ended` (of `time.monotonic()`), `ran`, `cpu`, `peak`, `worker` (its pid), `attempts`. None
    /// while it is not done, and for the futures of other pools.
    #[getter]
    fn telemetry<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        match self.cell.value_before() {
            Some(Outcome::Packed(packed)) => packed.telemetry.to_dict(py).map(Some),
            _ => Ok(None),
        }
    }

    /// Has `fn` called with this future when it is done: at once if it is. What it raises is logged.
    #[pyo3(signature = (r#fn))]
    fn add_done_callback(slf: &Bound<'_, Self>, r#fn: Bound<'_, PyAny>) -> PyResult<()> {
        match slf.get().cell.observe(Ear::Callback(r#fn.into())) {
            Observe::Added => Ok(()),
            Observe::Done(ear) => {
                slf.get().hear(slf.py());
                observer::call_back(slf.as_any(), Few::from_buf([ear]))
            }
            Observe::Manual(ear) => {
                let callback = ear.object().bind(slf.py()).to_owned();
                face::call_stdlib(slf.as_any(), "add_done_callback", Some(&callback)).map(drop)
            }
        }
    }

    /// For executors: marks it as running; False if it has been cancelled, and then it is not to be run.
    fn set_running_or_notify_cancel(slf: &Bound<'_, Self>) -> PyResult<bool> {
        Self::start(slf.as_any(), slf.get())
    }

    /// For executors: the call has raised `exception`. InvalidStateError if the future is done.
    fn set_exception(slf: &Bound<'_, Self>, exception: Bound<'_, PyAny>) -> PyResult<()> {
        // SAFETY: the object is alive.
        let outcome = if unsafe { ffi::PyExceptionInstance_Check(exception.as_ptr()) } != 0 {
            Outcome::Error(exception.into())
        } else if exception.is_none() {
            Outcome::Value(exception.into())
        } else {
            slf.get().take_over(slf.as_any())?;
            return face::call_stdlib(slf.as_any(), "set_exception", Some(&exception)).map(drop);
        };
        Self::finish(slf.as_any(), slf.get(), outcome)
    }

    #[getter]
    fn _state(&self) -> &'static str {
        name(self.state())
    }

    #[setter(_state)]
    fn write_state(slf: &Bound<'_, Self>, value: &str) -> PyResult<()> {
        let state = [
            State::Pending,
            State::Running,
            State::Cancelled,
            State::Notified,
            State::Finished,
        ]
        .into_iter()
        .find(|state| name(*state) == value)
        .ok_or_else(|| PyValueError::new_err(format!("no state of a future: {value:?}")))?;
        slf.get().take_over(slf.as_any())?;
        slf.get().cell.put_state(state);
        Ok(())
    }

    #[getter]
    fn _result(&self, py: Python<'_>) -> Py<PyAny> {
        self.stored(py, false)
    }

    #[setter(_result)]
    fn write_result(slf: &Bound<'_, Self>, value: Bound<'_, PyAny>) -> PyResult<()> {
        put(&slf.get().take_over(slf.as_any())?.result, Some(value.into()));
        Ok(())
    }

    #[getter]
    fn _exception(&self, py: Python<'_>) -> Py<PyAny> {
        self.stored(py, true)
    }

    #[setter(_exception)]
    fn write_exception(slf: &Bound<'_, Self>, value: Bound<'_, PyAny>) -> PyResult<()> {
        put(&slf.get().take_over(slf.as_any())?.exception, Some(value.into()));
        Ok(())
    }

    #[getter]
    fn _condition(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        slf.get()
            .read(slf.as_any(), |private| &private.condition, "_condition")
    }

    #[setter(_condition)]
    fn write_condition(slf: &Bound<'_, Self>, value: Bound<'_, PyAny>) -> PyResult<()> {
        put(&slf.get().take_over(slf.as_any())?.condition, Some(value.into()));
        Ok(())
    }

    #[getter]
    fn _waiters(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        slf.get()
            .read(slf.as_any(), |private| &private.waiters, "_waiters")
    }

    #[setter(_waiters)]
    fn write_waiters(slf: &Bound<'_, Self>, value: Bound<'_, PyAny>) -> PyResult<()> {
        put(&slf.get().take_over(slf.as_any())?.waiters, Some(value.into()));
        Ok(())
    }

    #[getter]
    fn _done_callbacks(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        slf.get()
            .read(slf.as_any(), |private| &private.callbacks, "_done_callbacks")
    }

    #[setter(_done_callbacks)]
    fn write_done_callbacks(slf: &Bound<'_, Self>, value: Bound<'_, PyAny>) -> PyResult<()> {
        put(&slf.get().take_over(slf.as_any())?.callbacks, Some(value.into()));
        Ok(())
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (py, core) = (slf.py(), slf.get());
        let state = core.state();
        let text = match state {
            State::Pending => "pending",
            State::Running => "running",
            State::Cancelled | State::Notified => "cancelled",
            State::Finished => "finished",
        };
        let end = if state == State::Finished {
            let error = core.stored(py, true);
            if error.is_none(py) {
                format!(" returned {}", core.stored(py, false).bind(py).get_type().name()?)
            } else {
                format!(" raised {}", error.bind(py).get_type().name()?)
            }
        } else {
            String::new()
        };
        Ok(format!(
            "<{} at {:#x} state={text}{end}>",
            slf.get_type().name()?,
            slf.as_ptr() as usize
        ))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.visit(&visit)
    }

    fn __clear__(&self) {
        // SAFETY: the collector clears what nobody can reach any more.
        drop(unsafe { self.cell.clear() });
        if let Some(private) = self.private.get() {
            private.clear();
        }
    }
}

/// Puts the raw methods over the class.
///
/// # Errors
/// As [`hot::install`].
pub fn init(py: Python<'_>) -> PyResult<()> {
    hot::install(
        &py.get_type::<FutureCore>(),
        vec![
            hot::fast(
                c"result",
                c"result($self, /, timeout=None)\n--\n\nThe result, or the exception raised; waits for it `timeout` seconds at most (None: as long as it takes).\nRaises CancelledError if it was cancelled, TimeoutError if the time is over.",
                result,
            ),
            hot::fast(
                c"exception",
                c"exception($self, /, timeout=None)\n--\n\nThe exception that the call raised, or None; waits and raises as `result`.",
                exception,
            ),
            hot::no_args(c"done", c"done($self, /)\n--\n\nWhether it has finished or was cancelled.", done),
            hot::fast(
                c"set_result",
                c"set_result($self, /, result)\n--\n\nFor executors: the call has returned `result`. InvalidStateError if the future is done.",
                set_result,
            ),
        ],
    )
}
