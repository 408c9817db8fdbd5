//! Writing a stream. What is written first in a turn goes out at once; what follows in the same turn waits for its end, or until
//! it is much, and leaves in one call. What the kernel does not take waits for room.
//!
//! Nothing that can be seen later than with asyncio is lost by waiting: `close`, `write_eof`, `abort` and
//! sendfile send first what waits.

use crate::asyncio::net::kind::Kind;
use crate::asyncio::net::outgoing::{Done, Piece, View, bytes_of};
use crate::asyncio::net::wire::{self, Wire};
use crate::asyncio::net::{ending, flow, report, sys};
use libc::c_int;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;

/// So much leaves without waiting for the end of the turn.
const CORKED: usize = 64 * 1024;
/// From so many writes after the end on, the program is told that it does not look.
const LOST_WRITES: u32 = 5;

/// What is to be done with data.
enum Way {
    /// Nothing: there are none.
    Nothing,
    /// Nothing: the connection is lost, and so much has been written since.
    Nowhere(u32),
    /// There is nothing before it.
    AtOnce(c_int),
    /// With what else is written in this turn.
    Corked,
    /// After what waits for room.
    Queued,
}

fn way(slf: &Bound<'_, Wire>, method: &str, empty: bool) -> PyResult<Way> {
    let lines = method == "writelines";
    let mut state = slf.get().state.lock();
    if state.eof || state.empty_waiter.is_some() {
        let text = if state.eof {
            format!("Cannot call {method}() after write_eof()")
        } else {
            format!("unable to {method}; sendfile is in progress")
        };
        return Err(PyRuntimeError::new_err(text));
    }
    if empty {
        return Ok(Way::Nothing);
    }
    if state.ended || (state.closing && state.kind == Kind::WritePipe) {
        let before = state.lost_writes.saturating_add(u32::from(state.ended));
        state.lost_writes = state.lost_writes.saturating_add(1);
        return Ok(Way::Nowhere(before));
    }
    if !state.outgoing.is_empty() {
        return Ok(if state.corked { Way::Corked } else { Way::Queued });
    }
    let turn = state.event_loop.as_ref().and_then(|core| core.get().turn());
    if turn.is_some() && turn == state.turn && !lines {
        return Ok(Way::Corked);
    }
    state.turn = turn;
    Ok(Way::AtOnce(state.fd))
}

/// `write(data)`.
///
/// # Errors
/// `TypeError`, `RuntimeError`; those of the connection reach the protocol.
pub fn write(slf: &Bound<'_, Wire>, data: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: the object is alive.
    if unsafe { ffi::PyBytes_CheckExact(data.as_ptr()) } != 0 {
        // SAFETY: an exact bytes object, which the caller holds.
        return put(slf, data, unsafe { bytes_of(data.as_ptr()) });
    }
    // SAFETY: the object is alive.
    let fits = unsafe {
        ffi::PyBytes_Check(data.as_ptr()) != 0
            || ffi::PyByteArray_Check(data.as_ptr()) != 0
            || ffi::PyMemoryView_Check(data.as_ptr()) != 0
    };
    if !fits {
        let kinds = if cfg!(Py_3_14) {
            "bytes, bytearray, or memoryview object"
        } else {
            "bytes-like object"
        };
        let class = data.get_type().name()?;
        return Err(PyTypeError::new_err(format!(
            "data argument must be a {kinds}, not '{class}'"
        )));
    }
    match View::create(data) {
        Ok(view) => put(slf, data, view.bytes()),
        Err(error) => ending::fatal(slf, error, slf.get().state.lock().kind.write_failed()),
    }
}

fn put(slf: &Bound<'_, Wire>, data: &Bound<'_, PyAny>, bytes: &[u8]) -> PyResult<()> {
    match way(slf, "write", bytes.is_empty())? {
        Way::Nothing => Ok(()),
        Way::Nowhere(writes) => nowhere(slf, writes),
        Way::AtOnce(fd) => {
            let socket = slf.get().state.lock().kind.is_socket();
            let sent = match if socket {
                sys::send(fd, bytes)
            } else {
                sys::write(fd, bytes)
            } {
                Ok(sent) if sent == bytes.len() => return Ok(()),
                Ok(sent) => sent,
                Err(errno) if sys::would_block(errno) => 0,
                Err(errno) => return failed(slf, errno),
            };
            push(slf, Piece::create(data, sent)?);
            wire::watch_write(slf)?;
            flow::maybe_pause(slf)
        }
        Way::Queued => {
            push(slf, Piece::create(data, 0)?);
            flow::maybe_pause(slf)
        }
        Way::Corked => {
            push(slf, Piece::create(data, 0)?);
            let (before, size) = {
                let mut state = slf.get().state.lock();
                (std::mem::replace(&mut state.corked, true), state.outgoing.size())
            };
            if size >= CORKED {
                return uncork(slf);
            }
            if !before {
                wire::soon(slf, turn_ended, slf.py().None());
            }
            Ok(())
        }
    }
}

fn push(slf: &Bound<'_, Wire>, piece: Piece) {
    slf.get().state.lock().outgoing.push(piece);
}

fn nowhere(slf: &Bound<'_, Wire>, writes: u32) -> PyResult<()> {
    if writes >= LOST_WRITES {
        report::warn(slf.py(), slf.get().state.lock().kind.lost_write())?;
    }
    Ok(())
}

