//! TLS: between a transport and the program's protocol, with the `ssl` module's own objects.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`session`] | the SSLObject and its two MemoryBIOs |
//! | [`records`] | where records begin and end, so that OpenSSL is asked only when it has an answer |
//! | [`state`] | how far a connection is |
//! | [`protocol`] | handshake and failure |
//! | [`ends`] | shutdown and loss |
//! | [`read`], [`write`] | data, either way |
//! | [`methods`], [`transport`] | what Python sees of the protocol and of its transport |
//!
//! The order of events, the texts and the phases are those of `asyncio.sslproto`; `docs/design/streams-and-tls.md` tells what
//! is done otherwise, and what that gains. No other TLS stack is here: the context is the program's.

pub mod ends;
pub mod methods;
pub mod protocol;
pub mod read;
pub mod records;
pub mod session;
pub mod state;
pub mod transport;
pub mod write;

use protocol::TlsProtocol;
use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyByteArray;

/// asyncio's logger.
fn logger(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static LOGGER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    LOGGER.import(py, "asyncio.log", "logger")
}

/// Whether it ends the program.
fn is_exit(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyKeyboardInterrupt>(py) || error.is_instance_of::<PySystemExit>(py)
}

/// Has the loop call `callback` in its next turn.
fn call_soon(event_loop: &Bound<'_, PyAny>, callback: Bound<'_, PyAny>) -> PyResult<()> {
    event_loop
        .call_method1(intern!(event_loop.py(), "call_soon"), (callback,))
        .map(drop)
}

/// What the transport beneath `protocol` is to read into. Those that say at once how much they read share one in each loop,
/// because it is copied at once; any other gets its own.
fn scratch<'py>(protocol: &Bound<'py, TlsProtocol>) -> PyResult<Bound<'py, PyAny>> {
    let py = protocol.py();
    let make = || PyByteArray::new_with(py, read::MAX_SIZE, |_| Ok(())).map(Bound::into_any);
    let Some(transport) = protocol.get().get(py, |state| &state.transport) else {
        return make();
    };
    let module = transport.get_type().getattr(intern!(py, "__module__"))?;
    if !module.eq("plait.asyncio")? && !module.eq("asyncio.selector_events")? {
        return make();
    }
    let event_loop = protocol.get().event_loop(py)?;
    let name = intern!(py, "_plait_tls_scratch");
    if let Some(shared) = event_loop.getattr_opt(name)? {
        return Ok(shared);
    }
    let shared = make()?;
    // A loop that takes no attributes has none that is shared.
    let _kept = event_loop.setattr(name, &shared);
    Ok(shared)
}
