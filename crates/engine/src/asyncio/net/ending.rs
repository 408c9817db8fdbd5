//! How a transport ends: closed, aborted, failed, or dropped without either.

use super::kind::Kind;
use super::registry::Transports;
use super::report;
use super::stream::write;
use super::wire::{self, Wire, within};
use pyo3::exceptions::{PyConnectionError, PyResourceWarning};
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// `close()`: reads no more; `connection_lost` follows once everything has been sent.
///
/// # Errors
/// Those of reporting.
pub fn close(slf: &Bound<'_, Wire>) -> PyResult<()> {
    let py = slf.py();
    if slf.get().state.lock().closing {
        return Ok(());
    }
    write::uncork(slf)?;
    let now = {
        let mut state = slf.get().state.lock();
        if state.closing {
            return Ok(());
        }
        state.closing = true;
        let now = state.outgoing.is_empty() && !state.ended;
        state.ended |= now;
        now
    };
    wire::unwatch_read(slf);
    if now {
        wire::unwatch_write(slf);
        wire::soon(slf, lost, py.None());
    }
    Ok(())
}

/// `abort()`. What asyncio would have sent already, because it corks nothing, is sent.
///
/// # Errors
/// Those of reporting.
pub fn abort(slf: &Bound<'_, Wire>) -> PyResult<()> {
    write::uncork(slf)?;
    force_close(slf, None)
}

/// Closes at once: `connection_lost(error)` follows in the next turn.
///
/// # Errors
/// None today.
pub fn force_close(slf: &Bound<'_, Wire>, error: Option<Bound<'_, PyAny>>) -> PyResult<()> {
    let py = slf.py();
    let pieces = {
        let mut state = slf.get().state.lock();
        if state.ended || state.file.is_none() {
            return Ok(());
        }
        state.ended = true;
        state.closing = true;
        state.corked = false;
        state.outgoing.take()
    };
    drop(pieces);
    wire::unwatch_write(slf);
    wire::unwatch_read(slf);
    let error = error.unwrap_or_else(|| py.None().into_bound(py));
    wire::soon(slf, lost, error.unbind());
    Ok(())
}

/// Something failed: the protocol will hear of it by `connection_lost(error)`. What is no `OSError` is reported too.
///
/// # Errors
/// Those of reporting, and `error` itself if it is to leave the loop.
pub fn fatal(slf: &Bound<'_, Wire>, error: PyErr, message: &str) -> PyResult<()> {
    let py = slf.py();
    if report::is_exit(py, &error) {
        return Err(error);
    }
    let kind = slf.get().state.lock().kind;
    let quiet = match kind {
        // A terminal whose other end is gone.
        Kind::ReadPipe => error.value(py).getattr(intern!(py, "errno")).is_ok_and(|errno| {
            report::is_os_error(py, &error) && errno.extract().is_ok_and(|errno: i32| errno == libc::EIO)
        }),
        _ => report::is_os_error(py, &error),
    };
    let said = if quiet {
        report::debug_error(slf, message, &error)
    } else {
        report::exception(slf, message, error.clone_ref(py))
    };
    force_close(slf, Some(error.into_value(py).into_bound(py).into_any()))?;
    said
}

/// Tells the protocol, then closes the descriptor. Called by the loop, or when the last byte has been sent.
///
/// # Errors
/// What the protocol raises; everything has been closed by then.
pub fn lost(slf: &Bound<'_, PyAny>, error: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = slf.py();
    // SAFETY: registered with transports only.
    let slf = unsafe { Wire::of(slf) };
    let (protocol, context) = {
        let state = slf.get().state.lock();
        if state.file.is_none() {
            return Ok(());
        }
        (
            state.protocol.as_ref().map(|protocol| protocol.clone_ref(py)),
            state.context.as_ref().map(|context| context.clone_ref(py)),
        )
    };
    let mut result = Ok(());
    if let (Some(protocol), Some(context)) = (protocol, context) {
        result = within(py, &context, || {
            protocol
                .bind(py)
                .call_method1(intern!(py, "connection_lost"), (error,))
                .map(drop)
        });
    }
    wire::unwatch_read(slf);
    wire::unwatch_write(slf);
    let closed = release(slf);
    let waiter = slf.get().state.lock().empty_waiter.take();
    if let Some(waiter) = waiter {
        let waiter = waiter.into_bound(py);
        if !waiter.call_method0(intern!(py, "done"))?.is_truthy()? {
            let error = PyConnectionError::new_err("Connection is closed by peer");
            waiter.call_method1(intern!(py, "set_exception"), (error.into_value(py),))?;
        }
    }
    result.and(closed)
}

