//! What Python sees of an await, and its raw slots.

use super::{Await, Outcome, Phase, free, stop};
use crate::asyncio::looping;
use crate::hot;
use crate::task::thrown;
use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning, PyStopIteration, PyTypeError};
use pyo3::ffi::{self, PyObject, PySendResult};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

impl Outcome {
    /// As the methods of a coroutine have it.
    fn into_result(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self {
            Self::Yield(future) => Ok(future.into_bound(py).unbind()),
            Self::YieldNone => Ok(py.None()),
            Self::Return(value) => Err(PyStopIteration::new_err((value,))),
            Self::ReturnNone => Err(PyStopIteration::new_err(())),
        }
    }
}

impl Await {
    /// Says that it was never awaited.
    #[cold]
    pub(super) fn warn(&self, py: Python<'_>) {
        let text = CString::new(format!("coroutine '{}' was never awaited", self.name)).unwrap_or_default();
        if let Err(error) = PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &text, 1) {
            error.write_unraisable(py, None);
        }
    }
}

#[pymethods]
impl Await {
    #[expect(clippy::self_named_constructors, reason = "Python's name; it makes nothing")]
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.resume(py)?.into_result(py)
    }

    /// One step: goes on until the next suspension.
    fn send(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        if self.phase() == Phase::New && !value.is_none() {
            return Err(PyTypeError::new_err(
                "can't send non-None value to a just-started coroutine",
            ));
        }
        self.resume(py)?.into_result(py)
    }

    /// Throws an exception in.
    #[pyo3(signature = (kind, value=None, _traceback=None, /))]
    fn throw(
        &self,
        py: Python<'_>,
        kind: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        _traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let error = thrown(kind, value)?;
        self.throw_in(py, error)?.into_result(py)
    }

    /// Throws GeneratorExit in, if it is suspended.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.end(py)
    }

    /// Whether a step is running.
    #[getter]
    fn cr_running(&self) -> bool {
        self.phase() == Phase::Running
    }

    /// Whether it has been started and waits for something.
    #[getter]
    fn cr_suspended(&self) -> bool {
        self.phase() == Phase::Suspended
    }

    /// None: it has no frame.
    #[getter]
    fn cr_frame(&self) -> Option<Py<PyAny>> {
        None
    }

    /// None: it has no code.
    #[getter]
    fn cr_code(&self) -> Option<Py<PyAny>> {
        None
    }

    /// None: where it was made is not kept.
    #[getter]
    fn cr_origin(&self) -> Option<Py<PyAny>> {
        None
    }

    #[getter]
    fn __name__(&self) -> &'static str {
        let name = self.name;
        name.rsplit('.').next().unwrap_or(name)
    }

    #[getter]
    fn __qualname__(&self) -> &'static str {
        self.name
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        format!("<coroutine object {} at {:p}>", slf.get().name, slf.as_ptr())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if self.phase() == Phase::Running {
            return Ok(());
        }
        // SAFETY: nobody steps it while the collector looks: the other threads are stopped, or wait for the GIL.
        let inside = unsafe { &*self.inside.get() };
        if let Some(waiting) = &inside.waiting {
            waiting.traverse(&visit)?;
        }
        inside.body.as_ref().map_or(Ok(()), |body| body.traverse(&visit))
    }

    fn __clear__(&self) {
        // SAFETY: the collector clears attached.
        let py = unsafe { Python::assume_attached() };
        if let Err(error) = self.end(py) {
            error.write_unraisable(py, None);
        }
    }
}

/// One step for a raw slot. None: an exception is set.
///
/// # Safety
/// `slf` is an await, and the thread is attached.
#[inline]
unsafe fn step(slf: *mut PyObject) -> Option<Outcome> {
    // SAFETY: the caller's promise; attaching nests.
    unsafe {
        looping::attached(|py| {
            let this: &Await = hot::this(slf);
            match catch_unwind(AssertUnwindSafe(|| this.resume(py))) {
                Ok(Ok(outcome)) => Some(outcome),
                Ok(Err(error)) => {
                    error.restore(py);
                    None
                }
                Err(_) => {
                    PyRuntimeError::new_err("panic in a native coroutine").restore(py);
                    None
                }
            }
        })
    }
}

/// `tp_iternext`: what `await` calls.
unsafe extern "C" fn next(slf: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on an await, attached, with no exception set.
    unsafe {
        match step(slf) {
            Some(Outcome::Yield(future)) => return future.into_ptr(),
            Some(Outcome::YieldNone) => return hot::none(),
            Some(Outcome::Return(value)) => stop::stop_with(value.into_ptr()),
            Some(Outcome::ReturnNone) | None => {}
        }
        ptr::null_mut()
    }
}

/// `am_send`: what a task calls.
unsafe extern "C" fn send(
    slf: *mut PyObject,
    value: *mut PyObject,
    result: *mut *mut PyObject,
) -> PySendResult {
    // SAFETY: called by the interpreter on an await, attached, with no exception set.
    unsafe {
        let this: &Await = hot::this(slf);
        if value != ffi::Py_None() && this.phase() == Phase::New {
            ffi::PyErr_SetString(
                ffi::PyExc_TypeError,
                c"can't send non-None value to a just-started coroutine".as_ptr(),
            );
            *result = ptr::null_mut();
            return PySendResult::PYGEN_ERROR;
        }
        let (object, sent) = match step(slf) {
            Some(Outcome::Yield(future)) => (future.into_ptr(), PySendResult::PYGEN_NEXT),
            Some(Outcome::YieldNone) => (hot::none(), PySendResult::PYGEN_NEXT),
            Some(Outcome::Return(value)) => (value.into_ptr(), PySendResult::PYGEN_RETURN),
            Some(Outcome::ReturnNone) => (hot::none(), PySendResult::PYGEN_RETURN),
            None => (ptr::null_mut(), PySendResult::PYGEN_ERROR),
        };
        *result = object;
        sent
    }
}

/// `am_await`: itself, unless somebody awaits it already.
unsafe extern "C" fn wait(slf: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on an await, attached.
    unsafe {
        let this: &Await = hot::this(slf);
        if this.phase() == Phase::Suspended {
            ffi::PyErr_SetString(
                ffi::PyExc_RuntimeError,
                c"coroutine is being awaited already".as_ptr(),
            );
            return ptr::null_mut();
        }
        ffi::Py_INCREF(slf);
        slf
    }
}

/// Puts the raw slots into the type.
///
/// # Errors
/// What the interpreter raises when a type cannot be changed.
pub fn init(py: Python<'_>) -> PyResult<()> {
    free::init(py)?;
    let class = py.get_type::<Await>().as_type_ptr();
    // SAFETY: the type is ours, and has not been used yet; heap types have these tables; the slots do what PyO3's do.
    unsafe {
        (*class).tp_iternext = Some(next);
        if let Some(methods) = (*class).tp_as_async.as_mut() {
            methods.am_send = Some(send);
            methods.am_await = Some(wait);
        }
    }
    Ok(())
}
