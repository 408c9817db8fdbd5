//! `ReadPipeTransport` and `WritePipeTransport`: one end of a pipe, a FIFO, a socket or a character device.

use super::kind::Kind;
use super::stream::{read, write};
use super::sys;
use super::wire::{self, Wire, within};
use super::{ending, report};
use crate::asyncio::looping::LoopCore;
use libc::c_int;
use pyo3::exceptions::{PyBrokenPipeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The end of a pipe that is read: what `asyncio.ReadTransport` says, natively. Made by the loop.
#[pyclass(frozen, extends = Wire, module = "plait.asyncio")]
#[derive(Debug)]
pub struct ReadPipeTransport;

/// The end of a pipe that is written: what `asyncio.WriteTransport` says, natively. Made by the loop.
#[pyclass(frozen, extends = Wire, module = "plait.asyncio")]
#[derive(Debug)]
pub struct WritePipeTransport;

/// A transport that begins with `connection_made`, then lets the loop call when there is something to read, if that is wanted.
fn create<'py>(
    kind: Kind,
    event_loop: &Bound<'py, LoopCore>,
    pipe: &Bound<'py, PyAny>,
    protocol: &Bound<'py, PyAny>,
    waiter: Option<Bound<'py, PyAny>>,
    extra: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = event_loop.py();
    let extra = extra.unwrap_or_else(|| PyDict::new(py).into_any());
    extra.set_item(intern!(py, "pipe"), pipe)?;
    let fd: c_int = pipe.call_method0(intern!(py, "fileno"))?.extract()?;
    let mode = sys::mode(fd).map_err(|errno| sys::error(py, errno))?;
    let is = |kind| mode & libc::S_IFMT == kind;
    let (fifo, socket) = (is(libc::S_IFIFO), is(libc::S_IFSOCK));
    if !(fifo || socket || is(libc::S_IFCHR)) {
        return Err(PyValueError::new_err(match kind {
            Kind::ReadPipe => "Pipe transport is for pipes/sockets only.",
            _ => "Pipe transport is only for pipes, sockets and character devices",
        }));
    }
    sys::set_nonblocking(fd).map_err(|errno| sys::error(py, errno))?;
    let wire = Wire::create(kind, event_loop, pipe, protocol, Some(&extra), None, None)?;
    let wire = PyClassInitializer::from(wire);
    let transport = if kind == Kind::ReadPipe {
        Bound::new(py, wire.add_subclass(ReadPipeTransport))?.into_any()
    } else {
        Bound::new(py, wire.add_subclass(WritePipeTransport))?.into_any()
    };
    let made = protocol.getattr(intern!(py, "connection_made"))?;
    event_loop.call_method1(intern!(py, "call_soon"), (made, &transport))?;
    // SAFETY: both classes derive from it.
    let slf = unsafe { Wire::of(&transport) };
    // The end that is written is watched for the reader's going away, which a device does not tell.
    let watched = kind == Kind::ReadPipe || fifo || socket;
    let waiter = waiter.unwrap_or_else(|| py.None().into_bound(py)).unbind();
    wire::soon(slf, if watched { stream_started } else { woken }, waiter);
    Ok(transport)
}

fn stream_started(slf: &Bound<'_, PyAny>, waiter: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: registered with transports only.
    let watched = wire::watch_read(unsafe { Wire::of(slf) });
    woken(slf, waiter)?;
    watched
}

fn woken(_: &Bound<'_, PyAny>, waiter: &Bound<'_, PyAny>) -> PyResult<()> {
    if waiter.is_none() {
        Ok(())
    } else {
        write::complete(waiter)
    }
}

/// Makes the transport of the end of a pipe that is read.
///
/// # Errors
/// `ValueError` if the file is no pipe; what it raises itself.
#[pyfunction]
#[pyo3(signature = (event_loop, pipe, protocol, waiter=None, extra=None))]
pub fn _read_pipe_transport<'py>(
    event_loop: &Bound<'py, LoopCore>,
    pipe: &Bound<'py, PyAny>,
    protocol: &Bound<'py, PyAny>,
    waiter: Option<Bound<'py, PyAny>>,
    extra: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    create(Kind::ReadPipe, event_loop, pipe, protocol, waiter, extra)
}

