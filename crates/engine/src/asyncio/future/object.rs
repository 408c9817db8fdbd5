//! How futures and tasks are made and end as Python objects: allocation, finalizer, deallocation.
//!
//! Objects of the exact types come from a free list on builds with a GIL: a batch of thousands is then made without the
//! allocator, and without the collector's counting them as new (which doubles what gather costs). What Python code derives
//! goes the ordinary way and ends in the same [`dealloc`]. A finalizer is run only for what would be reported.

use super::{Future, State, iter, raw};
use crate::asyncio::task::{self, Task};
use crate::hot;
use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTypeInfo, intern};
use std::cell::UnsafeCell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

/// How many objects of a type are kept: see `await_::free`.
const KEPT: usize = 1 << 16;
/// How many are kept when a loop has been closed.
const FEW: usize = 4096;

/// One of the two native types, and freed objects of exactly this type: allocated, untracked, with nothing in them.
pub(crate) struct Class {
    object: AtomicPtr<PyTypeObject>,
    freed: UnsafeCell<Vec<*mut PyObject>>,
    is_task: bool,
}

// SAFETY: the list is used only on builds with a GIL, by attached threads, and nothing called meanwhile lets another one in.
unsafe impl Sync for Class {}

pub(crate) static FUTURE: Class = Class::new(false);
pub(crate) static TASK: Class = Class::new(true);

impl Class {
    const fn new(is_task: bool) -> Self {
        Self {
            object: AtomicPtr::new(std::ptr::null_mut()),
            freed: UnsafeCell::new(Vec::new()),
            is_task,
        }
    }

    /// The type object.
    #[inline]
    pub(crate) fn get(&self) -> *mut PyTypeObject {
        self.object.load(Ordering::Relaxed)
    }

    #[inline]
    fn pop(&self) -> Option<*mut PyObject> {
        if cfg!(Py_GIL_DISABLED) {
            return None;
        }
        // SAFETY: as for Sync.
        unsafe { (*self.freed.get()).pop() }
    }

    /// Whether it keeps the object.
    #[inline]
    fn push(&self, object: *mut PyObject) -> bool {
        if cfg!(Py_GIL_DISABLED) {
            return false;
        }
        // SAFETY: as for Sync.
        let freed = unsafe { &mut *self.freed.get() };
        if freed.len() >= KEPT {
            return false;
        }
        freed.push(object);
        true
    }

    /// Gives back what only a large batch needs.
    fn trim(&self) {
        if cfg!(Py_GIL_DISABLED) {
            return;
        }
        // SAFETY: as for Sync.
        let freed = unsafe { &mut *self.freed.get() };
        let surplus = freed.split_off(freed.len().min(FEW));
        freed.shrink_to_fit();
        for object in surplus {
            // SAFETY: dead and untracked, as it was put in.
            unsafe { ffi::PyObject_GC_Del(object.cast()) };
        }
    }

    /// A new object of `class`, which is this one or derives from it; null, with the error set, without memory.
    #[inline]
    unsafe fn make(&self, class: *mut PyTypeObject, state: State) -> *mut PyObject {
        // SAFETY: the caller is attached; what the list has is memory of an object of this exact type. There is room
        // for the values where `this` finds them, and nothing has been there, so nothing is dropped.
        unsafe {
            let (object, tracked) = match self.pop() {
                Some(object) if class == self.get() => {
                    ffi::PyObject_Init(object, class);
                    (object, false)
                }
                other => {
                    if let Some(object) = other {
                        self.push(object);
                    }
                    let allocate = (*class).tp_alloc.unwrap_or(ffi::PyType_GenericAlloc);
                    (allocate(class, 0), true)
                }
            };
            if object.is_null() {
                return object;
            }
            let future: *const Future = hot::this::<Future>(object);
            future.cast_mut().write(Future::of(state));
            if self.is_task {
                let task: *const Task = hot::this::<Task>(object);
                task.cast_mut().write(Task::default());
            }
            if !tracked {
                ffi::PyObject_GC_Track(object.cast());
            }
            object
        }
    }
}

/// Gives back the memory that only a large batch needs. The thread is attached.
pub(crate) fn trim() {
    FUTURE.trim();
    TASK.trim();
}

/// Whether `object` is a future of ours whose methods are the native ones for sure.
#[inline]
pub(crate) fn is_exact(object: *mut PyObject) -> bool {
    // SAFETY: a live object has a type.
    let class = unsafe { ffi::Py_TYPE(object) };
    class == FUTURE.get() || class == TASK.get()
}

/// Types of the engine that extend Future: they override none of its methods.
static ADOPTED: [AtomicPtr<PyTypeObject>; 8] = [const { AtomicPtr::new(std::ptr::null_mut()) }; 8];

