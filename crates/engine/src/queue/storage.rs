//! Where the items are: natively in a [`Ring`], or in the Python object that `queue.queue` shows.
//!
//! Items move over to Python once: when somebody looks at `queue.queue`, or from the start where a hook is
//! overridden or the order is that of a heap. Then every operation goes through that object, whatever it is.
//! All methods are called in a section, unless said otherwise.

use super::Kind;
use super::ring::Ring;
use crate::held::Held;
use plait_core::Latch;
use pyo3::exceptions::{PyAttributeError, PyIndexError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PyType};
use std::sync::atomic::{AtomicBool, Ordering};

/// The items of one queue.
#[derive(Debug)]
pub struct Storage {
    kind: Kind,
    native: AtomicBool,
    /// Empty unless native.
    ring: Ring,
    /// None while native, or where an overridden `_init` has not set it.
    object: Latch<Option<Held>>,
}

/// What has been replaced: to be dropped after the section.
#[derive(Debug)]
#[must_use = "drop it after the section"]
pub struct Replaced(#[expect(dead_code, reason = "held to be dropped")] (Vec<Held>, Option<Held>));

fn heap<'py>(
    py: Python<'py>,
    cell: &'static PyOnceLock<Py<PyAny>>,
    name: &str,
) -> PyResult<&'py Bound<'py, PyAny>> {
    cell.import(py, "heapq", name)
}

impl Storage {
    /// No items, natively.
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            native: AtomicBool::new(true),
            ring: Ring::new(),
            object: Latch::new(None),
        }
    }

    /// In which order the items come.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the items are in the ring.
    #[inline]
    pub fn is_native(&self) -> bool {
        self.native.load(Ordering::Relaxed)
    }

    /// The ring: empty unless native.
    #[inline]
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Takes the next item out of the ring.
    ///
    /// # Safety
    /// In a section.
    #[inline]
    pub unsafe fn pop_native(&self) -> Option<Held> {
        // SAFETY: the caller's promise.
        unsafe {
            if self.kind == Kind::Lifo {
                self.ring.pop_last()
            } else {
                self.ring.pop_first()
            }
        }
    }

    /// The Python object that holds the items. Not only in a section.
    ///
    /// # Errors
    /// `AttributeError` where there is none.
    pub fn object<'py>(&self, owner: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = owner.py();
        let object = self.object.lock().as_ref().map(|object| object.clone_ref(py));
        match object {
            Some(object) => Ok(object.into_bound(py)),
            None => Err(PyAttributeError::new_err(format!(
                "'{}' object has no attribute 'queue'",
                owner.get_type().name()?
            ))),
        }
    }

    /// How many items there are.
    ///
    /// # Errors
    /// What `len()` of the Python object raises.
    pub fn len(&self, owner: &Bound<'_, PyAny>) -> PyResult<usize> {
        if self.is_native() {
            // SAFETY: in a section.
            Ok(unsafe { self.ring.len() })
        } else {
            self.object(owner)?.len()
        }
    }

    /// Adds an item; as `kind` does, where they are in a Python object.
    ///
    /// # Errors
    /// `MemoryError`, or what the Python object raises.
    pub fn push(&self, owner: &Bound<'_, PyAny>, kind: Kind, item: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.is_native() {
            // SAFETY: in a section; `item` is alive and we are attached.
            unsafe {
                if !self.ring.has_room() {
                    self.ring.grow()?;
                }
                self.ring.push(Held::new(item.as_ptr()));
            }
            return Ok(());
        }
        let py = owner.py();
        let object = self.object(owner)?;
        if kind == Kind::Priority {
            static PUSH: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
            heap(py, &PUSH, "heappush")?.call1((object, item))?;
        } else {
            object.call_method1(intern!(py, "append"), (item,))?;
        }
        Ok(())
    }

    /// Takes the next item; in the order of `kind`, where they are in a Python object.
    ///
    /// # Errors
    /// `IndexError` where there is none, or what the Python object raises.
    pub fn pop<'py>(&self, owner: &Bound<'py, PyAny>, kind: Kind) -> PyResult<Bound<'py, PyAny>> {
        let py = owner.py();
        if self.is_native() {
            // SAFETY: in a section.
            let item = unsafe { self.pop_native() };
            return item
                .map(|item| item.into_bound(py))
                .ok_or_else(|| match self.kind {
                    Kind::Fifo => PyIndexError::new_err("pop from an empty deque"),
                    Kind::Lifo | Kind::Priority => PyIndexError::new_err("pop from empty list"),
                });
        }
        let object = self.object(owner)?;
        match kind {
            Kind::Fifo => object.call_method0(intern!(py, "popleft")),
            Kind::Lifo => object.call_method0(intern!(py, "pop")),
            Kind::Priority => {
                static POP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
                heap(py, &POP, "heappop")?.call1((object,))
            }
        }
    }

    /// Takes all native items.
    pub fn drain_native(&self) -> Vec<Held> {
        // SAFETY: in a section.
        unsafe { self.ring.take() }.into()
    }

    /// An empty object as the standard library's `_init` makes it. Not only in a section: it may run Python.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn fresh(py: Python<'_>, kind: Kind) -> PyResult<Bound<'_, PyAny>> {
        if kind == Kind::Fifo {
            static DEQUE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
            DEQUE.import(py, "collections", "deque")?.call0()
        } else {
            Ok(PyList::empty(py).into_any())
        }
    }

    /// Moves the native items into `target`, an object just made by [`fresh`](Self::fresh), which is shown from now on.
    ///
    /// # Errors
    /// `MemoryError`: then nothing has changed.
    pub fn move_into(&self, target: &Bound<'_, PyAny>) -> PyResult<Replaced> {
        let append = intern!(target.py(), "append");
        let mut index = 0;
        // Appending to a deque or a list of our own runs no Python and gives nothing up: it is one step.
        // SAFETY: in a section; the ring owns the item.
        while let Some(item) = unsafe { self.ring.get(index) } {
            // SAFETY: as above.
            target.call_method1(append, (unsafe { Borrowed::from_ptr(target.py(), item) },))?;
            index += 1;
        }
        Ok(self.set(Some(target.clone())))
    }

    /// Shows `object` from now on; none, if `_init` has yet to say which.
    pub fn set(&self, object: Option<Bound<'_, PyAny>>) -> Replaced {
        self.native.store(false, Ordering::Relaxed);
        Replaced((self.drain_native(), self.exchange(object.map(Held::from))))
    }

    /// Empty and native.
    pub fn reset(&self) -> Replaced {
        let replaced = Replaced((self.drain_native(), self.exchange(None)));
        self.native.store(true, Ordering::Relaxed);
        replaced
    }

    fn exchange(&self, object: Option<Held>) -> Option<Held> {
        std::mem::replace(&mut *self.object.lock(), object)
    }

    /// Visits the items, for the collector. The world stands still, outside of every native section.
    ///
    /// # Errors
    /// As the visitor.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let mut index = 0;
        // SAFETY: no other thread is in a native section, and none can enter one.
        while let Some(item) = unsafe { self.ring.get(index) } {
            // SAFETY: the ring owns the item.
            unsafe { crate::held::visit_raw(item, visit)? };
            index += 1;
        }
        match self.object.try_lock() {
            Some(object) => object.as_ref().map_or(Ok(()), |object| object.traverse(visit)),
            None => Ok(()),
        }
    }
}
