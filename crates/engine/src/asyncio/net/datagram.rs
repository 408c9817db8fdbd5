//! `DatagramTransport`: UDP and UNIX datagrams.
//!
//! Each datagram is one system call. A few that have come are read at once, as long as the protocol wants them. An address
//! that is numeric is read natively; any other is left to the socket object, which may resolve it.

use super::address::{self, Address};
use super::kind::Kind;
use super::outgoing::{Piece, View, bytes_of};
use super::stream::read;
use super::sys::{self, Errno};
use super::wire::{self, Call, Wire, within};
use super::{ending, flow, report, sock, stream};
use crate::asyncio::looping::LoopCore;
use crate::held::Held;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// So many are read before the loop turns.
const BURST: usize = 8;
/// As for streams.
const LOST_WRITES: u32 = 5;

/// A datagram endpoint: what `asyncio.DatagramTransport` says, natively. Made by the loop.
#[pyclass(frozen, extends = Wire, module = "plait.asyncio")]
#[derive(Debug)]
pub struct DatagramTransport;

/// Makes the transport of a datagram socket, and has the loop begin with it.
///
/// # Errors
/// What the socket raises.
#[pyfunction]
#[pyo3(signature = (event_loop, sock, protocol, address=None, waiter=None, extra=None))]
pub fn _datagram_transport<'py>(
    event_loop: &Bound<'py, LoopCore>,
    sock: &Bound<'py, PyAny>,
    protocol: &Bound<'py, PyAny>,
    address: Option<Bound<'py, PyAny>>,
    waiter: Option<Bound<'py, PyAny>>,
    extra: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, DatagramTransport>> {
    let py = event_loop.py();
    let extra = stream::known(sock, extra)?;
    let connected = extra.get_item(intern!(py, "peername"))?.is_truthy()?;
    let wire = Wire::create(
        Kind::Datagram,
        event_loop,
        sock,
        protocol,
        Some(&extra),
        None,
        None,
    )?;
    {
        let mut state = wire.state.lock();
        state.connected = connected;
        state.family = address::family(state.fd);
        state.address = address.filter(|address| !address.is_none()).map(Held::from);
    }
    let transport = Bound::new(py, PyClassInitializer::from(wire).add_subclass(DatagramTransport))?;
    stream::begin(transport.as_super(), protocol, waiter, None)?;
    Ok(transport)
}

/// What the loop calls when a datagram has come.
///
/// # Errors
/// What the protocol raises: the loop reports it.
pub fn read_ready(slf: &Bound<'_, PyAny>, _: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: registered with transports only.
    let slf = unsafe { Wire::of(slf) };
    for _ in 0..BURST {
        if !read_one(slf)? {
            break;
        }
    }
    Ok(())
}

/// Reads a datagram and gives it to the protocol; false if there was none, or none is wanted.
fn read_one(slf: &Bound<'_, Wire>) -> PyResult<bool> {
    let py = slf.py();
    let Some(call) = slf.get().reading(py) else {
        return Ok(false);
    };
    let mut sender = Address::room();
    let known = Address::is_known(slf.get().state.lock().family);
    if !known {
        return ask_one(slf, &call);
    }
    let received = read::receive_up_to(py, call.fd, read::MAX_SIZE, |fd, place| {
        sys::receive_from(fd, place, &mut sender)
    });
    let protocol = call.protocol.bind(py);
    within(py, &call.context, || match received {
        Ok(data) => {
            let sender = sender.to_python(py)?;
            protocol.call_method1(intern!(py, "datagram_received"), (data, sender))?;
            Ok(true)
        }
        Err(errno) if sys::would_block(errno) => Ok(false),
        Err(errno) => {
            let error = sys::error(py, errno).into_value(py);
            protocol.call_method1(intern!(py, "error_received"), (error,))?;
            Ok(false)
        }
    })
}

