//! Methods of hot types as raw C definitions: no trampoline, no attach counter, arguments as they come.
//!
//! PyO3 makes the types; [`install`] puts raw methods over them, where a measurement showed that it pays
//! (about 20 ns a call with arguments). A raw method runs a *fast path* that neither drops a `Py<_>` nor
//! calls into Python, and hands everything else to [`slow`], which enters PyO3 as usual.

use crate::asyncio::looping::attached;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi::{self, PyMethodDef, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyType;
use std::ffi::{CStr, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The arguments of a `METH_FASTCALL | METH_KEYWORDS` method.
#[derive(Clone, Copy, Debug)]
pub struct Args {
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
}

impl Args {
    /// As the interpreter passes them.
    #[inline]
    pub const fn new(args: *const *mut PyObject, count: isize, names: *mut PyObject) -> Self {
        Self { args, count, names }
    }

    /// Whether there are none at all.
    #[inline]
    pub fn none(&self) -> bool {
        self.count == 0 && self.names.is_null()
    }

    /// The only argument, if there is just one and it was given by position.
    #[inline]
    pub fn only(&self) -> Option<*mut PyObject> {
        // SAFETY: the interpreter passes `count` objects.
        (self.count == 1 && self.names.is_null()).then(|| unsafe { *self.args })
    }

    /// Binds the arguments to `names` as a Python function called `function` would; the first `required` have to
    /// be there. Missing ones are null; all are borrowed.
    ///
    /// # Errors
    /// `TypeError`, in the words of Python's own functions.
    pub fn bind<const N: usize>(
        &self,
        py: Python<'_>,
        function: &str,
        names: [&str; N],
        required: usize,
    ) -> PyResult<[*mut PyObject; N]> {
        let given = usize::try_from(self.count).unwrap_or(0);
        if given > N {
            let least = if required < N {
                format!("from {} to {}", required + 1, N + 1)
            } else {
                (N + 1).to_string()
            };
            return Err(PyTypeError::new_err(format!(
                "{function}() takes {least} positional argument{} but {} were given",
                if N == 0 && required == N { "" } else { "s" },
                given + 1
            )));
        }
        let mut bound = [std::ptr::null_mut(); N];
        for (i, slot) in bound.iter_mut().enumerate().take(given) {
            // SAFETY: the interpreter passes `count` objects.
            *slot = unsafe { *self.args.add(i) };
        }
        if !self.names.is_null() {
            // SAFETY: `names` is a tuple of str; the values follow the positional ones.
            let keywords = unsafe { Borrowed::from_ptr(py, self.names) };
            for (i, keyword) in keywords.try_iter()?.enumerate() {
                let keyword = keyword?;
                let keyword: std::borrow::Cow<'_, str> = keyword.extract()?;
                let Some(at) = names.iter().position(|name| *name == keyword) else {
                    return Err(PyTypeError::new_err(format!(
                        "{function}() got an unexpected keyword argument '{keyword}'"
                    )));
                };
                if !bound[at].is_null() {
                    return Err(PyTypeError::new_err(format!(
                        "{function}() got multiple values for argument '{keyword}'"
                    )));
                }
                // SAFETY: as above.
                bound[at] = unsafe { *self.args.add(given + i) };
            }
        }
        let missing: Vec<_> = names
            .iter()
            .zip(&bound)
            .take(required)
            .filter(|(_, value)| value.is_null())
            .map(|(name, _)| *name)
            .collect();
        if !missing.is_empty() {
            let quoted: Vec<_> = missing.iter().map(|name| format!("'{name}'")).collect();
            let list = match quoted.split_last() {
                Some((last, [])) => last.clone(),
                Some((last, [first])) => format!("{first} and {last}"),
                Some((last, rest)) => format!("{}, and {last}", rest.join(", ")),
                None => String::new(),
            };
            return Err(PyTypeError::new_err(format!(
                "{function}() missing {} required positional argument{}: {list}",
                missing.len(),
                if missing.len() == 1 { "" } else { "s" },
            )));
        }
        Ok(bound)
    }

    /// Calls `callable` with these same arguments.
    ///
    /// # Errors
    /// Whatever it raises.
    pub fn forward<'py>(&self, callable: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: the arguments are those of a vectorcall, without the offset flag.
        unsafe {
            let result = ffi::PyObject_Vectorcall(
                callable.as_ptr(),
                self.args,
                self.count.unsigned_abs(),
                self.names,
            );
            Bound::from_owned_ptr_or_err(callable.py(), result)
        }
    }
}

/// The Rust value of a raw method's `self`.
///
/// # Safety
/// `object` is an instance of `T`: the interpreter has checked that before it calls a method descriptor of `T`.
/// The thread is attached, and the result is not used longer than the caller's reference to `object`.
#[inline]
pub unsafe fn this<'a, T: pyo3::PyClass<Frozen = pyo3::pyclass::boolean_struct::True> + Sync>(
    object: *mut PyObject,
) -> &'a T {
    // SAFETY: the caller's promise.
    unsafe {
        let py = Python::assume_attached();
        let value: *const T = Borrowed::from_ptr(py, object).cast_unchecked::<T>().get();
        &*value
    }
}

