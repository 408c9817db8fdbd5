//! Accepting connections: as many as have come, a native transport for each, without a task.
//!
//! A connection with TLS is the standard library's `_accept_connection2`, in a task: it has to wait for the handshake.
//! When the process is out of descriptors the listening socket is left alone for a second, as asyncio does.

use super::address::Address;
use super::wire::within;
use super::{report, sock, stream, sys};
use crate::asyncio::looping::{Direction, LoopCore, Native};
use crate::asyncio::task::wrapper::copy_context;
use crate::held::Held;
use libc::c_int;
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// What the sockets that a listening socket gives are.
#[derive(Debug)]
pub struct Family {
    family: Held,
    kind: Held,
    protocol: Held,
}

impl Family {
    /// As the listening socket.
    ///
    /// # Errors
    /// What it raises.
    pub fn of(listening: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = listening.py();
        Ok(Self {
            family: listening.getattr(intern!(py, "family"))?.into(),
            kind: listening.getattr(intern!(py, "type"))?.into(),
            protocol: listening.getattr(intern!(py, "proto"))?.into(),
        })
    }

    /// A socket object around a new descriptor, nonblocking. If it fails the descriptor is closed.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn socket<'py>(&self, py: Python<'py>, fd: c_int) -> PyResult<Bound<'py, PyAny>> {
        let (family, kind, protocol) = (self.family.bind(py), self.kind.bind(py), self.protocol.bind(py));
        let made = sock::class(py).and_then(|class| class.call1((family, kind, protocol, fd)));
        match made {
            Ok(made) => {
                made.call_method1(intern!(py, "setblocking"), (false,))?;
                Ok(made)
            }
            Err(error) => {
                sys::close(fd);
                Err(error)
            }
        }
    }
}

/// A listening socket, and what is done with a connection.
#[pyclass(frozen, module = "plait.asyncio")]
#[derive(Debug)]
pub struct Listener {
    event_loop: Held,
    listening: Held,
    fd: c_int,
    family: Family,
    factory: Held,
    server: Held,
    backlog: u32,
    /// The arguments of `_start_serving`, to begin again.
    again: Held,
    /// sslcontext and the timeouts, if there is one.
    tls: Option<(Held, Held, Held)>,
    context: Held,
}

/// Accepts connections on `sock` from here on.
///
/// # Errors
/// The loop's.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "those of asyncio's _start_serving")]
pub fn _listen(
    event_loop: &Bound<'_, LoopCore>,
    factory: Bound<'_, PyAny>,
    sock: Bound<'_, PyAny>,
    sslcontext: Bound<'_, PyAny>,
    server: Bound<'_, PyAny>,
    backlog: u32,
    handshake_timeout: Bound<'_, PyAny>,
    shutdown_timeout: Bound<'_, PyAny>,
    context: Option<Bound<'_, PyAny>>,
) -> PyResult<()> {
    let py = event_loop.py();
    let Ok(fd) = sock.call_method0(intern!(py, "fileno"))?.extract() else {
        let text = format!("Invalid file object: {}", sock.repr()?);
        return Err(PyValueError::new_err(text));
    };
    let family = Family::of(&sock)?;
    let again = (
        &factory,
        &sock,
        &sslcontext,
        &server,
        backlog,
        &handshake_timeout,
        &shutdown_timeout,
        &context,
    )
        .into_pyobject(py)?;
    let context = match context {
        Some(context) => context,
        None => copy_context(py)?,
    };
    let tls = sslcontext.is_truthy()?.then(|| {
        (
            sslcontext.into(),
            handshake_timeout.into(),
            shutdown_timeout.into(),
        )
    });
    let listener = Listener {
        event_loop: event_loop.clone().into_any().into(),
        listening: sock.into(),
        fd,
        family,
        factory: factory.into(),
        server: server.into(),
        backlog,
        again: again.into_any().into(),
        tls,
        context: context.into(),
    };
    let native = Native {
        run: ready,
        object: Bound::new(py, listener)?.into_any().unbind(),
        argument: py.None(),
    };
    event_loop.get().watch(py, fd, Direction::Read, native)
}

/// What the loop calls when connections have come.
fn ready(listener: &Bound<'_, PyAny>, _: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = listener.py();
    // SAFETY: registered as one.
    let listener = unsafe { listener.cast_unchecked::<Listener>() }.get();
    let core = listener.event_loop.clone_ref(py).into_bound(py);
    // SAFETY: put in as one.
    let core: Bound<'_, LoopCore> = unsafe { core.cast_into_unchecked() };
    for _ in 0..=listener.backlog {
        match sys::accept(listener.fd) {
            Ok((fd, peer)) => listener.accepted(&core, fd, &peer)?,
            Err(errno) if sys::would_block(errno) => return Ok(()),
            // Gone before it was accepted.
            Err(libc::ECONNABORTED) => {}
            Err(errno @ (libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)) => {
                return listener.rest(&core, sys::error(py, errno));
            }
            Err(errno) => return Err(sys::error(py, errno)),
        }
        if !core.get().watches(listener.fd, Direction::Read) {
            // The protocol has closed the server.
            return Ok(());
        }
    }
    Ok(())
}