/// The same for a socket of a family whose addresses only the socket object knows.
fn ask_one(slf: &Bound<'_, Wire>, call: &Call) -> PyResult<bool> {
    let py = slf.py();
    let Some(sock) = slf.get().file(py) else {
        return Ok(false);
    };
    let protocol = call.protocol.bind(py);
    within(py, &call.context, || {
        match sock.call_method1(intern!(py, "recvfrom"), (read::MAX_SIZE,)) {
            Ok(received) => {
                let received = received.cast_into::<PyTuple>()?;
                protocol.call_method1(intern!(py, "datagram_received"), received)?;
                Ok(true)
            }
            Err(error) if sock::blocks(py, &error) => Ok(false),
            Err(error) if report::is_os_error(py, &error) => {
                protocol.call_method1(intern!(py, "error_received"), (error.into_value(py),))?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    })
}

/// Why a datagram did not leave.
enum Failure {
    /// There is no room; it can be tried again.
    Full,
    /// Something that happens.
    Os(PyErr),
    /// A mistake.
    Other(PyErr),
}

impl Failure {
    fn create(py: Python<'_>, error: PyErr) -> Self {
        if sock::blocks(py, &error) {
            Self::Full
        } else if report::is_os_error(py, &error) {
            Self::Os(error)
        } else {
            Self::Other(error)
        }
    }
}

fn send(
    slf: &Bound<'_, Wire>,
    bytes: &[u8],
    data: &Bound<'_, PyAny>,
    address: Option<&Bound<'_, PyAny>>,
) -> Result<(), Failure> {
    let py = slf.py();
    let (fd, family, connected) = {
        let state = slf.get().state.lock();
        (state.fd, state.family, state.connected)
    };
    let sent: Result<usize, Errno> = if connected {
        sys::send(fd, bytes)
    } else if let Some(address) = address.and_then(|address| Address::parse(family, address)) {
        sys::send_to(fd, bytes, &address)
    } else {
        let Some(sock) = slf.get().file(py) else {
            return Ok(());
        };
        return sock
            .call_method1(intern!(py, "sendto"), (data, address))
            .map(drop)
            .map_err(|error| Failure::create(py, error));
    };
    match sent {
        Ok(_) => Ok(()),
        Err(errno) if sys::would_block(errno) => Err(Failure::Full),
        Err(errno) => Err(Failure::create(py, sys::error(py, errno))),
    }
}

fn send_to(
    slf: &Bound<'_, Wire>,
    bytes: &[u8],
    data: &Bound<'_, PyAny>,
    address: Option<Bound<'_, PyAny>>,
) -> PyResult<()> {
    let py = slf.py();
    let only = {
        let state = slf.get().state.lock();
        state.address.as_ref().map(|address| address.clone_ref(py))
    };
    let address = match (only, address.filter(|address| !address.is_none())) {
        (None, address) => address,
        (Some(only), address) => {
            let only = only.into_bound(py);
            if let Some(address) = address
                && !address.eq(&only)?
            {
                return Err(PyValueError::new_err(format!(
                    "Invalid address: must be None or {}",
                    only.str()?
                )));
            }
            Some(only)
        }
    };
    let empty = {
        let mut state = slf.get().state.lock();
        if state.file.is_none() || (state.ended && state.address.is_some()) {
            let before = state.lost_writes.saturating_add(u32::from(state.ended));
            state.lost_writes = state.lost_writes.saturating_add(1);
            drop(state);
            if before >= LOST_WRITES {
                report::warn(py, Kind::Datagram.lost_write())?;
            }
            return Ok(());
        }
        state.outgoing.is_empty()
    };
    if empty {
        match send(slf, bytes, data, address.as_ref()) {
            Ok(()) => return Ok(()),
            Err(Failure::Full) => wire::watch_write(slf)?,
            Err(Failure::Os(error)) => return error_received(slf, error),
            Err(Failure::Other(error)) => return ending::fatal(slf, error, Kind::Datagram.write_failed()),
        }
    }
    let mut piece = Piece::create(data, 0)?;
    piece.address = address.map(Held::from);
    slf.get().state.lock().outgoing.push(piece);
    flow::maybe_pause(slf)
}

fn error_received(slf: &Bound<'_, Wire>, error: PyErr) -> PyResult<()> {
    let py = slf.py();
    match slf.get().protocol(py) {
        Some(protocol) => protocol
            .call_method1(intern!(py, "error_received"), (error.into_value(py),))
            .map(drop),
        None => Ok(()),
    }
}

/// What the loop calls when there is room.
///
/// # Errors
/// What the protocol raises: the loop reports it.
pub fn write_ready(slf: &Bound<'_, PyAny>, _: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = slf.py();
    // SAFETY: registered with transports only.
    let slf = unsafe { Wire::of(slf) };
    loop {
        let piece = {
            let mut state = slf.get().state.lock();
            if state.ended {
                return Ok(());
            }
            state.outgoing.pop()
        };
        let Some(piece) = piece else { break };
        let address = piece
            .address
            .as_ref()
            .map(|address| address.clone_ref(py).into_bound(py));
        match send(slf, piece.rest(), &piece.object(py), address.as_ref()) {
            Ok(()) => {}
            Err(Failure::Full) => {
                slf.get().state.lock().outgoing.push_front(piece);
                break;
            }
            Err(Failure::Os(error)) => return error_received(slf, error),
            Err(Failure::Other(error)) => return ending::fatal(slf, error, Kind::Datagram.write_failed()),
        }
    }
    flow::maybe_resume(slf)?; // The protocol may send.
    let (empty, lost) = {
        let mut state = slf.get().state.lock();
        let empty = state.outgoing.is_empty() && !state.ended;
        let lost = empty && state.closing;
        state.ended |= lost;
        (empty, lost)
    };
    if empty {
        wire::unwatch_write(slf);
    }
    if lost {
        ending::lost(slf.as_any(), &py.None().into_bound(py))?;
    }
    Ok(())
}

#[pymethods]
impl DatagramTransport {
    /// Sends one datagram, to `addr` or to the transport's only peer. Never waits.
    #[pyo3(signature = (data, addr=None))]
    fn sendto(
        slf: &Bound<'_, Self>,
        data: &Bound<'_, PyAny>,
        addr: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let wire = slf.as_super();
        // SAFETY: the object is alive.
        if unsafe { ffi::PyBytes_CheckExact(data.as_ptr()) } != 0 {
            // SAFETY: an exact bytes object, which the caller holds.
            let bytes = unsafe { bytes_of(data.as_ptr()) };
            if bytes.is_empty() && cfg!(not(Py_3_13)) {
                return Ok(());
            }
            return send_to(wire, bytes, data, addr);
        }
        // SAFETY: the object is alive.
        let fits = unsafe {
            ffi::PyBytes_Check(data.as_ptr()) != 0
                || ffi::PyByteArray_Check(data.as_ptr()) != 0
                || ffi::PyMemoryView_Check(data.as_ptr()) != 0
        };
        if !fits {
            let class = data.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "data argument must be a bytes-like object, not '{class}'"
            )));
        }
        match View::create(data) {
            Ok(view) if view.is_empty() && cfg!(not(Py_3_13)) => Ok(()),
            Ok(view) => send_to(wire, view.bytes(), data, addr),
            Err(error) => ending::fatal(wire, error, Kind::Datagram.write_failed()),
        }
    }

    #[getter]
    fn _sock<'py>(slf: &Bound<'py, Self>) -> Option<Bound<'py, PyAny>> {
        slf.as_super().get().file(slf.py())
    }

    #[getter]
    fn _sock_fd(slf: &Bound<'_, Self>) -> i32 {
        slf.as_super().get().state.lock().fd
    }

    #[getter]
    fn _address<'py>(slf: &Bound<'py, Self>) -> Option<Bound<'py, PyAny>> {
        let state = slf.as_super().get().state.lock();
        let address = state.address.as_ref()?.clone_ref(slf.py());
        Some(address.into_bound(slf.py()))
    }
}
