//! `StreamTransport`: TCP and UNIX streams.

pub mod read;
pub mod write;

use super::address::Address;
use super::kind::Kind;
use super::registry::Transports;
use super::wire::{self, Wire};
use super::{ending, sock, sys};
use crate::asyncio::looping::LoopCore;
use crate::held::Held;
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// A connection: what `asyncio.Transport` says, natively. Made by the loop.
#[pyclass(frozen, extends = Wire, module = "plait.asyncio")]
#[derive(Debug)]
pub struct StreamTransport;

/// Makes the transport of a connected socket, and has the loop begin with it.
///
/// # Errors
/// What the socket raises.
#[pyfunction]
#[pyo3(signature = (event_loop, sock, protocol, waiter=None, extra=None, server=None, context=None))]
pub fn _stream_transport<'py>(
    event_loop: &Bound<'py, LoopCore>,
    sock: &Bound<'py, PyAny>,
    protocol: &Bound<'py, PyAny>,
    waiter: Option<Bound<'py, PyAny>>,
    extra: Option<Bound<'py, PyAny>>,
    server: Option<Bound<'py, PyAny>>,
    context: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, StreamTransport>> {
    create(event_loop, sock, protocol, waiter, extra, server, context)
}

/// As `_stream_transport`.
///
/// # Errors
/// What the socket raises.
pub fn create<'py>(
    event_loop: &Bound<'py, LoopCore>,
    sock: &Bound<'py, PyAny>,
    protocol: &Bound<'py, PyAny>,
    waiter: Option<Bound<'py, PyAny>>,
    extra: Option<Bound<'py, PyAny>>,
    server: Option<Bound<'py, PyAny>>,
    context: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, StreamTransport>> {
    let py = event_loop.py();
    let extra = known(sock, extra)?;
    let wire = Wire::create(
        Kind::Stream,
        event_loop,
        sock,
        protocol,
        Some(extra.as_any()),
        server.as_ref(),
        context,
    )?;
    let transport = Bound::new(py, PyClassInitializer::from(wire).add_subclass(StreamTransport))?;
    let slf = transport.as_super();
    sys::set_no_delay(slf.get().state.lock().fd);
    begin(slf, protocol, waiter, server.as_ref())?;
    Ok(transport)
}

/// What `get_extra_info` knows of a socket.
///
/// # Errors
/// Those of the dictionary.
pub fn known<'py>(sock: &Bound<'py, PyAny>, extra: Option<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
    static WRAPPER: pyo3::sync::PyOnceLock<Py<PyAny>> = pyo3::sync::PyOnceLock::new();
    let py = sock.py();
    let wrapper = WRAPPER.get_or_try_init(py, || {
        Ok::<_, PyErr>(py.import("asyncio.trsock")?.getattr("TransportSocket")?.unbind())
    })?;
    let extra = extra.unwrap_or_else(|| PyDict::new(py).into_any());
    extra.set_item(intern!(py, "socket"), wrapper.bind(py).call1((sock,))?)?;
    let or_none = |name: PyResult<Bound<'py, PyAny>>| name.unwrap_or_else(|_| py.None().into_bound(py));
    extra.set_item(intern!(py, "sockname"), or_none(name(sock, false)))?;
    if !extra.contains(intern!(py, "peername"))? {
        extra.set_item(intern!(py, "peername"), or_none(name(sock, true)))?;
    }
    Ok(extra)
}

/// `getsockname()`, or `getpeername()`.
fn name<'py>(sock: &Bound<'py, PyAny>, peer: bool) -> PyResult<Bound<'py, PyAny>> {
    let py = sock.py();
    if sock.get_type().is(sock::class(py)?) {
        let fd = sock.call_method0(intern!(py, "fileno"))?.extract()?;
        let address = sys::name(fd, peer).map_err(|errno| sys::error(py, errno))?;
        if Address::is_known(address.storage.ss_family.into()) {
            return address.to_python(py);
        }
    }
    sock.call_method0(if peer { "getpeername" } else { "getsockname" })
}

