//! Reading a stream: one `recv` each time that the loop says there is something; more only while buffers come back full.
//!
//! What is read for `data_received` goes into a buffer of the thread's and is copied from there into a `bytes` object of the right
//! size. To read into the object and shrink it is three times as dear for 100 KiB (`docs/design/transports.md`).

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
    static SCRATCH: UnsafeCell<Vec<u8>> = const { UnsafeCell::new(Vec::new()) };
}

/// Reads up to `size` bytes into a new `bytes` object with `read`, a system call; at most [`MAX_SIZE`].
///
/// # Errors
/// The call's.
pub fn receive_up_to<'py>(
    py: Python<'py>,
    fd: c_int,
    size: usize,
    read: impl FnOnce(c_int, &mut [u8]) -> Result<usize, Errno>,
) -> Result<Bound<'py, PyBytes>, Errno> {
    SCRATCH.with(|scratch| {
        // SAFETY: the thread's own, and nothing in here can come back to this function: making a bytes object runs no
        // other Python code.
        let scratch = unsafe { &mut *scratch.get() };
        if scratch.is_empty() {
            *scratch = vec![0; MAX_SIZE];
        }
        let place = scratch.get_mut(..size).unwrap_or_default();
        let count = read(fd, place)?;
        Ok(PyBytes::new(py, place.get(..count).unwrap_or_default()))
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
    let data = match receive_up_to(py, call.fd, MAX_SIZE, sys::receive) {
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

/// So many buffers that come back full are followed by another before the loop turns.
const BUFFERS: usize = 4;

fn into_buffers(slf: &Bound<'_, Wire>, call: &Call) -> Result<(), Failure> {
    let py = slf.py();
    let protocol = call.protocol.bind(py);
    let read = within(py, &call.context, || {
        for _ in 0..BUFFERS {
            match one_buffer(slf, call, &protocol) {
                Ok(true) if slf.get().goes_on(call) => {}
                Ok(_) => break,
                Err(failure) => return Ok(Err(failure)),
            }
        }
        Ok(Ok(()))
    });
    read.unwrap_or_else(|error| Err((error, READ_FAILED)))
}

/// Whether the buffer came back full, so that there may be more.
fn one_buffer(slf: &Bound<'_, Wire>, call: &Call, protocol: &Bound<'_, PyAny>) -> Result<bool, Failure> {
    let py = slf.py();
    let get_failed = |error| (error, "Fatal error: protocol.get_buffer() call failed.");
    let buffer = protocol
        .call_method1(intern!(py, "get_buffer"), (-1,))
        .map_err(get_failed)?;
    if buffer.len().map_err(get_failed)? == 0 {
        return Err(get_failed(PyRuntimeError::new_err(
            "get_buffer() returned an empty buffer",
        )));
    }
    let mut view = View::writable(&buffer).map_err(|error| (error, READ_FAILED))?;
    let count = match sys::receive(call.fd, view.bytes_mut()) {
        Ok(count) => count,
        Err(errno) if sys::would_block(errno) => return Ok(false),
        Err(errno) => return Err((sys::error(py, errno), READ_FAILED)),
    };
    let full = count == view.len();
    drop(view);
    drop(buffer);
    if count == 0 {
        return ended_within(slf, protocol).map(|()| false);
    }
    protocol
        .call_method1(intern!(py, "buffer_updated"), (count,))
        .map(|_| full)
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