impl Listener {
    fn accepted(&self, core: &Bound<'_, LoopCore>, fd: c_int, peer: &Address) -> PyResult<()> {
        let py = core.py();
        let conn = self.family.socket(py, fd)?;
        let address = peer.to_python(py)?;
        if core.get().is_debug() {
            let keywords = (self.server.bind(py), &address, &conn);
            let arguments = (
                "%r got a new connection from %r: %r",
                keywords.0,
                keywords.1,
                keywords.2,
            );
            report::logger(py)?.call_method1(intern!(py, "debug"), arguments)?;
        }
        let extra = PyDict::new(py);
        extra.set_item(intern!(py, "peername"), address)?;
        // Each connection has a context of its own: what it sets is seen by no other.
        // SAFETY: a context, alive; the call gives a new reference or an exception.
        let context =
            unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_Copy(self.context.as_ptr()))? };
        let context = Held::from(context);
        match &self.tls {
            None => within(py, &context, || {
                self.begin(core, &conn, extra.into_any(), &context.bind(py))
            }),
            // From 3.15 on the task that shakes hands runs in that very context, and not in a copy.
            Some(tls) if cfg!(Py_3_15) => self.begin_tls(core, conn, &extra, tls, Some(&context.bind(py))),
            Some(tls) => within(py, &context, || self.begin_tls(core, conn, &extra, tls, None)),
        }
    }

    fn begin(
        &self,
        core: &Bound<'_, LoopCore>,
        conn: &Bound<'_, PyAny>,
        extra: Bound<'_, PyAny>,
        context: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = core.py();
        let server = self.server.bind(py);
        let server = (!server.is_none()).then(|| server.to_owned());
        let mut protocol = None;
        let made = self.factory.bind(py).call0().and_then(|made| {
            let made = protocol.insert(made);
            stream::create(core, conn, made, None, Some(extra), server, Some(context))
        });
        let Err(error) = made else { return Ok(()) };
        conn.call_method0(intern!(py, "close"))?;
        if report::is_exit(py, &error) {
            return Err(error);
        }
        if core.get().is_debug() {
            let said = PyDict::new(py);
            said.set_item("message", "Error on transport creation for incoming connection")?;
            said.set_item("exception", error.into_value(py))?;
            if let Some(protocol) = protocol {
                said.set_item("protocol", protocol)?;
            }
            core.call_method1(intern!(py, "call_exception_handler"), (said,))?;
        }
        Ok(())
    }

    fn begin_tls(
        &self,
        core: &Bound<'_, LoopCore>,
        conn: Bound<'_, PyAny>,
        extra: &Bound<'_, PyDict>,
        (sslcontext, handshake, shutdown): &(Held, Held, Held),
        context: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = core.py();
        let named = PyDict::new(py);
        if let Some(context) = context {
            named.set_item(intern!(py, "context"), context)?;
        }
        let accepting = core.call_method(
            intern!(py, "_accept_connection2"),
            (
                self.factory.bind(py),
                conn,
                extra,
                sslcontext.bind(py),
                self.server.bind(py),
                handshake.bind(py),
                shutdown.bind(py),
            ),
            Some(&named),
        )?;
        core.call_method(intern!(py, "create_task"), (accepting,), Some(&named))
            .map(drop)
    }

    /// Out of descriptors, or memory: the kernel goes on saying that there is a connection, so it is not asked for a while.
    fn rest(&self, core: &Bound<'_, LoopCore>, error: PyErr) -> PyResult<()> {
        let py = core.py();
        let context = PyDict::new(py);
        context.set_item("message", "socket.accept() out of system resource")?;
        context.set_item("exception", error.into_value(py))?;
        let wrapper = py.import("asyncio.trsock")?.getattr("TransportSocket")?;
        context.set_item("socket", wrapper.call1((self.listening.bind(py),))?)?;
        core.call_method1(intern!(py, "call_exception_handler"), (context,))?;
        core.get().unwatch(py, self.fd, Direction::Read);
        let delay = py.import("asyncio.constants")?.getattr("ACCEPT_RETRY_DELAY")?;
        let again = self.again.bind(py);
        let again = again.cast::<PyTuple>()?;
        let mut arguments = vec![delay, core.getattr("_start_serving")?];
        arguments.extend(again.iter());
        core.call_method1(intern!(py, "call_later"), PyTuple::new(py, arguments)?)
            .map(drop)
    }
}

#[pymethods]
impl Listener {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<Listener of {}>", self.listening.bind(py).repr()?))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let held = [
            &self.event_loop,
            &self.listening,
            &self.factory,
            &self.server,
            &self.again,
            &self.context,
        ];
        for held in held {
            held.traverse(&visit)?;
        }
        if let Some((sslcontext, _, _)) = &self.tls {
            sslcontext.traverse(&visit)?;
        }
        Ok(())
    }
}
