//! A machine of any type in a place of fixed size: small ones lie in the object itself, so that an await allocates nothing
//! beside it.

use super::{Machine, Resume, Step};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use std::mem::{MaybeUninit, align_of, size_of};

/// Words that a machine may have to lie in the object. Larger ones are boxed.
const ROOM: usize = 6;

type Room = MaybeUninit<[usize; ROOM]>;

/// What can be done with a machine whose type is not known.
struct Table {
    step: unsafe fn(*mut Room, Python<'_>, Resume) -> PyResult<Step>,
    traverse: unsafe fn(*const Room, &PyVisit<'_>) -> Result<(), PyTraverseError>,
    drop: unsafe fn(*mut Room),
}

/// A machine.
pub struct Body {
    table: &'static Table,
    room: Room,
}

impl<M: Machine> Machine for Box<M> {
    const NAME: &'static str = M::NAME;

    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        (**self).step(py, resume)
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        (**self).traverse(visit)
    }
}

struct Of<M>(M);

impl<M: Machine + 'static> Of<M> {
    const FITS: bool = size_of::<M>() <= size_of::<Room>() && align_of::<M>() <= align_of::<usize>();

    const TABLE: &'static Table = &Table {
        // SAFETY: the table goes with a room that holds an `M` (`Body::put`).
        step: |room, py, resume| unsafe { (*room.cast::<M>()).step(py, resume) },
        // SAFETY: as above.
        traverse: |room, visit| unsafe { (*room.cast::<M>()).traverse(visit) },
        // SAFETY: as above; called once, by `Body::drop`.
        drop: |room| unsafe { room.cast::<M>().drop_in_place() },
    };
}

impl Body {
    /// Around `machine`.
    #[inline]
    pub fn new<M: Machine + 'static>(machine: M) -> Self {
        if const { Of::<M>::FITS } {
            Self::put(machine)
        } else {
            Self::put(Box::new(machine))
        }
    }

    #[inline]
    fn put<M: Machine + 'static>(machine: M) -> Self {
        let mut body = Self {
            table: Of::<M>::TABLE,
            room: MaybeUninit::uninit(),
        };
        assert!(const { Of::<M>::FITS }, "a machine that does not fit is boxed");
        // SAFETY: it fits, as has just been asserted.
        unsafe { (&raw mut body.room).cast::<M>().write(machine) };
        body
    }

    /// As [`Machine::step`].
    #[inline]
    pub fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        // SAFETY: the room holds what the table is for.
        unsafe { (self.table.step)(&raw mut self.room, py, resume) }
    }

    /// As [`Machine::traverse`].
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the room holds what the table is for.
        unsafe { (self.table.traverse)(&raw const self.room, visit) }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // SAFETY: the room holds what the table is for, and is not used any more.
        unsafe { (self.table.drop)(&raw mut self.room) }
    }
}