/// Registers a new transport, and has the loop call `connection_made`, then read, then wake the waiter.
///
/// # Errors
/// The loop's.
pub fn begin(
    slf: &Bound<'_, Wire>,
    protocol: &Bound<'_, PyAny>,
    waiter: Option<Bound<'_, PyAny>>,
    server: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let py = slf.py();
    let Some(event_loop) = slf.get().event_loop(py) else {
        return Ok(());
    };
    if let Some(server) = server {
        ending::attach(slf, server)?;
    }
    let fd = slf.get().state.lock().fd;
    let transports = event_loop.getattr(intern!(py, "_transports"))?;
    match transports.cast::<Transports>() {
        Ok(transports) => transports.get().put(fd, slf.as_any())?,
        Err(_) => transports.set_item(fd, slf)?,
    }
    let made = protocol.getattr(intern!(py, "connection_made"))?;
    event_loop.call_method1(intern!(py, "call_soon"), (made, slf))?;
    let waiter = waiter.unwrap_or_else(|| py.None().into_bound(py));
    wire::soon(slf, started, waiter.unbind());
    Ok(())
}

/// After `connection_made`.
fn started(slf: &Bound<'_, PyAny>, waiter: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: registered with transports only.
    let slf = unsafe { Wire::of(slf) };
    // Who waits for the connection hears of it, also where the kernel does not let the socket be watched.
    let watched = wire::watch_read(slf);
    if !waiter.is_none() {
        write::complete(waiter)?;
    }
    watched
}

#[pymethods]
impl StreamTransport {
    /// Sends `data`: at once if the kernel takes it, else as it does. Never waits.
    fn write(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        write::write(slf.as_super(), data)
    }

    /// Sends several pieces in one system call.
    fn writelines(slf: &Bound<'_, Self>, list_of_data: &Bound<'_, PyAny>) -> PyResult<()> {
        write::write_lines(slf.as_super(), list_of_data)
    }

    /// Ends what is sent, once everything written has left; reading goes on.
    fn write_eof(slf: &Bound<'_, Self>) -> PyResult<()> {
        write::write_eof(slf.as_super())
    }

    /// True.
    #[expect(clippy::unused_self, reason = "a method of every transport")]
    fn can_write_eof(&self) -> bool {
        true
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
    fn _eof(slf: &Bound<'_, Self>) -> bool {
        slf.as_super().get().state.lock().eof
    }

    #[getter]
    fn _empty_waiter<'py>(slf: &Bound<'py, Self>) -> Option<Bound<'py, PyAny>> {
        let py = slf.py();
        let state = slf.as_super().get().state.lock();
        let waiter = state.empty_waiter.as_ref()?.clone_ref(py);
        Some(waiter.into_bound(py))
    }

    fn _make_empty_waiter<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let wire = slf.as_super();
        if wire.get().state.lock().empty_waiter.is_some() {
            return Err(PyRuntimeError::new_err("Empty waiter is already set"));
        }
        write::uncork(wire)?;
        let event_loop = wire.get().event_loop(py);
        let event_loop = event_loop.ok_or_else(|| PyRuntimeError::new_err("Transport is closing"))?;
        let waiter = event_loop.call_method0(intern!(py, "create_future"))?;
        let empty = {
            let mut state = wire.get().state.lock();
            // SAFETY: the future is alive, and the thread attached.
            state.empty_waiter = Some(unsafe { Held::new(waiter.as_ptr()) });
            state.outgoing.is_empty()
        };
        if empty {
            write::complete(&waiter)?;
        }
        Ok(waiter)
    }

    fn _reset_empty_waiter(slf: &Bound<'_, Self>) {
        let waiter = slf.as_super().get().state.lock().empty_waiter.take();
        drop(waiter);
    }
}
