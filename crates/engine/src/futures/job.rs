//! A call that has been submitted: the callable, its arguments as a vectorcall takes them, and its future.
//!
//! Up to three arguments lie in the job itself. The slot before the first is free for the callee
//! (`PY_VECTORCALL_ARGUMENTS_OFFSET`), so that a bound method need not copy them.

use crate::held::Held;
use pyo3::ffi::{self, PyObject};

const FEW: usize = 4;

#[derive(Debug)]
enum Slots {
    Few([*mut PyObject; FEW]),
    Many(Box<[*mut PyObject]>),
}

/// A call and its future. Dropped attached, as [`Held`].
#[derive(Debug)]
pub struct Job {
    /// An instance of `FutureCore`.
    pub future: Held,
    call: Call,
}

/// The call alone.
#[derive(Debug)]
pub struct Call {
    callable: Held,
    names: Option<Held>,
    positional: usize,
    total: usize,
    slots: Slots,
}

// SAFETY: the pointers are owned references, as in `Held`.
unsafe impl Send for Call {}

impl Call {
    /// The call `callable(*args[:positional], **{names: args[positional:]})`.
    ///
    /// # Safety
    /// The arguments are those of a vectorcall; the thread is attached.
    #[inline]
    pub unsafe fn new(
        callable: *mut PyObject,
        args: *const *mut PyObject,
        positional: usize,
        names: *mut PyObject,
    ) -> Self {
        // SAFETY: the caller's promise: `names` is null or a tuple, and there is a value for each.
        unsafe {
            let (names, more) = if names.is_null() {
                (None, 0)
            } else {
                (
                    Some(Held::new(names)),
                    ffi::PyTuple_GET_SIZE(names).unsigned_abs(),
                )
            };
            let total = positional + more;
            let mut slots = if total < FEW {
                Slots::Few([std::ptr::null_mut(); FEW])
            } else {
                Slots::Many(vec![std::ptr::null_mut(); total + 1].into_boxed_slice())
            };
            let places = match &mut slots {
                Slots::Few(few) => &mut few[..],
                Slots::Many(many) => many,
            };
            for (i, place) in places.iter_mut().skip(1).take(total).enumerate() {
                let arg = *args.add(i);
                ffi::Py_INCREF(arg);
                *place = arg;
            }
            Self {
                callable: Held::new(callable),
                names,
                positional,
                total,
                slots,
            }
        }
    }

    /// Makes the call: its result, owned, or null with the error set.
    ///
    /// # Safety
    /// The thread is attached.
    #[inline]
    pub unsafe fn make(&mut self) -> *mut PyObject {
        let places = match &mut self.slots {
            Slots::Few(few) => &mut few[..],
            Slots::Many(many) => many,
        };
        // SAFETY: `total` references lie from the second place on, and the first may be written.
        unsafe {
            ffi::PyObject_Vectorcall(
                self.callable.as_ptr(),
                places.as_mut_ptr().add(1),
                self.positional | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
                self.names.as_ref().map_or(std::ptr::null_mut(), Held::as_ptr),
            )
        }
    }
}

impl Drop for Call {
    #[inline]
    fn drop(&mut self) {
        let places = match &self.slots {
            Slots::Few(few) => &few[..],
            Slots::Many(many) => many,
        };
        for &arg in places.iter().skip(1).take(self.total) {
            // SAFETY: the references are owned, and jobs are dropped attached.
            unsafe { ffi::Py_DECREF(arg) };
        }
    }
}

impl Job {
    /// A job.
    #[inline]
    pub fn new(future: Held, call: Call) -> Self {
        Self { future, call }
    }

    /// Its two parts.
    #[inline]
    pub fn split(self) -> (Held, Call) {
        (self.future, self.call)
    }
}
