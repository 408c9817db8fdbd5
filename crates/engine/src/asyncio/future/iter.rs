//! How a future is awaited: it is its own iterator for `await`; `iter()` gives one with `send`, `throw` and `close`.

use super::{Future, Phase};
use crate::asyncio::await_::stop;
use crate::held::Held;
use crate::hot;
use pyo3::exceptions::{PyDeprecationWarning, PyRuntimeError, PyStopIteration, PyTypeError};
use pyo3::ffi::{self, PyObject};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyTraceback, PyTuple};

/// What `iter(future)` gives.
#[pyclass(frozen, module = "plait.asyncio", name = "FutureIter")]
#[derive(Debug)]
pub(super) struct FutureIter {
    pub future: Py<Future>,
}

#[pymethods]
impl FutureIter {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        step(self.future.bind(py))
    }

    /// As of a generator.
    fn send(&self, py: Python<'_>, _value: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        match self.__next__(py)? {
            Some(object) => Ok(Some(object)),
            None => Err(PyStopIteration::new_err(())),
        }
    }

    /// As of a generator.
    #[pyo3(signature = (*args))]
    fn throw(&self, args: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        Err(thrown(args)?)
    }

    /// As of a generator.
    fn close(&self) {}

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.future)
    }
}

/// What `throw(*args)` of a generator raises.
fn thrown(args: &Bound<'_, PyTuple>) -> PyResult<PyErr> {
    let py = args.py();
    let count = args.len();
    if !(1..=3).contains(&count) {
        let text = format!("throw expected 1 to 3 arguments, got {count}");
        return Err(PyTypeError::new_err(text));
    }
    if count > 1 && cfg!(Py_3_12) {
        let text =
            c"the (type, exc, tb) signature of throw() is deprecated, use the single-arg signature instead.";
        PyErr::warn(py, &py.get_type::<PyDeprecationWarning>(), text, 1)?;
    }
    let kind = args.get_item(0)?;
    let given = |index: usize| -> PyResult<Option<Bound<'_, PyAny>>> {
        if index >= count {
            return Ok(None);
        }
        Ok(Some(args.get_item(index)?).filter(|value| !value.is_none()))
    };
    let (value, traceback) = (given(1)?, given(2)?);
    if let Some(traceback) = &traceback
        && !traceback.is_instance_of::<PyTraceback>()
    {
        return Err(PyTypeError::new_err("throw() third argument must be a traceback"));
    }
    // SAFETY: the object is alive.
    let (class, instance) = unsafe {
        (
            ffi::PyExceptionClass_Check(kind.as_ptr()) != 0,
            ffi::PyExceptionInstance_Check(kind.as_ptr()) != 0,
        )
    };
    let exception = if class {
        match value {
            None => kind.call0()?,
            Some(value) if value.is_instance(&kind)? => value,
            Some(value) => match value.cast::<PyTuple>() {
                Ok(args) => kind.call1(args)?,
                Err(_) => kind.call1((value,))?,
            },
        }
    } else if instance {
        if value.is_some() {
            return Err(PyTypeError::new_err(
                "instance exception may not have a separate value",
            ));
        }
        kind
    } else {
        return Err(PyTypeError::new_err(
            "exceptions must be classes deriving BaseException or instances of such a class",
        ));
    };
    if let Some(traceback) = traceback {
        exception.setattr(intern!(py, "__traceback__"), traceback)?;
    }
    Ok(PyErr::from_value(exception))
}

/// As [`next`], for callers in Python: they get to see a StopIteration of their own.
pub(super) fn step(future: &Bound<'_, Future>) -> PyResult<Option<Py<PyAny>>> {
    let py = future.py();
    if future.get().is_done() {
        let result = Future::result(future)?;
        if result.is_none(py) {
            return Ok(None);
        }
        let stop = py.get_type::<PyStopIteration>().call1((result,))?;
        return Err(PyErr::from_value(stop));
    }
    // SAFETY: the future is alive; the result is owned, or null with the error set.
    unsafe { Bound::from_owned_ptr_or_err(py, next(future.as_ptr())).map(|itself| Some(itself.unbind())) }
}

/// `tp_iternext` of a future: itself while it is pending, then its result as StopIteration.
pub(super) unsafe extern "C" fn next(slf: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Future, attached; no `Py<_>` is dropped here.
    unsafe {
        let mut state = hot::this::<Future>(slf).state.lock();
        match state.phase {
            Phase::Pending if !state.blocking => {
                state.blocking = true;
                drop(state);
                ffi::Py_INCREF(slf);
                return slf;
            }
            Phase::Finished if !state.failed => {
                let result = state.outcome.as_ref().map_or(ffi::Py_None(), Held::as_ptr);
                if result != ffi::Py_None() {
                    ffi::Py_INCREF(result);
                    drop(state);
                    stop::stop_with(result);
                }
                return std::ptr::null_mut();
            }
            _ => {}
        }
        drop(state);
        hot::slow(|py| {
            let future = Borrowed::from_ptr(py, slf).cast_unchecked::<Future>();
            if !future.get().is_done() {
                return Err(PyRuntimeError::new_err("await wasn't used with future"));
            }
            Future::result(&future).map(|_| std::ptr::null_mut())
        })
    }
}
