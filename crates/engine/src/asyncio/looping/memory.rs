//! Where the memory of handles waits for the next one: on builds with a GIL, for objects of exactly these types.
//!
//! Most handles live for a turn. From here they come without the allocator and without the collector's counting them as new; and
//! handles of `call_soon` come and go without PyO3's way through `tp_new` and its attaching, which is a fifth of their cost.

use super::handle::Handle;
use super::timer_handle::TimerHandle;
use crate::guarded::Guarded;
use crate::hot;
use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::{PyClass, PyClassInitializer};
use std::ffi::c_void;

/// How many of a type are kept.
const MOST: usize = 4096;

pub(in crate::asyncio) struct Kept(Vec<*mut PyObject>);

impl Kept {
    /// None.
    pub const fn new() -> Self {
        Self(Vec::new())
    }
}

// SAFETY: memory that nobody uses, whose pointers are all that is touched here.
unsafe impl Send for Kept {}

static HANDLES: Guarded<Kept> = Guarded::new(Kept::new());
static TIMERS: Guarded<Kept> = Guarded::new(Kept::new());

/// An object of `class`, zeroed or as its predecessor left it; tracked, so nothing may be allocated before it is filled in.
#[inline]
pub(in crate::asyncio) unsafe fn alloc(
    list: &Guarded<Kept>,
    class: *mut PyTypeObject,
    items: isize,
) -> *mut PyObject {
    let kept = list.lock().0.pop();
    // SAFETY: called by the interpreter for the type of the list, whose subclasses have an `alloc` of their own.
    unsafe {
        let Some(object) = kept else {
            return ffi::PyType_GenericAlloc(class, items);
        };
        let object = ffi::PyObject_Init(object, class);
        ffi::PyObject_GC_Track(object.cast());
        object
    }
}

/// Keeps the memory of an object of the list's type, or gives it back.
pub(in crate::asyncio) unsafe fn free(list: &Guarded<Kept>, memory: *mut c_void) {
    let mut list = list.lock();
    if list.0.len() < MOST {
        list.0.push(memory.cast());
        return;
    }
    drop(list);
    // SAFETY: called by the interpreter with an object that is dead and untracked.
    unsafe { ffi::PyObject_GC_Del(memory) };
}

unsafe extern "C" fn alloc_handle(class: *mut PyTypeObject, items: isize) -> *mut PyObject {
    // SAFETY: put into the type of this list only.
    unsafe { alloc(&HANDLES, class, items) }
}

unsafe extern "C" fn free_handle(memory: *mut c_void) {
    // SAFETY: as above.
    unsafe { free(&HANDLES, memory) }
}

unsafe extern "C" fn alloc_timer(class: *mut PyTypeObject, items: isize) -> *mut PyObject {
    // SAFETY: as above.
    unsafe { alloc(&TIMERS, class, items) }
}

unsafe extern "C" fn free_timer(memory: *mut c_void) {
    // SAFETY: as above.
    unsafe { free(&TIMERS, memory) }
}

/// A handle with `value` in it.
///
/// # Errors
/// `MemoryError`.
#[inline]
pub fn make(py: Python<'_>, value: Handle) -> PyResult<Bound<'_, Handle>> {
    // SAFETY: that is the allocation of handles; their class is frozen.
    unsafe { filled(py, alloc_handle, value) }
}

/// An object of exactly `T`, with `value` in it.
///
/// # Safety
/// `alloc` allocates for exactly `T`, a frozen class whose instances have a place for weak references.
///
/// # Errors
/// `MemoryError`.
#[inline]
pub(in crate::asyncio) unsafe fn filled<T: PyClass<BaseType = PyAny, Frozen = True> + Sync>(
    py: Python<'_>,
    alloc: ffi::allocfunc,
    value: T,
) -> PyResult<Bound<'_, T>>
where
    PyClassInitializer<T>: From<T>,
{
    if cfg!(Py_GIL_DISABLED) {
        return Bound::new(py, value);
    }
    // SAFETY: attached. Of the layout (a frozen class) the value has to be filled in; the place for weak references
    // is null in new memory, and was left null by the object before.
    unsafe {
        let object = alloc(py.get_type::<T>().as_type_ptr(), 0);
        if object.is_null() {
            return Err(PyErr::fetch(py));
        }
        let place: *const T = hot::this::<T>(object);
        place.cast_mut().write(value);
        Ok(Bound::from_owned_ptr(py, object).cast_into_unchecked())
    }
}

/// `tp_dealloc` of `T`, whose values hold nothing that needs attaching of PyO3's to be dropped (`Held` does not), and whose
/// instances have a place for weak references.
pub(in crate::asyncio) unsafe extern "C" fn dealloc<T: PyClass<Frozen = True> + Sync>(object: *mut PyObject) {
    // SAFETY: called by the interpreter, attached, when the last reference has gone.
    unsafe {
        let class = ffi::Py_TYPE(object);
        ffi::PyObject_GC_UnTrack(object.cast());
        let weak = object
            .byte_offset((*class).tp_weaklistoffset)
            .cast::<*mut PyObject>();
        if !(*weak).is_null() {
            ffi::PyObject_ClearWeakRefs(object);
        }
        let value: *const T = hot::this::<T>(object);
        value.cast_mut().drop_in_place();
        if let Some(free) = (*class).tp_free {
            free(object.cast());
        }
        ffi::Py_DECREF(class.cast());
    }
}

/// Puts the slots into the types, which have no instances yet.
pub fn init(py: Python<'_>) {
    if cfg!(Py_GIL_DISABLED) {
        // The collector of these builds walks over memory, not over a list of objects.
        return;
    }
    // Both exist before either is changed, since the one inherits from the other when it is made.
    let handle = py.get_type::<Handle>().as_type_ptr();
    let timer = py.get_type::<TimerHandle>().as_type_ptr();
    // SAFETY: the types are ours; each pair of functions belongs together. A class that Python code derives gets the
    // interpreter's own pair.
    unsafe {
        (*handle).tp_alloc = Some(alloc_handle);
        (*handle).tp_free = Some(free_handle);
        (*handle).tp_dealloc = Some(dealloc::<Handle>);
        (*timer).tp_alloc = Some(alloc_timer);
        (*timer).tp_free = Some(free_timer);
    }
}