fn failed(slf: &Bound<'_, Wire>, errno: sys::Errno) -> PyResult<()> {
    let kind = slf.get().state.lock().kind;
    ending::fatal(slf, sys::error(slf.py(), errno), kind.write_failed())
}

/// `writelines(pieces)`: in one call, after what waits.
///
/// # Errors
/// As `write`.
pub fn write_lines(slf: &Bound<'_, Wire>, lines: &Bound<'_, PyAny>) -> PyResult<()> {
    match way(slf, "writelines", !lines.is_truthy()?)? {
        Way::Nothing => return Ok(()),
        Way::Nowhere(writes) => return nowhere(slf, writes),
        Way::AtOnce(_) | Way::Corked | Way::Queued => {}
    }
    let mut pieces = Vec::new();
    for line in lines.try_iter()? {
        let piece = Piece::create(&line?, 0)?;
        if !piece.rest().is_empty() {
            pieces.push(piece);
        }
    }
    if pieces.is_empty() {
        return Ok(());
    }
    {
        let mut state = slf.get().state.lock();
        state.corked = false;
        for piece in pieces {
            state.outgoing.push(piece);
        }
    }
    flush(slf)
}

/// Sends what waits for the end of the turn.
///
/// # Errors
/// As `ready`.
pub fn uncork(slf: &Bound<'_, Wire>) -> PyResult<()> {
    if std::mem::take(&mut slf.get().state.lock().corked) {
        flush(slf)
    } else {
        Ok(())
    }
}

/// What the loop calls after a turn in which something was corked.
fn turn_ended(slf: &Bound<'_, PyAny>, _: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: registered with transports only.
    uncork(unsafe { Wire::of(slf) })
}

/// Sends what it can, and waits for room for the rest.
fn flush(slf: &Bound<'_, Wire>) -> PyResult<()> {
    attempt(slf)?;
    let state = slf.get().state.lock();
    if state.outgoing.is_empty() || state.ended {
        return Ok(());
    }
    drop(state);
    wire::watch_write(slf)?;
    flow::maybe_pause(slf)
}

/// What the loop calls when there is room.
///
/// # Errors
/// Those of the protocol that are to leave the loop, and those of reporting others.
pub fn ready(slf: &Bound<'_, PyAny>, _: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: registered with transports only.
    let slf = unsafe { Wire::of(slf) };
    if !slf.get().state.lock().watching_write {
        return Ok(());
    }
    attempt(slf)
}

fn attempt(slf: &Bound<'_, Wire>) -> PyResult<()> {
    let py = slf.py();
    let mut done = Done::new();
    let sent = {
        let mut state = slf.get().state.lock();
        if state.ended {
            return Ok(());
        }
        let (fd, socket) = (state.fd, state.kind.is_socket());
        state.outgoing.send(fd, socket, &mut done)
    };
    drop(done);
    match sent {
        Ok(_) => {}
        Err(errno) if sys::would_block(errno) => return Ok(()),
        Err(errno) => {
            let waiter = slf.get().state.lock().empty_waiter.take();
            failed(slf, errno)?;
            if let Some(waiter) = waiter {
                let error = sys::error(py, errno).into_value(py);
                waiter.bind(py).call_method1("set_exception", (error,))?;
            }
            return Ok(());
        }
    }
    flow::maybe_resume(slf)?; // The protocol may write.
    emptied(slf)
}

/// What follows once everything has been sent, if it has.
fn emptied(slf: &Bound<'_, Wire>) -> PyResult<()> {
    let py = slf.py();
    let (waiter, lost, eof) = {
        let mut state = slf.get().state.lock();
        if !state.outgoing.is_empty() || state.ended {
            return Ok(());
        }
        let lost = state.closing;
        state.ended = lost;
        let waiter = state.empty_waiter.as_ref().map(|waiter| waiter.clone_ref(py));
        (waiter, lost, state.eof.then_some(state.fd))
    };
    wire::unwatch_write(slf);
    if let Some(waiter) = waiter {
        complete(&waiter.into_bound(py))?;
    }
    if lost {
        return ending::lost(slf.as_any(), &py.None().into_bound(py));
    }
    match eof.map(sys::end_writing) {
        Some(Err(errno)) => Err(sys::error(py, errno)),
        _ => Ok(()),
    }
}

/// Sets a future's result to None, unless it is done.
///
/// # Errors
/// Those of a future that is none.
pub fn complete(future: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    if !future.call_method0(pyo3::intern!(py, "done"))?.is_truthy()? {
        future.call_method1(pyo3::intern!(py, "set_result"), (py.None(),))?;
    }
    Ok(())
}

/// `write_eof()`: the peer reads to the end of what has been written, and we go on reading.
///
/// # Errors
/// `OSError`, as when the peer is gone.
pub fn write_eof(slf: &Bound<'_, Wire>) -> PyResult<()> {
    if slf.get().state.lock().kind == Kind::WritePipe {
        return ending::close(slf);
    }
    {
        let state = slf.get().state.lock();
        if state.closing || state.eof {
            return Ok(());
        }
    }
    uncork(slf)?;
    let fd = {
        let mut state = slf.get().state.lock();
        state.eof = true;
        state.outgoing.is_empty().then_some(state.fd)
    };
    match fd.map(sys::end_writing) {
        Some(Err(errno)) => Err(sys::error(slf.py(), errno)),
        _ => Ok(()),
    }
}
