//! What the Python side, `plait.asyncio.streams`, hands over when it is imported: its classes, and those that they derive from.
//!
//! What is rare is inherited from the running version's `asyncio.streams`. The engine needs those classes when a subclass has
//! overridden a method that other methods are built of: then the standard library's code runs, and calls it.

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi::PyTypeObject;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

/// A class of the Python side, and the standard library's.
#[derive(Debug)]
pub struct Face {
    ours: Py<PyType>,
    standard: Py<PyType>,
}

static READER: PyOnceLock<Face> = PyOnceLock::new();
static WRITER: PyOnceLock<Face> = PyOnceLock::new();
static PROTOCOL: PyOnceLock<Face> = PyOnceLock::new();

/// Takes the pairs of classes; they stay for good.
#[pyfunction]
pub fn _use_streams(
    py: Python<'_>,
    reader: (Py<PyType>, Py<PyType>),
    writer: (Py<PyType>, Py<PyType>),
    protocol: (Py<PyType>, Py<PyType>),
) {
    for (place, (ours, standard)) in [(&READER, reader), (&WRITER, writer), (&PROTOCOL, protocol)] {
        let _again = place.set(py, Face { ours, standard });
    }
}

/// Which of the three.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Reader,
    Writer,
    Protocol,
}

impl Kind {
    fn face(self, py: Python<'_>) -> PyResult<&'static Face> {
        let place = match self {
            Self::Reader => &READER,
            Self::Writer => &WRITER,
            Self::Protocol => &PROTOCOL,
        };
        place
            .get(py)
            .ok_or_else(|| PyRuntimeError::new_err("plait.asyncio.streams has not been imported"))
    }

    /// Whether `object` is just of the Python side's class.
    #[inline]
    pub fn is_exactly(self, object: &Bound<'_, PyAny>) -> bool {
        let class: *mut PyTypeObject = object.get_type_ptr();
        self.face(object.py())
            .is_ok_and(|face| std::ptr::eq(face.ours.as_ptr().cast(), class))
    }

    /// Whether `object` is an instance of the standard library's class.
    ///
    /// # Errors
    /// What `isinstance` raises.
    pub fn is_standard(self, object: &Bound<'_, PyAny>) -> PyResult<bool> {
        object.is_instance(self.face(object.py())?.standard.bind(object.py()))
    }

    /// Whether one of `names` means something else for `object` than for the native class `core`.
    ///
    /// # Errors
    /// What looking up an attribute raises.
    pub fn overrides(
        self,
        object: &Bound<'_, PyAny>,
        core: &Bound<'_, PyType>,
        names: &[&str],
    ) -> PyResult<bool> {
        if self.is_exactly(object) {
            return Ok(false);
        }
        let class = object.get_type();
        for name in names {
            if !class.getattr(*name)?.is(&core.getattr(*name)?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Calls the standard library's method on `object`.
    ///
    /// # Errors
    /// What it raises.
    pub fn standard<'py>(
        self,
        object: &Bound<'py, PyAny>,
        method: &str,
        arguments: &[&Bound<'py, PyAny>],
        keywords: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = object.py();
        let method = self.face(py)?.standard.bind(py).getattr(method)?;
        let arguments = std::iter::once(object).chain(arguments.iter().copied());
        let arguments = PyTuple::new(py, arguments.collect::<Vec<_>>())?;
        method.call(arguments, keywords)
    }
}