/// Lets go of the file, the protocol, the loop and the server.
fn release(slf: &Bound<'_, Wire>) -> PyResult<()> {
    let py = slf.py();
    let fd = slf.get().state.lock().fd;
    let transports = slf.get().event_loop(py).and_then(|event_loop| {
        let transports = event_loop.getattr(intern!(py, "_transports")).ok()?;
        transports.cast_into::<Transports>().ok()
    });
    let (file, server, rest) = {
        let mut state = slf.get().state.lock();
        let pieces = state.outgoing.take();
        state.closing = true;
        (
            state.file.take(),
            state.server.take(),
            (
                state.protocol.take(),
                state.context.take(),
                state.event_loop.take(),
                pieces,
            ),
        )
    };
    let mut result = Ok(());
    if let Some(file) = file {
        result = file.bind(py).call_method0(intern!(py, "close")).map(drop);
    }
    if let Some(transports) = transports {
        transports.get().remove(fd, slf);
    }
    if let Some(server) = server {
        result = result.and(detach(slf, &server.into_bound(py)));
    }
    drop(rest);
    result
}

/// Counts the transport among the server's.
///
/// # Errors
/// What the server raises.
pub fn attach(slf: &Bound<'_, Wire>, server: &Bound<'_, PyAny>) -> PyResult<()> {
    tell_server(slf, server, "_attach")
}

fn detach(slf: &Bound<'_, Wire>, server: &Bound<'_, PyAny>) -> PyResult<()> {
    tell_server(slf, server, "_detach")
}

/// Since 3.13 a server knows which transports it has; before that, how many.
fn tell_server(slf: &Bound<'_, Wire>, server: &Bound<'_, PyAny>, method: &str) -> PyResult<()> {
    if cfg!(Py_3_13) {
        server.call_method1(method, (slf,)).map(drop)
    } else {
        server.call_method0(method).map(drop)
    }
}

/// `tp_finalize`: warns of a transport that nobody has closed, and closes it.
unsafe extern "C" fn finalize(slf: *mut PyObject) {
    // SAFETY: called by the interpreter on a Wire, attached; an exception that is set is kept.
    unsafe {
        Python::attach_unchecked(|py| {
            let pending = PyErr::take(py);
            let slf = Borrowed::from_ptr(py, slf).cast_unchecked::<Wire>();
            let file = slf.get().file(py);
            if file.is_some()
                && let Err(error) = warn_unclosed(&slf).and(release(&slf))
            {
                error.write_unraisable(py, Some(&slf));
            }
            if let Some(pending) = pending {
                pending.restore(py);
            }
        });
    }
}

fn warn_unclosed(slf: &Bound<'_, Wire>) -> PyResult<()> {
    let py = slf.py();
    let keywords = PyDict::new(py);
    keywords.set_item("source", slf)?;
    let text = format!("unclosed transport {}", report::describe(slf));
    let warned = py.import("warnings").and_then(|warnings| {
        let category = py.get_type::<PyResourceWarning>();
        warnings.call_method("warn", (text, category), Some(&keywords))
    });
    // As of any destructor: a warning that is an error is told, and the rest goes on.
    if let Err(error) = warned {
        error.write_unraisable(py, Some(slf));
    }
    Ok(())
}

/// Which `tp_dealloc` PyO3 gave the classes; all of them share one layout.
static DEALLOC: std::sync::OnceLock<Vec<(usize, ffi::destructor)>> = std::sync::OnceLock::new();

/// `tp_dealloc`: the finalizer first, which PyO3's does not call.
unsafe extern "C" fn dealloc(slf: *mut PyObject) {
    // SAFETY: called by the interpreter on a Wire whose last reference has gone, attached.
    unsafe {
        if ffi::PyObject_CallFinalizerFromDealloc(slf) < 0 {
            return;
        }
        let mut class = ffi::Py_TYPE(slf);
        while !class.is_null() {
            let found = DEALLOC
                .get()
                .and_then(|all| all.iter().find(|(of, _)| *of == class as usize));
            if let Some((_, original)) = found {
                return original(slf);
            }
            class = (*class).tp_base;
        }
    }
}

/// Puts the slots into the classes, which have not been used yet.
pub fn init(py: Python<'_>) {
    let classes = super::classes(py);
    let mut originals = Vec::new();
    for class in classes {
        let class = class.as_type_ptr();
        // SAFETY: the type is ours and new; every heap type of PyO3 has a tp_dealloc.
        unsafe {
            if let Some(original) = (*class).tp_dealloc {
                originals.push((class as usize, original));
            }
            (*class).tp_finalize = Some(finalize);
            (*class).tp_dealloc = Some(dealloc);
        }
    }
    // Set once: the module is made once.
    let _again = DEALLOC.set(originals);
}
