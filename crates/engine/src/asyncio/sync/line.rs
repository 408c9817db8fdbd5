//! Objects in order, with the face of a `collections.deque`: what `_waiters`, `_getters` and `_queue` are.
//!
//! The primitives reach into it without a call; tests and curious programs use it as they would use the standard library's.

use crate::guarded::Guarded;
use crate::held::{Held, HeldSlot};
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList};
use std::collections::VecDeque;

/// Objects in order, as `collections.deque`.
#[pyclass(frozen, module = "plait.asyncio", name = "Line")]
#[derive(Debug)]
pub struct Line(Guarded<VecDeque<Held>>);

impl Default for Line {
    fn default() -> Self {
        Self(Guarded::new(VecDeque::new()))
    }
}

impl Line {
    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Puts one at the end.
    #[inline]
    pub fn push(&self, object: Held) {
        self.0.lock().push_back(object);
    }

    /// Takes the first one out.
    #[inline]
    pub fn pop_front(&self) -> Option<Held> {
        self.0.lock().pop_front()
    }

    /// The one at `index`.
    #[inline]
    pub fn get<'py>(&self, py: Python<'py>, index: usize) -> Option<Bound<'py, PyAny>> {
        self.0.lock().get(index).map(|held| held.bind(py).to_owned())
    }

    /// Takes this very object out, if it is there.
    #[inline]
    pub fn take(&self, object: &Held) -> bool {
        let taken = {
            let mut line = self.0.lock();
            let at = line.iter().position(|held| held.as_ptr() == object.as_ptr());
            at.and_then(|at| line.remove(at))
        };
        taken.is_some()
    }

    /// Where an index of Python's points to.
    fn index(&self, index: isize) -> PyResult<usize> {
        let len = self.len();
        let at = if index < 0 {
            index + len.cast_signed()
        } else {
            index
        };
        usize::try_from(at)
            .ok()
            .filter(|at| *at < len)
            .ok_or_else(|| PyIndexError::new_err("deque index out of range"))
    }

    fn list<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        let mut index = 0;
        while let Some(object) = self.get(py, index) {
            list.append(object)?;
            index += 1;
        }
        Ok(list)
    }
}

#[pymethods]
impl Line {
    fn __len__(&self) -> usize {
        self.len()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, index: isize) -> PyResult<Bound<'py, PyAny>> {
        let index = self.index(index)?;
        self.get(py, index)
            .ok_or_else(|| PyIndexError::new_err("deque index out of range"))
    }

    fn __delitem__(&self, index: isize) -> PyResult<()> {
        let index = self.index(index)?;
        let old = self.0.lock().remove(index);
        drop(old);
        Ok(())
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.list(py)?.try_iter()
    }

    fn __contains__(&self, object: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.list(object.py())?.contains(object)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("deque({})", self.list(py)?.repr()?))
    }

    /// Put `object` at the end.
    fn append(&self, object: Bound<'_, PyAny>) {
        self.push(object.into());
    }

    /// Put `object` at the front.
    fn appendleft(&self, object: Bound<'_, PyAny>) {
        let object = object.into();
        self.0.lock().push_front(object);
    }

    /// Put each of `objects` at the end.
    fn extend(&self, objects: &Bound<'_, PyAny>) -> PyResult<()> {
        for object in objects.try_iter()? {
            self.push(object?.into());
        }
        Ok(())
    }

    /// Take the first one out.
    fn popleft<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let first = self.pop_front();
        first
            .map(|first| first.into_bound(py))
            .ok_or_else(|| PyIndexError::new_err("pop from an empty deque"))
    }

    /// Take the last one out.
    fn pop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let last = self.0.lock().pop_back();
        last.map(|last| last.into_bound(py))
            .ok_or_else(|| PyIndexError::new_err("pop from an empty deque"))
    }

    /// Take the first one out that equals `object`.
    fn remove(&self, object: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut index = 0;
        while let Some(other) = self.get(object.py(), index) {
            if other.is(object) || other.eq(object)? {
                let taken = self.0.lock().remove(index);
                drop(taken);
                return Ok(());
            }
            index += 1;
        }
        Err(PyValueError::new_err("deque.remove(x): x not in deque"))
    }

    /// Take all out.
    fn clear(&self) {
        let all = std::mem::take(&mut *self.0.lock());
        drop(all);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(line) = self.0.try_lock() else {
            return Ok(());
        };
        line.iter().try_for_each(|held| held.traverse(&visit))
    }

    fn __clear__(&self) {
        self.clear();
    }
}

/// A place for a line that is made when it is first needed.
#[derive(Debug, Default)]
pub struct Place(HeldSlot);

impl Place {
    /// The line, if there is one.
    #[inline]
    pub fn get<'a>(&'a self, py: Python<'_>) -> Option<&'a Line> {
        let line = self.0.get(py)?;
        // SAFETY: only lines are put here; the place keeps it alive as long as its owner lives (`HeldSlot::get`).
        unsafe {
            let line: *const Line = line.cast_unchecked::<Line>().get();
            Some(&*line)
        }
    }

    /// The line, made if there is none.
    ///
    /// # Errors
    /// `MemoryError`.
    #[inline]
    pub fn line<'a>(&'a self, py: Python<'_>) -> PyResult<&'a Line> {
        loop {
            if let Some(line) = self.get(py) {
                return Ok(line);
            }
            self.0.fill(Bound::new(py, Line::default())?.into_any().into());
        }
    }

    /// Whether nothing is in it.
    #[inline]
    pub fn is_empty(&self, py: Python<'_>) -> bool {
        self.get(py).is_none_or(Line::is_empty)
    }

    /// How many are in it.
    pub fn len(&self, py: Python<'_>) -> usize {
        self.get(py).map_or(0, Line::len)
    }

    /// The line as Python sees it; None if there is none yet.
    pub fn shown<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.0.get(py).map(|line| line.to_owned())
    }

    /// Puts what Python assigns here: None, or things in order.
    ///
    /// # Errors
    /// What iterating raises.
    pub fn set(&self, objects: &Bound<'_, PyAny>) -> PyResult<()> {
        if objects.is_none() {
            self.0.replace(None);
        } else if objects.is_exact_instance_of::<Line>() {
            self.0.replace(Some(objects.clone().into()));
        } else {
            let line = Bound::new(objects.py(), Line::default())?;
            line.get().extend(objects)?;
            self.0.replace(Some(line.into_any().into()));
        }
        Ok(())
    }

    /// For `__traverse__`.
    ///
    /// # Errors
    /// What the visitor returns.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.traverse(visit)
    }

    /// For `__clear__`.
    pub fn clear(&self) {
        self.0.replace(None);
    }
}
