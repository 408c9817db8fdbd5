//! What the Python side, `plait.asyncio._net`, hands over when it is imported, and what is looked up once.
//!
//! The abstract transports of the standard library have slots, so a native class cannot derive from them. The native
//! ones answer `__class__` with a class that does; `isinstance` looks there.

use super::kind::Kind;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

static CLASSES: PyOnceLock<[Py<PyAny>; Kind::COUNT]> = PyOnceLock::new();

/// Takes the classes that stream, datagram, read pipe and write pipe transports say they are.
#[pyfunction]
pub fn _use_transports(
    stream: Bound<'_, PyAny>,
    datagram: Bound<'_, PyAny>,
    read_pipe: Bound<'_, PyAny>,
    write_pipe: Bound<'_, PyAny>,
) {
    let py = stream.py();
    // Filled already: the module was imported again, and the classes are as good.
    let _again = CLASSES.set(py, [stream, datagram, read_pipe, write_pipe].map(Bound::unbind));
}

/// The class that a transport says it is.
pub fn class(py: Python<'_>, kind: Kind) -> Option<Bound<'_, PyAny>> {
    Some(CLASSES.get(py)?.get(kind.index())?.bind(py).clone())
}

/// Whether the protocol gives the buffers to read into.
///
/// # Errors
/// What `isinstance` raises.
pub fn is_buffered(protocol: &Bound<'_, PyAny>) -> PyResult<bool> {
    static BUFFERED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = protocol.py();
    let buffered = BUFFERED.get_or_try_init(py, || {
        Ok::<_, PyErr>(
            py.import("asyncio.protocols")?
                .getattr("BufferedProtocol")?
                .unbind(),
        )
    })?;
    protocol.is_instance(buffered.bind(py))
}
