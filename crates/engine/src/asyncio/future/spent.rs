//! A future that was waited for and that nobody else has is used once more: to make one and to let go of it costs more than to wait.
//!
//! Nobody can tell: there is one reference to it, no attribute, no weak reference, no callback, and it has neither failed nor been cancelled.

use super::object::FUTURE;
use super::{Future, Phase};
use crate::asyncio::looping;
use crate::held::Held;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

/// Whether `object` is of the exact type Future, and nobody has given it attributes or weak references.
#[inline]
fn is_plain(object: *mut PyObject) -> bool {
    // SAFETY: a live object has a type; those of this type have both pointers where it says.
    unsafe {
        let class = FUTURE.get();
        ffi::Py_TYPE(object) == class
            && (*object
                .byte_offset((*class).tp_weaklistoffset)
                .cast::<*mut PyObject>())
            .is_null()
            && (*object.byte_offset((*class).tp_dictoffset).cast::<*mut PyObject>()).is_null()
    }
}

impl Future {
    /// Whether the holder is the only one who has this native future, and it has ended without an error: it may be used
    /// [once more](Self::again). Nobody can tell on a build without a GIL.
    #[inline]
    pub(crate) fn is_spent(py: Python<'_>, future: &Held) -> bool {
        // SAFETY: attached; a held object is alive.
        let alone = cfg!(not(Py_GIL_DISABLED)) && unsafe { ffi::Py_REFCNT(future.as_ptr()) } == 1;
        if !alone || !is_plain(future.as_ptr()) {
            return false;
        }
        // SAFETY: so it is a Future.
        let future = unsafe { future.bind(py).cast_unchecked::<Self>() };
        let state = future.get().state.lock();
        state.phase == Phase::Finished && !state.failed && state.message.is_none() && state.rare.is_none()
    }

    /// A future that [is spent](Self::is_spent), pending again; None in another loop, or one in debug mode.
    #[inline]
    pub(crate) fn again<'py>(future: Held, event_loop: &Bound<'py, PyAny>) -> Option<Bound<'py, Self>> {
        // SAFETY: the caller's promise.
        let future = unsafe { future.into_bound(event_loop.py()).cast_into_unchecked::<Self>() };
        let mut state = future.get().state.lock();
        let same = state.event_loop.as_ref().map(Held::as_ptr) == Some(event_loop.as_ptr());
        if !same || looping::of(event_loop).is_none_or(|core| core.get().is_debug()) {
            drop(state);
            return None;
        }
        state.phase = Phase::Pending;
        state.blocking = false;
        let outcome = state.outcome.take();
        drop(state);
        drop(outcome);
        Some(future)
    }
}
