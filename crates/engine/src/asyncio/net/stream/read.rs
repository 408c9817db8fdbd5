//! Reading a stream: one `recv` each time that the loop says there is something; more only while buffers come back full.
//!
//! What is read for `data_received` goes into a buffer of the thread's and is copied from there into a `bytes` object of the right
//! size; a read that may be large goes into the object itself. Measured: `docs/design/transports.md`.

use crate::asyncio::net::outgoing::View;
use crate::asyncio::net::sys::{self, Errno};
use crate::asyncio::net::wire::{self, Call, Wire, within};
use crate::asyncio::net::{ending, report};
use libc::c_int;
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::cell::UnsafeCell;

/// As much is read in one call, as by asyncio.
pub const MAX_SIZE: usize = 256 * 1024;

thread_local! {
    /// What is read lies here for a moment. Used by nothing that can come back to it.
    pub static SCRATCH: UnsafeCell<Vec<u8>> = const { UnsafeCell::new(Vec::new()) };
}

/// Makes the buffer, if this is the thread's first read.
#[inline]
pub fn fill(scratch: &mut Vec<u8>) {
    if scratch.is_empty() {
        *scratch = vec![0; MAX_SIZE];
    }
}

/// Reads into a new `bytes` object with `read`, a system call.
///
/// # Errors
/// The call's.
pub fn receive<'py>(
    py: Python<'py>,
    fd: c_int,
    read: unsafe fn(c_int, *mut std::ffi::c_void, usize) -> Result<usize, Errno>,
) -> Result<Bound<'py, PyBytes>, Errno> {
    SCRATCH.with(|scratch| {
        // SAFETY: the thread's own, and nothing in here can come back to this function: making a bytes object runs no
        // other Python code.
        let scratch = unsafe { &mut *scratch.get() };
        fill(scratch);
        // SAFETY: the slice may be written.
        let count = unsafe { read(fd, scratch.as_mut_ptr().cast(), scratch.len())? };
        Ok(PyBytes::new(py, scratch.get(..count).unwrap_or_default()))
    })
}

/// What the loop calls when there is something to read.
///
/// # Errors
/// `SystemExit` and `KeyboardInterrupt` of the protocol, and those of reporting others.
pub fn ready(slf: &Bound<'_, PyAny>, _: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = slf.py();
    // SAFETY: registered with transports only.
    let slf = unsafe { Wire::of(slf) };
    let Some(call) = slf.get().reading(py) else {
        return Ok(());
    };
    let failed = if call.buffered {
        into_buffers(slf, &call)
    } else {
        into_bytes(slf, &call)
    };
    match failed {
        Ok(()) => Ok(()),
        Err((error, message)) => ending::fatal(slf, error, message),
    }
}

/// An error, and what is to be said of it.
type Failure = (PyErr, &'static str);

const READ_FAILED: &str = "Fatal read error on socket transport";

fn into_bytes(slf: &Bound<'_, Wire>, call: &Call) -> Result<(), Failure> {
    let py = slf.py();
    let data = match receive(py, call.fd, sys::receive) {
        Ok(data) => data,
        Err(errno) if sys::would_block(errno) => return Ok(()),
        Err(errno) => return Err((sys::error(py, errno), READ_FAILED)),
    };
    if data.as_bytes().is_empty() {
        return ended(slf, call);
    }
    within(py, &call.context, || {
        call.protocol
            .bind(py)
            .call_method1(intern!(py, "data_received"), (data,))
            .map(drop)
    })
    .map_err(|error| (error, "Fatal error: protocol.data_received() call failed."))
}

fn into_buffers(slf: &Bound<'_, Wire>, call: &Call) -> Result<(), Failure> {
    let py = slf.py();
    let protocol = call.protocol.bind(py);
    within(py, &call.context, || Ok(one_buffer(slf, call, &protocol)))
        .unwrap_or_else(|error| Err((error, READ_FAILED)))
}

fn one_buffer(slf: &Bound<'_, Wire>, call: &Call, protocol: &Bound<'_, PyAny>) -> Result<(), Failure> {
    let py = slf.py();
    let get_failed = |error| (error, "Fatal error: protocol.get_buffer() call failed.");
    let buffer = protocol
        .call_method1(intern!(py, "get_buffer"), (-1,))
        .map_err(get_failed)?;
    let length = buffer.len().map_err(get_failed)?;
    if length == 0 {
        return Err(get_failed(PyRuntimeError::new_err(
            "get_buffer() returned an empty buffer",
        )));
    }
    let view = View::writable(&buffer).map_err(|error| (error, READ_FAILED))?;
    // SAFETY: the view is writable, and held until after the call.
    let count = match unsafe { sys::receive(call.fd, view.place(), view.len()) } {
        Ok(count) => count,
        Err(errno) if sys::would_block(errno) => return Ok(()),
        Err(errno) => return Err((sys::error(py, errno), READ_FAILED)),
    };
    drop(view);
    drop(buffer);
    if count == 0 {
        return ended_within(slf, protocol);
    }
    protocol
        .call_method1(intern!(py, "buffer_updated"), (count,))
        .map(drop)
        .map_err(|error| (error, "Fatal error: protocol.buffer_updated() call failed."))
}

/// The peer sends no more.
fn ended(slf: &Bound<'_, Wire>, call: &Call) -> Result<(), Failure> {
    let py = slf.py();
    let protocol = call.protocol.bind(py);
    within(py, &call.context, || Ok(ended_within(slf, &protocol)))
        .unwrap_or_else(|error| Err((error, READ_FAILED)))
}

fn ended_within(slf: &Bound<'_, Wire>, protocol: &Bound<'_, PyAny>) -> Result<(), Failure> {
    const MESSAGE: &str = "Fatal error: protocol.eof_received() call failed.";
    let py = slf.py();
    report::debug(slf, "debug", "received EOF").map_err(|error| (error, MESSAGE))?;
    let keep_open = protocol
        .call_method0(intern!(py, "eof_received"))
        .and_then(|answer| answer.is_truthy())
        .map_err(|error| (error, MESSAGE))?;
    if keep_open {
        // The protocol may go on writing; there is nothing more to read.
        wire::unwatch_read(slf);
        Ok(())
    } else {
        ending::close(slf).map_err(|error| (error, MESSAGE))
    }
}

/// `pause_reading()`.
///
/// # Errors
/// Those of logging.
pub fn pause(slf: &Bound<'_, Wire>) -> PyResult<()> {
    {
        let mut state = slf.get().state.lock();
        if state.closing || state.paused {
            return Ok(());
        }
        state.paused = true;
    }
    wire::unwatch_read(slf);
    report::debug(slf, "debug", "pauses reading")
}

/// `resume_reading()`.
///
/// # Errors
/// The loop's.
pub fn resume(slf: &Bound<'_, Wire>) -> PyResult<()> {
    {
        let mut state = slf.get().state.lock();
        if state.closing || !state.paused {
            return Ok(());
        }
        state.paused = false;
    }
    wire::watch_read(slf)?;
    report::debug(slf, "debug", "resumes reading")
}