/// Makes the transport of the end of a pipe that is written.
///
/// # Errors
/// As `_read_pipe_transport`.
#[pyfunction]
#[pyo3(signature = (event_loop, pipe, protocol, waiter=None, extra=None))]
pub fn _write_pipe_transport<'py>(
    event_loop: &Bound<'py, LoopCore>,
    pipe: &Bound<'py, PyAny>,
    protocol: &Bound<'py, PyAny>,
    waiter: Option<Bound<'py, PyAny>>,
    extra: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    create(Kind::WritePipe, event_loop, pipe, protocol, waiter, extra)
}

/// What the loop calls when there is something to read.
///
/// # Errors
/// What the protocol raises: the loop reports it.
pub fn read_ready(slf: &Bound<'_, PyAny>, _: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = slf.py();
    // SAFETY: registered with transports only.
    let slf = unsafe { Wire::of(slf) };
    let Some(call) = slf.get().reading(py) else {
        return Ok(());
    };
    let data = match read::receive_up_to(py, call.fd, read::MAX_SIZE, sys::read) {
        Ok(data) => data,
        Err(errno) if sys::would_block(errno) => return Ok(()),
        Err(errno) => return ending::fatal(slf, sys::error(py, errno), Kind::ReadPipe.read_failed()),
    };
    if !data.as_bytes().is_empty() {
        let protocol = call.protocol.bind(py);
        return within(py, &call.context, || {
            protocol
                .call_method1(intern!(py, "data_received"), (data,))
                .map(drop)
        });
    }
    report::debug(slf, "info", "was closed by peer")?;
    {
        let mut state = slf.get().state.lock();
        state.closing = true;
        state.ended = true;
    }
    wire::unwatch_read(slf);
    wire::soon(slf, ended, py.None());
    wire::soon(slf, ending::lost, py.None());
    Ok(())
}

fn ended(slf: &Bound<'_, PyAny>, _: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = slf.py();
    // SAFETY: registered with transports only.
    let slf = unsafe { Wire::of(slf) };
    match slf.get().protocol(py) {
        Some(protocol) => protocol.call_method0(intern!(py, "eof_received")).map(drop),
        None => Ok(()),
    }
}

/// What the loop calls when the end that is written can be read: its reader has gone.
///
/// # Errors
/// Those of logging.
pub fn peer_gone(slf: &Bound<'_, PyAny>, _: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = slf.py();
    // SAFETY: registered with transports only.
    let slf = unsafe { Wire::of(slf) };
    let empty = {
        let state = slf.get().state.lock();
        if !state.watching_read {
            return Ok(());
        }
        state.outgoing.is_empty()
    };
    report::debug(slf, "info", "was closed by peer")?;
    let error = (!empty).then(|| {
        PyBrokenPipeError::new_err(())
            .into_value(py)
            .into_bound(py)
            .into_any()
    });
    ending::force_close(slf, error)
}

#[pymethods]
impl ReadPipeTransport {
    #[getter]
    fn _pipe<'py>(slf: &Bound<'py, Self>) -> Option<Bound<'py, PyAny>> {
        slf.as_super().get().file(slf.py())
    }

    #[getter]
    fn _fileno(slf: &Bound<'_, Self>) -> c_int {
        slf.as_super().get().state.lock().fd
    }
}

#[pymethods]
impl WritePipeTransport {
    /// Sends `data`: at once if the kernel takes it, else as it does. Never waits.
    fn write(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        write::write(slf.as_super(), data)
    }

    /// Sends several pieces in one system call.
    fn writelines(slf: &Bound<'_, Self>, list_of_data: &Bound<'_, PyAny>) -> PyResult<()> {
        write::write_lines(slf.as_super(), list_of_data)
    }

    /// Closes, once everything written has left.
    fn write_eof(slf: &Bound<'_, Self>) -> PyResult<()> {
        ending::close(slf.as_super())
    }

    /// True.
    #[expect(clippy::unused_self, reason = "a method of every transport")]
    fn can_write_eof(&self) -> bool {
        true
    }

    #[getter]
    fn _pipe<'py>(slf: &Bound<'py, Self>) -> Option<Bound<'py, PyAny>> {
        slf.as_super().get().file(slf.py())
    }

    #[getter]
    fn _fileno(slf: &Bound<'_, Self>) -> c_int {
        slf.as_super().get().state.lock().fd
    }
}
