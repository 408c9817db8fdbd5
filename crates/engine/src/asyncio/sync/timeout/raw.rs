//! What is called for each block, as raw C definitions; and the memory of timeouts, which waits for the next one.

use super::{Enter, State, Timeout, after};
use crate::asyncio::await_::Await;
use crate::asyncio::looping::memory::{self, Kept};
use crate::guarded::Guarded;
use crate::held::Held;
use crate::hot::{self, Args, raw};
use crate::task::ready;
use pyo3::exceptions::{PyAssertionError, PyTypeError};
use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;
use std::ffi::c_void;

static FREED: Guarded<Kept> = Guarded::new(Kept::new());

unsafe extern "C" fn alloc(class: *mut PyTypeObject, items: isize) -> *mut PyObject {
    // SAFETY: put into the type of this list only; what Python code derives has its own.
    unsafe { memory::alloc(&FREED, class, items) }
}

unsafe extern "C" fn free(memory: *mut c_void) {
    // SAFETY: as above.
    unsafe { memory::free(&FREED, memory) }
}

/// A timeout with `value` in it.
///
/// # Errors
/// `MemoryError`.
pub(super) fn make(py: Python<'_>, value: Timeout) -> PyResult<Bound<'_, Timeout>> {
    // SAFETY: that is the allocation of timeouts; their class is frozen.
    unsafe { memory::filled(py, alloc, value) }
}

unsafe extern "C" fn timeout(
    _module: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter, attached, with that many arguments.
    unsafe {
        raw(|py| {
            let args = Args::new(args, count, names);
            let delay = match args.only() {
                Some(delay) => delay,
                None if count > 1 => {
                    let text = format!("timeout() takes 1 positional argument but {count} were given");
                    return Err(PyTypeError::new_err(text));
                }
                None => args.bind(py, "timeout", ["delay"], 1)?[0],
            };
            Ok(after(py, Borrowed::from_ptr(py, delay).to_owned())?.into_ptr())
        })
    }
}

unsafe extern "C" fn aenter(slf: *mut PyObject, _none: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Timeout, attached.
    unsafe { raw(|py| Ok(Await::create(py, Enter(Held::new(slf)))?.into_ptr())) }
}

unsafe extern "C" fn aexit(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Timeout, attached, with that many arguments.
    unsafe {
        raw(|py| {
            let this: &Timeout = hot::this(slf);
            let [kind, error, _traceback] = if count == 3 && names.is_null() {
                [*args, *args.add(1), *args.add(2)]
            } else {
                Args::new(args, count, names).bind(
                    py,
                    "Timeout.__aexit__",
                    ["exc_type", "exc_val", "exc_tb"],
                    3,
                )?
            };
            match this.state() {
                State::Entered => {
                    this.stop(py)?;
                    this.set(State::Exited);
                }
                State::Expiring => {
                    this.leave(py, &Borrowed::from_ptr(py, kind), &Borrowed::from_ptr(py, error))?;
                }
                _ => return Err(PyAssertionError::new_err(())),
            }
            Ok(ready::ready())
        })
    }
}

/// Puts the raw methods over the class.
///
/// # Errors
/// As [`hot::install`].
pub fn init(py: Python<'_>) -> PyResult<()> {
    if cfg!(not(Py_GIL_DISABLED)) {
        let class = py.get_type::<Timeout>().as_type_ptr();
        // SAFETY: the type is ours and has no instances; the functions belong together.
        unsafe {
            (*class).tp_alloc = Some(alloc);
            (*class).tp_free = Some(free);
            (*class).tp_dealloc = Some(memory::dealloc::<Timeout>);
        }
    }
    hot::install(
        &py.get_type::<Timeout>(),
        vec![
            hot::no_args(
                c"__aenter__",
                c"__aenter__($self, /)\n--\n\nSet the timer.",
                aenter,
            ),
            hot::fast(
                c"__aexit__",
                c"__aexit__($self, exc_type, exc_val, exc_tb)\n--\n\nStop the timer.",
                aexit,
            ),
        ],
    )
}

/// Puts `timeout` into the module.
///
/// # Errors
/// `MemoryError`.
pub fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let definition = Box::leak(Box::new(hot::fast(
        c"timeout",
        c"timeout(delay)\n--\n\nCancels the block `async with timeout(delay):` after `delay` seconds, which then raises TimeoutError; never if None.",
        timeout,
    )));
    // SAFETY: the definition lives for ever; the result is owned, or null with the error set.
    let function = unsafe {
        let name = module.name()?;
        let function = ffi::PyCFunction_NewEx(definition, std::ptr::null_mut(), name.as_ptr());
        Bound::from_owned_ptr_or_err(module.py(), function)?
    };
    module.add("timeout", function)
}
