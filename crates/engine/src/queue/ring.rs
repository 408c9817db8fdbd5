//! The items in native storage. No method calls Python or drops an item.

use crate::held::Held;
use pyo3::PyResult;
use pyo3::exceptions::PyMemoryError;
use std::cell::UnsafeCell;
use std::collections::VecDeque;

/// A ring that is larger than this gives memory back when it runs empty.
const KEEP: usize = 1024;

/// Items in order, touched only by an attached thread in a section.
///
/// Every method is `unsafe` for that one reason. A section neither calls Python nor detaches, so there is no other
/// in between; and the collector walks through the items while every other thread stands outside of one.
#[derive(Debug)]
pub struct Ring(UnsafeCell<VecDeque<Held>>);

// SAFETY: used in a section only, which excludes all others (see the type's text).
unsafe impl Sync for Ring {}
// SAFETY: as above.
unsafe impl Send for Ring {}

impl Ring {
    /// No items.
    pub const fn new() -> Self {
        Self(UnsafeCell::new(VecDeque::new()))
    }

    /// # Safety
    /// In a section, and for no longer than one step of it.
    #[expect(clippy::mut_from_ref, reason = "the section is what makes it the only one")]
    #[inline]
    unsafe fn items(&self) -> &mut VecDeque<Held> {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.0.get() }
    }

    /// How many there are.
    ///
    /// # Safety
    /// In a section.
    #[inline]
    pub unsafe fn len(&self) -> usize {
        // SAFETY: the caller's promise.
        unsafe { self.items() }.len()
    }

    /// Whether the next push needs memory.
    ///
    /// # Safety
    /// In a section.
    #[inline]
    pub unsafe fn has_room(&self) -> bool {
        // SAFETY: the caller's promise.
        let items = unsafe { self.items() };
        items.len() < items.capacity()
    }

    /// Gets memory for one more.
    ///
    /// # Errors
    /// `MemoryError`.
    ///
    /// # Safety
    /// In a section.
    #[cold]
    pub unsafe fn grow(&self) -> PyResult<()> {
        // SAFETY: the caller's promise.
        unsafe { self.items() }
            .try_reserve(1)
            .map_err(|_| PyMemoryError::new_err(()))
    }

    /// Adds an item at the end. There has to be room.
    ///
    /// # Safety
    /// In a section.
    #[inline]
    pub unsafe fn push(&self, item: Held) {
        // SAFETY: the caller's promise.
        unsafe { self.items() }.push_back(item);
    }

    /// Takes the first item.
    ///
    /// # Safety
    /// In a section.
    #[inline]
    pub unsafe fn pop_first(&self) -> Option<Held> {
        // SAFETY: the caller's promise.
        let items = unsafe { self.items() };
        let item = items.pop_front();
        if items.is_empty() && items.capacity() > KEEP {
            Self::shrink(items);
        }
        item
    }

    /// Takes the last item.
    ///
    /// # Safety
    /// In a section.
    #[inline]
    pub unsafe fn pop_last(&self) -> Option<Held> {
        // SAFETY: the caller's promise.
        let items = unsafe { self.items() };
        let item = items.pop_back();
        if items.is_empty() && items.capacity() > KEEP {
            Self::shrink(items);
        }
        item
    }

    #[cold]
    fn shrink(items: &mut VecDeque<Held>) {
        *items = VecDeque::new();
    }

    /// The item at `index`, borrowed.
    ///
    /// # Safety
    /// In a section.
    pub unsafe fn get(&self, index: usize) -> Option<*mut pyo3::ffi::PyObject> {
        // SAFETY: the caller's promise.
        unsafe { self.items() }.get(index).map(Held::as_ptr)
    }

    /// Takes all. The caller drops them after the section.
    ///
    /// # Safety
    /// In a section.
    pub unsafe fn take(&self) -> VecDeque<Held> {
        // SAFETY: the caller's promise.
        std::mem::take(unsafe { self.items() })
    }
}
