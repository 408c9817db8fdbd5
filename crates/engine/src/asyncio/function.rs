//! Functions of Python's own kind, as far as `inspect` and `unittest.mock` look: with attributes, called without a detour.

use super::looping;
use crate::held::Held;
use crate::hot::Args;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi::{self, PyObject};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;

/// A native function that has attributes, as functions of Python's have: so `sleep` can say that its calls are coroutines.
#[pyclass(frozen, dict, weakref, module = "plait.asyncio", name = "function")]
#[derive(Debug)]
pub struct Function {
    call: ffi::vectorcallfunc,
    /// What it hands over to when it is called in an unusual way.
    pub original: Option<Held>,
}

#[pymethods]
impl Function {
    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let name = slf.getattr(intern!(slf.py(), "__qualname__"))?;
        Ok(format!("<function {name} at {:p}>", slf.as_ptr()))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.original
            .as_ref()
            .map_or(Ok(()), |original| original.traverse(&visit))
    }
}

impl Function {
    /// A function that does `call`.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn create(
        py: Python<'_>,
        call: ffi::vectorcallfunc,
        original: Option<Held>,
    ) -> PyResult<Bound<'_, Self>> {
        let function = Bound::new(py, Self { call, original })?;
        let at = std::ptr::from_ref(&function.get().call) as usize - function.as_ptr() as usize;
        let class = py.get_type::<Self>().as_type_ptr();
        // SAFETY: the type is ours, and none has been called before the first one was made; at that offset its instances have what
        // is to be called.
        unsafe {
            if (*class).tp_vectorcall_offset != 0 {
                return Ok(function);
            }
            (*class).tp_vectorcall_offset = at.cast_signed();
            (*class).tp_call = Some(ffi::PyVectorcall_Call);
            #[cfg(not(Py_GIL_DISABLED))]
            {
                (*class).tp_flags |= ffi::Py_TPFLAGS_HAVE_VECTORCALL;
            }
            #[cfg(Py_GIL_DISABLED)]
            (*class).tp_flags.fetch_or(
                ffi::Py_TPFLAGS_HAVE_VECTORCALL,
                std::sync::atomic::Ordering::Relaxed,
            );
        }
        Ok(function)
    }
}

unsafe extern "C" fn create_task(
    function: *mut PyObject,
    args: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Function, attached, with that many arguments.
    unsafe {
        let given = ffi::PyVectorcall_NARGS(count);
        looping::attached(|py| {
            if given == 1
                && names.is_null()
                && let Some(event_loop) = looping::running(py)
            {
                let args = [event_loop.as_ptr(), *args];
                let method = intern!(py, "create_task").as_ptr();
                return ffi::PyObject_VectorcallMethod(method, args.as_ptr(), 2, std::ptr::null_mut());
            }
            let function = Borrowed::from_ptr(py, function).cast_unchecked::<Function>();
            let made = match &function.get().original {
                Some(original) => Args::new(args, given, names).forward(&original.bind(py)),
                None => Err(PyTypeError::new_err("a function without its original")),
            };
            match made {
                Ok(made) => made.into_ptr(),
                Err(error) => {
                    error.restore(py);
                    std::ptr::null_mut()
                }
            }
        })
    }
}

/// `asyncio.create_task`: asks the running loop of ours itself; `original`, the running version's, where there is none, or keywords.
#[pyfunction]
pub fn _create_task_function<'py>(original: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Function>> {
    Function::create(original.py(), create_task, Some(original.clone().into()))
}
