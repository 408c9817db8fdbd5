//! Which transport has which descriptor: `loop._transports`, as the standard library's code uses it.
//!
//! A `WeakValueDictionary` there: a transport that is dropped unclosed has to go. Here it takes itself out when it lets go of its file
//! (`ending::release`), which its finalizer does at the latest; so an entry costs no weak reference with a callback, and no Python code.

use super::wire::Wire;
use crate::guarded::Guarded;
use crate::held::Held;
use libc::c_int;
use pyo3::exceptions::PyKeyError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList, PyWeakrefMethods, PyWeakrefReference};
use std::collections::HashMap;

/// The transports of a loop, by descriptor.
#[pyclass(frozen, module = "plait.asyncio")]
#[derive(Debug)]
pub struct Transports {
    /// Weak references.
    all: Guarded<HashMap<c_int, Held>>,
}

impl Transports {
    /// The one that has `fd`.
    pub fn of<'py>(&self, py: Python<'py>, fd: c_int) -> Option<Bound<'py, PyAny>> {
        let reference = self.all.lock().get(&fd)?.clone_ref(py);
        let reference = reference.into_bound(py);
        // SAFETY: only weak references are put in.
        let reference = unsafe { reference.cast_unchecked::<PyWeakrefReference>() };
        reference.upgrade()
    }

    /// From here on `transport` has `fd`.
    ///
    /// # Errors
    /// `TypeError` if it cannot be referred to weakly.
    pub fn put(&self, fd: c_int, transport: &Bound<'_, PyAny>) -> PyResult<()> {
        let reference = PyWeakrefReference::new(transport)?;
        let old = self.all.lock().insert(fd, reference.into_any().into());
        drop(old);
        Ok(())
    }

    /// `transport` has no descriptor any more. Another that has got the same since stays.
    pub fn remove(&self, fd: c_int, transport: &Bound<'_, Wire>) {
        let py = transport.py();
        if self.of(py, fd).is_none_or(|now| now.is(transport)) {
            let old = self.all.lock().remove(&fd);
            drop(old);
        }
    }
}

#[pymethods]
impl Transports {
    #[new]
    fn new() -> Self {
        Self {
            all: Guarded::new(HashMap::new()),
        }
    }

    /// The transport that has the descriptor, or `default`.
    #[pyo3(signature = (fd, default=None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        fd: c_int,
        default: Option<Bound<'py, PyAny>>,
    ) -> Option<Bound<'py, PyAny>> {
        self.of(py, fd).or(default)
    }

    fn __getitem__<'py>(&self, py: Python<'py>, fd: c_int) -> PyResult<Bound<'py, PyAny>> {
        self.of(py, fd).ok_or_else(|| PyKeyError::new_err((fd,)))
    }

    fn __setitem__(&self, fd: c_int, transport: &Bound<'_, PyAny>) -> PyResult<()> {
        self.put(fd, transport)
    }

    fn __delitem__(&self, fd: c_int) -> PyResult<()> {
        let old = self.all.lock().remove(&fd);
        old.map(drop).ok_or_else(|| PyKeyError::new_err((fd,)))
    }

    fn __contains__(&self, py: Python<'_>, fd: c_int) -> bool {
        self.of(py, fd).is_some()
    }

    fn __len__(&self) -> usize {
        self.all.lock().len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyList::new(py, self.keys())?.try_iter()
    }

    /// The descriptors.
    fn keys(&self) -> Vec<c_int> {
        self.all.lock().keys().copied().collect()
    }

    /// The transports.
    fn values<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyAny>> {
        self.keys().into_iter().filter_map(|fd| self.of(py, fd)).collect()
    }

    /// Both.
    fn items<'py>(&self, py: Python<'py>) -> Vec<(c_int, Bound<'py, PyAny>)> {
        let both = |fd| Some((fd, self.of(py, fd)?));
        self.keys().into_iter().filter_map(both).collect()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(all) = self.all.try_lock() else {
            return Ok(());
        };
        for reference in all.values() {
            reference.traverse(&visit)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let all = std::mem::take(&mut *self.all.lock());
        drop(all);
    }
}
