//! How a future is awaited: it is its own iterator for `await`; `iter()` gives one with `send`, `throw` and `close`.

use super::{Future, Phase};
use crate::asyncio::task::Task;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi::{self, PyObject};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

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
    #[pyo3(signature = (kind, value=None, _traceback=None))]
    fn throw(
        &self,
        kind: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        _traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        Err(crate::task::thrown(kind, value)?)
    }

    /// As of a generator.
    fn close(&self) {}

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.future)
    }
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

/// Puts the raw slot into the types.
pub(super) fn init(py: Python<'_>) {
    // SAFETY: the types are ours, and have not been used yet; the slot does what PyO3's does.
    unsafe {
        (*py.get_type::<Future>().as_type_ptr()).tp_iternext = Some(next);
        (*py.get_type::<Task>().as_type_ptr()).tp_iternext = Some(next);
    }
}