/// Leaves the fast path: runs `f` inside PyO3, turns an error into the interpreter's, and a panic into an exception.
///
/// # Safety
/// The thread is attached.
#[cold]
#[inline(never)]
pub unsafe fn slow(f: impl FnOnce(Python<'_>) -> PyResult<*mut PyObject>) -> *mut PyObject {
    // SAFETY: the caller is attached, so attaching nests.
    unsafe {
        Python::attach_unchecked(|py| match catch_unwind(AssertUnwindSafe(|| f(py))) {
            Ok(Ok(object)) => object,
            Ok(Err(error)) => {
                error.restore(py);
                std::ptr::null_mut()
            }
            Err(panic) => {
                let text = panic
                    .downcast_ref::<&str>()
                    .map(|text| (*text).to_owned())
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_else(|| "panic in plait's engine".to_owned());
                pyo3::panic::PanicException::new_err(text).restore(py);
                std::ptr::null_mut()
            }
        })
    }
}

/// Runs a raw function that may do all that PyO3 does, without a call for what a thread that runs a loop has been asked before.
///
/// # Safety
/// The thread is attached.
#[inline]
pub unsafe fn raw(f: impl FnOnce(Python<'_>) -> PyResult<*mut PyObject>) -> *mut PyObject {
    // SAFETY: the caller's promise.
    unsafe {
        attached(|py| {
            match catch_unwind(AssertUnwindSafe(|| f(py))) {
                Ok(Ok(object)) => return object,
                Ok(Err(error)) => error.restore(py),
                Err(_) => PyRuntimeError::new_err("panic in plait's engine").restore(py),
            }
            std::ptr::null_mut()
        })
    }
}

/// A new reference to `True` or `False`.
#[inline]
pub fn truth(value: bool) -> *mut PyObject {
    // SAFETY: both live as long as the interpreter.
    unsafe {
        let object = if value { ffi::Py_True() } else { ffi::Py_False() };
        ffi::Py_INCREF(object);
        object
    }
}

/// A new reference to `None`.
#[inline]
pub fn none() -> *mut PyObject {
    // SAFETY: it lives as long as the interpreter.
    unsafe {
        let object = ffi::Py_None();
        ffi::Py_INCREF(object);
        object
    }
}

/// A method without arguments.
pub type NoArgs = unsafe extern "C" fn(*mut PyObject, *mut PyObject) -> *mut PyObject;
/// A method with arguments.
pub type FastKeywords =
    unsafe extern "C" fn(*mut PyObject, *const *mut PyObject, isize, *mut PyObject) -> *mut PyObject;

/// `METH_NOARGS`.
pub const fn no_args(name: &'static CStr, doc: &'static CStr, method: NoArgs) -> PyMethodDef {
    PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: method },
        ml_flags: ffi::METH_NOARGS,
        ml_doc: doc.as_ptr(),
    }
}

/// `METH_FASTCALL | METH_KEYWORDS`.
pub const fn fast(name: &'static CStr, doc: &'static CStr, method: FastKeywords) -> PyMethodDef {
    PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: method,
        },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: doc.as_ptr(),
    }
}

/// `METH_O`.
pub const fn one_arg(name: &'static CStr, doc: &'static CStr, method: NoArgs) -> PyMethodDef {
    PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: method },
        ml_flags: ffi::METH_O,
        ml_doc: doc.as_ptr(),
    }
}

/// Puts raw methods into a type that has not been used yet.
///
/// # Errors
/// What the interpreter raises when a type cannot be changed.
pub fn install(class: &Bound<'_, PyType>, methods: Vec<PyMethodDef>) -> PyResult<()> {
    for method in Box::leak(methods.into_boxed_slice()) {
        // SAFETY: the definition is leaked, so it outlives the type; its name is a C string literal.
        unsafe {
            let name = CStr::from_ptr(method.ml_name);
            let descriptor = ffi::PyDescr_NewMethod(class.as_ptr().cast(), method);
            let descriptor = Bound::from_owned_ptr_or_err(class.py(), descriptor)?;
            if ffi::PyObject_SetAttrString(class.as_ptr(), name.as_ptr(), descriptor.as_ptr()) != 0 {
                return Err(PyErr::fetch(class.py()));
            }
        }
    }
    Ok(())
}

/// On free-threaded builds: lets the threads that share `object` count its references lazily, which lets calls on it
/// scale. Nothing elsewhere.
#[inline]
pub fn defer_refcount(object: *mut PyObject) {
    #[cfg(Py_GIL_DISABLED)]
    {
        unsafe extern "C" {
            fn PyUnstable_Object_EnableDeferredRefcount(object: *mut PyObject) -> c_int;
        }
        // SAFETY: `object` is alive and new; the function is there from 3.14 on, as are the builds.
        let _done: c_int = unsafe { PyUnstable_Object_EnableDeferredRefcount(object) };
    }
    #[cfg(not(Py_GIL_DISABLED))]
    let _: (*mut PyObject, Option<c_int>) = (object, None);
}
