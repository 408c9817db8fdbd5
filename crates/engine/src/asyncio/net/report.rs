//! What is said about a transport: its repr, the log, the loop's exception handler.

use super::kind::Kind;
use super::wire::Wire;
use pyo3::exceptions::{PyKeyboardInterrupt, PyOSError, PySystemExit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use std::fmt::Write;

/// Whether `error` is to leave the loop instead of being reported.
pub fn is_exit(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py)
}

/// Whether `error` is an `OSError`: what happens to connections, and is no mistake of the program.
pub fn is_os_error(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyOSError>(py)
}

/// Tells the loop's exception handler.
///
/// # Errors
/// What the handler lets through.
pub fn exception(slf: &Bound<'_, Wire>, message: &str, error: PyErr) -> PyResult<()> {
    let py = slf.py();
    let Some(event_loop) = slf.get().event_loop(py) else {
        return Ok(());
    };
    let context = PyDict::new(py);
    context.set_item(intern!(py, "message"), message)?;
    context.set_item(intern!(py, "exception"), error.into_value(py))?;
    context.set_item(intern!(py, "transport"), slf)?;
    context.set_item(intern!(py, "protocol"), slf.get().protocol(py))?;
    event_loop.call_method1(intern!(py, "call_exception_handler"), (context,))?;
    Ok(())
}

/// asyncio's own logger.
///
/// # Errors
/// Those of the import.
pub fn logger(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static LOGGER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    LOGGER
        .get_or_try_init(py, || {
            Ok::<_, PyErr>(py.import("asyncio.log")?.getattr("logger")?.unbind())
        })
        .map(|logger| logger.bind(py).clone())
}

/// In debug mode, logs `text` with the transport's repr before it; `level` is the logger's method.
///
/// # Errors
/// Those of logging.
pub fn debug(slf: &Bound<'_, Wire>, level: &str, text: &str) -> PyResult<()> {
    let py = slf.py();
    if !slf.get().is_debug(py) {
        return Ok(());
    }
    logger(py)?
        .call_method1(level, (format!("%r {text}"), slf))
        .map(drop)
}

/// In debug mode, logs an error that is none of the program's.
///
/// # Errors
/// Those of logging.
pub fn debug_error(slf: &Bound<'_, Wire>, message: &str, error: &PyErr) -> PyResult<()> {
    let py = slf.py();
    if !slf.get().is_debug(py) {
        return Ok(());
    }
    let keywords = PyDict::new(py);
    keywords.set_item("exc_info", error.value(py))?;
    logger(py)?
        .call_method("debug", ("%r: %s", slf, message), Some(&keywords))
        .map(drop)
}

/// Logs a warning.
///
/// # Errors
/// Those of logging.
pub fn warn(py: Python<'_>, text: &str) -> PyResult<()> {
    logger(py)?.call_method1("warning", (text,)).map(drop)
}

/// The standard library's repr of such a transport.
pub fn describe(slf: &Bound<'_, Wire>) -> String {
    let open = slf
        .get()
        .event_loop(slf.py())
        .is_some_and(|core| !core.get().is_closed());
    let state = slf.get().state.lock();
    let mut text = format!("<{}", state.kind.standard_name());
    let says = |watching| if watching { "polling" } else { "idle" };
    if state.file.is_none() {
        text.push_str(" closed");
    } else if state.closing {
        text.push_str(" closing");
    }
    let (fd, size) = (state.fd, state.buffer_size());
    let (read, write) = (says(state.watching_read), says(state.watching_write));
    // Writing to a String does not fail.
    let _ = write!(text, " fd={fd}");
    let _ = match state.kind {
        Kind::Stream | Kind::Datagram if open => write!(text, " read={read} write=<{write}, bufsize={size}>"),
        Kind::Stream | Kind::Datagram => Ok(()),
        _ if state.file.is_none() => write!(text, " closed"),
        _ if !open => write!(text, " open"),
        Kind::ReadPipe => write!(text, " {read}"),
        Kind::WritePipe => write!(text, " {write} bufsize={size}"),
    };
    text.push('>');
    text
}
