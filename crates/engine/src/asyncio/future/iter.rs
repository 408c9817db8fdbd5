//! How a future is awaited: it is its own iterator for `await`; `iter()` gives one with `send`, `throw` and `close`.

use super::{Future, Phase};
use pyo3::exceptions::{PyDeprecationWarning, PyRuntimeError, PyTypeError};
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
            None => Err(pyo3::exceptions::PyStopIteration::new_err(())),
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

/// [`next`], for PyO3.
pub(super) fn step(future: &Bound<'_, Future>) -> PyResult<Option<Py<PyAny>>> {
    // SAFETY: the future is alive; the result is owned, or null, perhaps with the error set.
    unsafe {
        let object = next(future.as_ptr());
        if object.is_null() {
            return PyErr::take(future.py()).map_or(Ok(None), Err);
        }
        Ok(Some(Bound::from_owned_ptr(future.py(), object).unbind()))
    }
}

/// `tp_iternext` of a future: itself while it is pending, then its result as StopIteration.
pub(super) unsafe extern "C" fn next(slf: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Future, attached.
    unsafe {
        Python::attach_unchecked(|py| {
            let future = Borrowed::from_ptr(py, slf).cast_unchecked::<Future>();
            let mut state = future.get().state.lock();
            if state.phase == Phase::Pending {
                if state.blocking {
                    drop(state);
                    PyRuntimeError::new_err("await wasn't used with future").restore(py);
                    return std::ptr::null_mut();
                }
                state.blocking = true;
                drop(state);
                ffi::Py_INCREF(slf);
                return slf;
            }
            drop(state);
            match Future::result(&future) {
                Ok(value) => stop(value.bind(py)),
                Err(error) => error.restore(py),
            }
            std::ptr::null_mut()
        })
    }
}

/// Raises `StopIteration(value)`; nothing for None.
fn stop(value: &Bound<'_, PyAny>) {
    if value.is_none() {
        return;
    }
    // SAFETY: attached; all objects are alive.
    unsafe {
        if ffi::PyTuple_Check(value.as_ptr()) == 0 && ffi::PyExceptionInstance_Check(value.as_ptr()) == 0 {
            ffi::PyErr_SetObject(ffi::PyExc_StopIteration, value.as_ptr());
        } else {
            let error = ffi::PyObject_CallOneArg(ffi::PyExc_StopIteration, value.as_ptr());
            if !error.is_null() {
                ffi::PyErr_SetObject(ffi::PyExc_StopIteration, error);
                ffi::Py_DECREF(error);
            }
        }
    }
}