/// Whether `object` is a future of a native type, with nothing of Python's in its class.
#[inline]
pub(crate) fn is_native(object: &Bound<'_, PyAny>) -> bool {
    if is_exact(object.as_ptr()) {
        return true;
    }
    let class = object.get_type_ptr();
    ADOPTED
        .iter()
        .any(|adopted| adopted.load(Ordering::Relaxed) == class)
}

/// A future of the exact type.
#[inline]
pub(super) fn new_future(py: Python<'_>, state: State) -> PyResult<Bound<'_, Future>> {
    // SAFETY: attached; the result is owned, and a Future.
    unsafe {
        let object = FUTURE.make(FUTURE.get(), state);
        Ok(Bound::from_owned_ptr_or_err(py, object)?.cast_into_unchecked())
    }
}

/// A task without a coroutine, of the exact type.
#[inline]
pub(crate) fn new_task(py: Python<'_>) -> PyResult<Bound<'_, Task>> {
    // SAFETY: as in `new_future`.
    unsafe {
        let object = TASK.make(TASK.get(), State::default());
        Ok(Bound::from_owned_ptr_or_err(py, object)?.cast_into_unchecked())
    }
}

/// `tp_new`: takes whatever arguments there are, which are for `__init__`.
unsafe extern "C" fn new_object(
    class: *mut PyTypeObject,
    _args: *mut PyObject,
    _keywords: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter, attached, for a type that derives from Future.
    unsafe { FUTURE.make(class, State::default()) }
}

/// `tp_new` of a task.
unsafe extern "C" fn new_task_object(
    class: *mut PyTypeObject,
    _args: *mut PyObject,
    _keywords: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: as above, from Task.
    unsafe { TASK.make(class, State::default()) }
}

/// `tp_finalize`: reports what nobody has asked for.
unsafe extern "C" fn finalize(slf: *mut PyObject) {
    // SAFETY: called by the interpreter, attached, on an instance of Future.
    unsafe {
        Python::attach_unchecked(|py| {
            let object = Borrowed::from_ptr(py, slf);
            let future = object.cast_unchecked::<Future>();
            let is_task = ffi::PyObject_TypeCheck(slf, TASK.get()) != 0;
            let lost = is_task && task::is_lost(object.cast_unchecked::<Task>().get(), future.get());
            if !lost && !future.get().state.lock().log_traceback {
                return;
            }
            // Whatever is being raised is not ours.
            let raised = PyErr::take(py);
            if lost {
                // Who keeps it from the report on does not find it among the tasks any more.
                task::unlink(object.cast_unchecked::<Task>().get());
                report(&future, "Task was destroyed but it is pending!", None);
            }
            let mut state = future.get().state.lock();
            let unseen = std::mem::take(&mut state.log_traceback);
            let exception = state.outcome.as_ref().map(|held| held.share(py));
            drop(state);
            if unseen && let Some(exception) = exception {
                let name = future.get_type().name();
                let name = name.map_or_else(|_| "Future".to_owned(), |name| name.to_string());
                let text = format!("{name} exception was never retrieved");
                report(&future, &text, Some(exception));
            }
            if let Some(raised) = raised {
                raised.restore(py);
            }
        });
    }
}

/// `__del__`: what derived classes inherit.
unsafe extern "C" fn del(slf: *mut PyObject, _none: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on an instance of Future, attached.
    unsafe { finalize(slf) };
    hot::none()
}

/// Tells the loop's exception handler.
#[cold]
fn report(future: &Bound<'_, Future>, message: &str, exception: Option<Py<PyAny>>) {
    let py = future.py();
    let tell = || -> PyResult<()> {
        let context = PyDict::new(py);
        if let Some(exception) = exception {
            context.set_item(intern!(py, "message"), message)?;
            context.set_item(intern!(py, "exception"), exception)?;
            context.set_item(intern!(py, "future"), future)?;
        } else {
            context.set_item(intern!(py, "task"), future)?;
            context.set_item(intern!(py, "message"), message)?;
        }
        if let Some(traceback) = future.get().source_traceback(py) {
            context.set_item(intern!(py, "source_traceback"), traceback)?;
        }
        let event_loop = future.get().event_loop(py)?;
        event_loop.call_method1(intern!(py, "call_exception_handler"), (context,))?;
        Ok(())
    };
    if let Err(error) = tell() {
        error.write_unraisable(py, Some(future.as_any()));
    }
}

/// `tp_dealloc` of Future and Task, and the end of what derives from them in Python.
unsafe extern "C" fn dealloc(slf: *mut PyObject) {
    // SAFETY: called by the interpreter, attached, when the last reference has gone; an object that its finalizer
    // revives is left alone. The pointers to dict and weak references are at the offsets that the base type names.
    unsafe {
        let class = ffi::Py_TYPE(slf);
        let (is_future, is_task) = (class == FUTURE.get(), class == TASK.get());
        let future: *const Future = hot::this::<Future>(slf);
        let mut reports = (*future).state.lock().log_traceback;
        if is_task && !reports {
            reports = task::is_lost(hot::this::<Task>(slf), &*future);
        }
        // For derived types the interpreter has called the finalizer already.
        if reports && (is_future || is_task) && ffi::PyObject_CallFinalizerFromDealloc(slf) < 0 {
            return;
        }
        ffi::PyObject_GC_UnTrack(slf.cast());
        let base = FUTURE.get();
        let weak = slf.byte_offset((*base).tp_weaklistoffset).cast::<*mut PyObject>();
        if !(*weak).is_null() {
            ffi::PyObject_ClearWeakRefs(slf);
        }
        let dict = slf.byte_offset((*base).tp_dictoffset).cast::<*mut PyObject>();
        let attributes = std::mem::replace(&mut *dict, std::ptr::null_mut());
        if !attributes.is_null() {
            ffi::Py_DECREF(attributes);
        }
        if is_task || (!is_future && ffi::PyType_IsSubtype(class, TASK.get()) != 0) {
            let task: *const Task = hot::this::<Task>(slf);
            task::unlink(&*task);
            task.cast_mut().drop_in_place();
        }
        if (*future).state.lock().first.is_some() {
            // What an observer holds wants PyO3 to know that we are attached.
            Python::attach_unchecked(|_| future.cast_mut().drop_in_place());
        } else {
            future.cast_mut().drop_in_place();
        }
        let kept = match () {
            // The collector's mark of a finalized object would stay.
            () if ffi::PyObject_GC_IsFinalized(slf) != 0 => false,
            () if is_future => FUTURE.push(slf),
            () if is_task => TASK.push(slf),
            () => false,
        };
        if !kept && let Some(free) = (*class).tp_free {
            free(slf.cast());
        }
        ffi::Py_DECREF(class.cast());
    }
}

/// A type of the engine that extends Future.
pub trait Adopted: PyTypeInfo {
    /// A place for the type's own `tp_dealloc`.
    fn original() -> &'static OnceLock<ffi::destructor>;
}

/// For types of the engine that extend Future: an exception that nobody has asked for is reported when they end,
/// and `await` of one does not go through PyO3. Call it once, before the type is used.
pub fn adopt<T: Adopted>(py: Python<'_>) {
    unsafe extern "C" fn dealloc<T: Adopted>(slf: *mut PyObject) {
        // SAFETY: called by the interpreter, attached, on an instance of T, when the last reference has gone.
        unsafe {
            let reports = hot::this::<Future>(slf).state.lock().log_traceback;
            if reports && ffi::PyObject_CallFinalizerFromDealloc(slf) < 0 {
                return;
            }
            if let Some(original) = T::original().get() {
                original(slf);
            }
        }
    }

    let class = py.get_type::<T>().as_type_ptr();
    let free = ADOPTED
        .iter()
        .find(|adopted| adopted.load(Ordering::Relaxed).is_null());
    if let Some(free) = free {
        free.store(class, Ordering::Relaxed);
    }
    // SAFETY: the type is ours and has not been used yet.
    unsafe {
        if let Some(original) = (*class).tp_dealloc {
            T::original().get_or_init(|| original);
            (*class).tp_dealloc = Some(dealloc::<T>);
        }
        (*class).tp_finalize = Some(finalize);
        (*class).tp_iternext = Some(iter::next);
    }
}

/// Puts the raw slots into the types.
///
/// # Errors
/// What the interpreter raises when a type cannot be changed.
pub(super) fn init(py: Python<'_>) -> PyResult<()> {
    // A class that Python code derives takes its finalizer from `__del__` only.
    let mut methods = raw::methods();
    methods.push(hot::no_args(
        c"__del__",
        c"Reports what nobody has asked for.",
        del,
    ));
    hot::install(&py.get_type::<Future>(), methods)?;
    let (future, task) = (
        py.get_type::<Future>().as_type_ptr(),
        py.get_type::<Task>().as_type_ptr(),
    );
    FUTURE.object.store(future, Ordering::Relaxed);
    TASK.object.store(task, Ordering::Relaxed);
    // SAFETY: the types are ours, and have not been used yet; the slots do what PyO3's do.
    unsafe {
        (*future).tp_new = Some(new_object);
        (*task).tp_new = Some(new_task_object);
        for class in [future, task] {
            (*class).tp_iternext = Some(iter::next);
            (*class).tp_finalize = Some(finalize);
            (*class).tp_dealloc = Some(dealloc);
        }
    }
    Ok(())
}
