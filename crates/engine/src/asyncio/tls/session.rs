//! The `ssl` module's half of a connection: its SSLObject between two MemoryBIOs.
//!
//! It is the program's SSLContext that made it, so certificates, names, ciphers and callbacks are what the program configured.
//! Of an SSLObject that is just that, the C object inside is called; a subclass is called itself.

use crate::held::Held;
use pyo3::exceptions::PyException;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyType};
use pyo3::{ffi, intern};

/// What OpenSSL said.
#[derive(Debug)]
pub enum Said<T> {
    Done(T),
    /// More has to come, or to go, before.
    Again,
    /// It failed; the peer or the certificate is to blame.
    Failed(PyErr),
}

/// The objects. All are there from the beginning to the end.
#[derive(Debug)]
pub struct Session {
    pub object: Held,
    read: Held,
    write: Held,
    pub incoming: Held,
    put: Held,
    pub outgoing: Held,
    get: Held,
}

/// A class of the `ssl` module.
fn class<'py>(
    py: Python<'py>,
    place: &'static PyOnceLock<Py<PyType>>,
    name: &str,
) -> PyResult<Bound<'py, PyType>> {
    place.import(py, "ssl", name).cloned()
}

/// Sorts what a call to the SSLObject gave.
///
/// # Errors
/// What is no error of the connection.
fn sort<T>(py: Python<'_>, result: PyResult<T>) -> PyResult<Said<T>> {
    static READ: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static SYSTEM: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static ANY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let error = match result {
        Ok(value) => return Ok(Said::Done(value)),
        Err(error) => error,
    };
    let kind = error.get_type(py);
    if kind.is_subclass(class(py, &READ, "SSLWantReadError")?.as_any())?
        || kind.is_subclass(class(py, &SYSTEM, "SSLSyscallError")?.as_any())?
    {
        return Ok(Said::Again);
    }
    if kind.is_subclass(class(py, &ANY, "SSLError")?.as_any())? {
        return Ok(Said::Failed(error));
    }
    Err(error)
}

/// Whether the certificate was refused.
pub fn is_certificate_error(py: Python<'_>, error: &PyErr) -> bool {
    static CERTIFICATE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    class(py, &CERTIFICATE, "CertificateError").is_ok_and(|class| error.is_instance(py, &class))
}

/// Whether it is an ordinary exception, and no exit of the program.
pub fn is_ordinary(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyException>(py)
}

/// A view of memory that a C function is to look at, and not to keep.
///
/// # Safety
/// The memory outlives the view, which is not given to Python code.
///
/// # Errors
/// `MemoryError`.
pub unsafe fn view<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the slice is as long as it says, and is not written through a view that is for reading.
    unsafe {
        let place = data.as_ptr().cast_mut().cast();
        let view =
            ffi::PyMemoryView_FromMemory(place, ffi::Py_ssize_t::try_from(data.len())?, ffi::PyBUF_READ);
        Bound::from_owned_ptr_or_err(py, view)
    }
}

impl Session {
    /// Of the three objects.
    ///
    /// # Errors
    /// If they lack a method.
    pub fn new(
        object: Bound<'_, PyAny>,
        incoming: Bound<'_, PyAny>,
        outgoing: Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        static PLAIN: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let py = object.py();
        let inner = if object.get_type().is(&class(py, &PLAIN, "SSLObject")?) {
            object.getattr(intern!(py, "_sslobj"))?
        } else {
            object.clone()
        };
        Ok(Self {
            read: inner.getattr(intern!(py, "read"))?.into(),
            write: inner.getattr(intern!(py, "write"))?.into(),
            put: incoming.getattr(intern!(py, "write"))?.into(),
            get: outgoing.getattr(intern!(py, "read"))?.into(),
            object: object.into(),
            incoming: incoming.into(),
            outgoing: outgoing.into(),
        })
    }

    /// A method of the SSLObject, without arguments.
    ///
    /// # Errors
    /// What is no error of the connection.
    pub fn call<'py>(&self, py: Python<'py>, method: &str) -> PyResult<Said<Bound<'py, PyAny>>> {
        sort(py, self.object.bind(py).call_method0(method))
    }

    /// Gives it what came.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn feed(&self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        // SAFETY: a MemoryBIO copies what it is given, and keeps no view.
        let view = unsafe { view(py, data)? };
        self.put.bind(py).call1((view,)).map(drop)
    }

    /// At most `size` bytes of the next record; none at the peer's end.
    ///
    /// # Errors
    /// As `call`.
    pub fn read<'py>(&self, py: Python<'py>, size: usize) -> PyResult<Said<Bound<'py, PyBytes>>> {
        let data = self.read.bind(py).call1((size,));
        sort(py, data.and_then(|data| Ok(data.cast_into::<PyBytes>()?)))
    }

    /// The same, into a buffer.
    ///
    /// # Errors
    /// As `call`.
    pub fn read_into(&self, py: Python<'_>, size: usize, buffer: &Bound<'_, PyAny>) -> PyResult<Said<usize>> {
        let count = self.read.bind(py).call1((size, buffer));
        sort(py, count.and_then(|count| count.extract()))
    }

    /// Encrypts a record's worth of `data`, or all; how much.
    ///
    /// # Errors
    /// As `call`.
    pub fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<Said<usize>> {
        let count = self.write.bind(py).call1((data,));
        sort(py, count.and_then(|count| count.extract()))
    }

    /// What is to go to the peer, taken out.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.get.bind(py).call0()
    }

    /// How much is to go to the peer.
    ///
    /// # Errors
    /// None that is known.
    pub fn outgoing_size(&self, py: Python<'_>) -> PyResult<usize> {
        self.outgoing.bind(py).getattr(intern!(py, "pending"))?.extract()
    }

    /// How much of what came was not looked at.
    ///
    /// # Errors
    /// None that is known.
    pub fn incoming_size(&self, py: Python<'_>) -> PyResult<usize> {
        self.incoming.bind(py).getattr(intern!(py, "pending"))?.extract()
    }

    /// For `__traverse__`.
    ///
    /// # Errors
    /// What the visitor returns.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for held in [
            &self.object,
            &self.read,
            &self.write,
            &self.incoming,
            &self.put,
            &self.outgoing,
            &self.get,
        ] {
            held.traverse(visit)?;
        }
        Ok(())
    }
}
