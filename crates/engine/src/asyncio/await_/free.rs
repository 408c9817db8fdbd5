//! Where the memory of awaits waits for the next one. Objects from here are not tracked by the collector until they are parked.

use super::Await;
use crate::asyncio::looping;
use crate::guarded::Guarded;
use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;
use std::ffi::c_void;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

/// How many are kept: more than the tasks of a usual batch. Of a large one the memory would be handed back to the system page by
/// page, to be asked for again at once, and the collector would walk over it as new.
const MOST: usize = 1 << 16;
/// How many are kept when a loop has been closed.
const FEW: usize = 4096;

struct Free(Vec<*mut PyObject>);

// SAFETY: memory that nobody uses, whose pointers are all that is touched here.
unsafe impl Send for Free {}

static FREE: Guarded<Free> = Guarded::new(Free(Vec::new()));

/// The class, once `init` has run.
static CLASS: AtomicPtr<PyTypeObject> = AtomicPtr::new(std::ptr::null_mut());

/// As [`offset`].
static OFFSET: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn alloc(class: *mut PyTypeObject, items: isize) -> *mut PyObject {
    let kept = FREE.lock().0.pop();
    // SAFETY: called by the interpreter for this type, which has no subclasses; what is kept has its size.
    unsafe {
        if let Some(object) = kept {
            return ffi::PyObject_Init(object, class);
        }
        let object = ffi::PyType_GenericAlloc(class, items);
        if !object.is_null() {
            ffi::PyObject_GC_UnTrack(object.cast());
        }
        object
    }
}

/// Gives back what only a large batch needs. The thread is attached.
pub fn trim() {
    let mut list = FREE.lock();
    let kept = list.0.len().min(FEW);
    let surplus = list.0.split_off(kept);
    list.0.shrink_to_fit();
    drop(list);
    for memory in surplus {
        // SAFETY: dead and untracked, as it was put in.
        unsafe { ffi::PyObject_GC_Del(memory.cast()) };
    }
}

unsafe extern "C" fn free(memory: *mut c_void) {
    let mut list = FREE.lock();
    if list.0.len() < MOST {
        list.0.push(memory.cast());
        return;
    }
    drop(list);
    // SAFETY: called by the interpreter with an object that is dead and untracked.
    unsafe { ffi::PyObject_GC_Del(memory) };
}

/// `tp_dealloc`. One that is over holds nothing, and so needs no attaching of PyO3's.
unsafe extern "C" fn dealloc(object: *mut PyObject) {
    // SAFETY: called by the interpreter, attached, when the last reference has gone; the class has no subclasses.
    unsafe {
        let class = ffi::Py_TYPE(object);
        ffi::PyObject_GC_UnTrack(object.cast());
        let value = object.byte_add(offset()).cast::<Await>();
        if (*value).is_empty() {
            value.drop_in_place();
        } else {
            looping::attached(|_py| value.drop_in_place());
        }
        free(object.cast());
        ffi::Py_DECREF(class.cast());
    }
}

/// The class.
#[inline]
pub fn class() -> *mut PyTypeObject {
    CLASS.load(Relaxed)
}

/// Where in an object its Rust value is.
pub fn offset() -> usize {
    OFFSET.load(Relaxed)
}

/// Puts the slots into the type.
///
/// # Errors
/// `MemoryError`.
pub fn init(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<Await>().as_type_ptr();
    let first = Bound::new(py, Await::over())?;
    OFFSET.store(
        std::ptr::from_ref(first.get()) as usize - first.as_ptr() as usize,
        Relaxed,
    );
    drop(first);
    CLASS.store(class, Relaxed);
    // SAFETY: the type is ours, has no instances and no subclasses; both functions belong together.
    unsafe {
        (*class).tp_alloc = Some(alloc);
        (*class).tp_free = Some(free);
        (*class).tp_dealloc = Some(dealloc);
    }
    Ok(())
}

/// An object around `value`, without the way through `tp_new`.
///
/// # Errors
/// `MemoryError`.
#[inline]
pub fn make(py: Python<'_>, value: Await) -> PyResult<Bound<'_, Await>> {
    // SAFETY: attached; the type is initialised with the module. Of its layout (a frozen class without dict and weak
    // references) only the value has to be filled in, at the place where it was found in the first one.
    unsafe {
        let object = alloc(CLASS.load(Relaxed), 0);
        if object.is_null() {
            return Err(PyErr::fetch(py));
        }
        object.byte_add(offset()).cast::<Await>().write(value);
        Ok(Bound::from_owned_ptr(py, object).cast_into_unchecked())
    }
}
