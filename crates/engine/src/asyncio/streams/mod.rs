//! Streams: `StreamReader`, `StreamWriter`, `StreamReaderProtocol`; as `asyncio.streams`.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`buffer`] | what came and was not read |
//! | [`separators`] | what `readuntil` looks for |
//! | [`reader`] | `StreamReader`: what it is fed, and what is taken from it |
//! | [`methods`] | its methods and attributes |
//! | [`read`] | its coroutines |
//! | [`writer`] | `StreamWriter`, and `drain` |
//! | [`drained`], [`direct`] | what makes a write and a drain cheap |
//! | [`protocol`] | what stands between a transport and a reader |
//! | [`face`] | the classes of the Python side |
//!
//! The classes that programs see are made in `plait.asyncio.streams`: each derives from its native half here and from the
//! standard library's class. What happens for each read and each write is native; what happens once in a
//! connection's life is inherited, and so is the running version's own.

pub mod buffer;
pub mod direct;
pub mod drained;
pub mod face;
pub mod methods;
pub mod protocol;
pub mod read;
pub mod reader;
pub mod separators;
pub mod writer;

use crate::asyncio::looping;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// The loop that an object belongs to which was given none.
fn current_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static GET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    // 3.11 warns here in a way of its own.
    let name = if cfg!(Py_3_12) {
        "get_event_loop"
    } else {
        "_get_event_loop"
    };
    GET.import(py, "asyncio.events", name)?.call0()
}

/// Whether the loop is in debug mode.
fn in_debug(event_loop: &Bound<'_, PyAny>) -> PyResult<bool> {
    match looping::of(event_loop) {
        Some(core) => Ok(core.get().is_debug()),
        None => event_loop
            .call_method0(intern!(event_loop.py(), "get_debug"))?
            .is_truthy(),
    }
}

/// Where the caller stands, for a report.
fn source_traceback(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static FRAME: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static EXTRACT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let frame = FRAME.import(py, "sys", "_getframe")?.call0()?;
    EXTRACT
        .import(py, "asyncio.format_helpers", "extract_stack")?
        .call1((frame,))
}
