//! `sock_recv`, `sock_recv_into`, `sock_recvfrom`, `sock_recvfrom_into`, `sock_accept`.

use super::{Doing, Operation, Sock, Tried};
use crate::asyncio::await_::Await;
use crate::asyncio::looping::{Direction, LoopCore};
use crate::asyncio::net::accept;
use crate::asyncio::net::address::{self, Address};
use crate::asyncio::net::outgoing::View;
use crate::asyncio::net::stream::read::{MAX_SIZE, receive_up_to};
use crate::asyncio::net::sys;
use crate::held::Held;
use libc::c_int;
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

struct Receive(isize);

impl Operation for Receive {
    const NAME: &'static str = "BaseSelectorEventLoop.sock_recv";
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, py: Python<'_>, sock: &Sock) -> Tried {
        match (sock.fd(), usize::try_from(self.0)) {
            (Some(fd), Ok(size)) if size <= MAX_SIZE => {
                let data = Sock::tried(py, receive_up_to(py, fd, size, sys::receive))?;
                Ok(data.map(|data| data.into_any().unbind()))
            }
            _ => Sock::asked(py, sock.object(py).call_method1(intern!(py, "recv"), (self.0,))),
        }
    }

    fn traverse(&self, _: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        Ok(())
    }
}

/// Receives up to `n` bytes.
///
/// # Errors
/// `MemoryError`.
#[pyfunction]
pub fn _sock_recv<'py>(
    event_loop: &Bound<'py, LoopCore>,
    sock: &Bound<'py, PyAny>,
    n: isize,
) -> PyResult<Bound<'py, Await>> {
    Await::create(event_loop.py(), Doing::new(event_loop, sock, Receive(n)))
}

struct Into(Held);

impl Operation for Into {
    const NAME: &'static str = "BaseSelectorEventLoop.sock_recv_into";
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, py: Python<'_>, sock: &Sock) -> Tried {
        let buffer = self.0.bind(py);
        let Some(fd) = sock.fd() else {
            return Sock::asked(
                py,
                sock.object(py).call_method1(intern!(py, "recv_into"), (buffer,)),
            );
        };
        let mut view = View::writable(&buffer)?;
        let count = Sock::tried(py, sys::receive(fd, view.bytes_mut()))?;
        number(py, count)
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.traverse(visit)
    }
}

fn number(py: Python<'_>, count: Option<usize>) -> Tried {
    match count {
        Some(count) => Ok(Some(count.into_pyobject(py)?.into_any().unbind())),
        None => Ok(None),
    }
}

/// Receives into `buf`; how many bytes.
///
/// # Errors
/// `MemoryError`.
#[pyfunction]
pub fn _sock_recv_into<'py>(
    event_loop: &Bound<'py, LoopCore>,
    sock: &Bound<'py, PyAny>,
    buf: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, Await>> {
    Await::create(event_loop.py(), Doing::new(event_loop, sock, Into(buf.into())))
}

struct From(isize);

/// The descriptor of a socket whose addresses are known here.
fn known(sock: &Sock) -> Option<c_int> {
    sock.fd().filter(|fd| Address::is_known(address::family(*fd)))
}

impl Operation for From {
    const NAME: &'static str = "BaseSelectorEventLoop.sock_recvfrom";
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, py: Python<'_>, sock: &Sock) -> Tried {
        match (known(sock), usize::try_from(self.0)) {
            (Some(fd), Ok(size)) if size <= MAX_SIZE => {
                let mut sender = Address::room();
                let data = Sock::tried(
                    py,
                    receive_up_to(py, fd, size, |fd, place| {
                        sys::receive_from(fd, place, &mut sender)
                    }),
                )?;
                let Some(data) = data else { return Ok(None) };
                pair(data.into_any(), &sender).map(Some)
            }
            _ => Sock::asked(
                py,
                sock.object(py).call_method1(intern!(py, "recvfrom"), (self.0,)),
            ),
        }
    }

    fn traverse(&self, _: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        Ok(())
    }
}

fn pair(first: Bound<'_, PyAny>, address: &Address) -> PyResult<Py<PyAny>> {
    let py = first.py();
    Ok(PyTuple::new(py, [first, address.to_python(py)?])?
        .into_any()
        .unbind())
}

/// Receives a datagram of up to `bufsize` bytes: its bytes, and where it is from.
///
/// # Errors
/// `MemoryError`.
#[pyfunction]
pub fn _sock_recvfrom<'py>(
    event_loop: &Bound<'py, LoopCore>,
    sock: &Bound<'py, PyAny>,
    bufsize: isize,
) -> PyResult<Bound<'py, Await>> {
    Await::create(event_loop.py(), Doing::new(event_loop, sock, From(bufsize)))
}

struct FromInto {
    buffer: Held,
    size: isize,
}

impl Operation for FromInto {
    const NAME: &'static str = "BaseSelectorEventLoop.sock_recvfrom_into";
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, py: Python<'_>, sock: &Sock) -> Tried {
        let buffer = self.buffer.bind(py);
        let Some(fd) = known(sock) else {
            let size = match self.size {
                0 => isize::try_from(buffer.len()?).unwrap_or(0),
                size => size,
            };
            let received = sock
                .object(py)
                .call_method1(intern!(py, "recvfrom_into"), (buffer, size));
            return Sock::asked(py, received);
        };
        let mut view = View::writable(&buffer)?;
        let size = match self.size {
            0 => view.len(),
            size => usize::try_from(size)
                .map_err(|_| PyValueError::new_err("negative buffersize in recvfrom_into"))?,
        };
        let Some(place) = view.bytes_mut().get_mut(..size) else {
            return Err(PyValueError::new_err(
                "nbytes is greater than the length of the buffer",
            ));
        };
        let mut sender = Address::room();
        let received = sys::receive_from(fd, place, &mut sender);
        let Some(count) = Sock::tried(py, received)? else {
            return Ok(None);
        };
        pair(count.into_pyobject(py)?.into_any(), &sender).map(Some)
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.buffer.traverse(visit)
    }
}

/// Receives a datagram into `buf`: how many bytes, and where it is from.
///
/// # Errors
/// `MemoryError`.
#[pyfunction]
#[pyo3(signature = (event_loop, sock, buf, nbytes=0))]
pub fn _sock_recvfrom_into<'py>(
    event_loop: &Bound<'py, LoopCore>,
    sock: &Bound<'py, PyAny>,
    buf: Bound<'py, PyAny>,
    nbytes: isize,
) -> PyResult<Bound<'py, Await>> {
    let operation = FromInto {
        buffer: buf.into(),
        size: nbytes,
    };
    Await::create(event_loop.py(), Doing::new(event_loop, sock, operation))
}

struct Accept;

impl Operation for Accept {
    const NAME: &'static str = "BaseSelectorEventLoop.sock_accept";
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, py: Python<'_>, sock: &Sock) -> Tried {
        let object = sock.object(py);
        let Some(fd) = known(sock) else {
            let accepted = object.call_method0(intern!(py, "accept")).and_then(|accepted| {
                accepted
                    .get_item(0)?
                    .call_method1(intern!(py, "setblocking"), (false,))?;
                Ok(accepted)
            });
            return Sock::asked(py, accepted);
        };
        let Some((new, peer)) = Sock::tried(py, sys::accept(fd))? else {
            return Ok(None);
        };
        let kind = accept::Family::of(&object)?;
        pair(kind.socket(py, new)?, &peer).map(Some)
    }

    fn traverse(&self, _: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        Ok(())
    }
}

/// Accepts a connection: its socket, and where it is from.
///
/// # Errors
/// `MemoryError`.
#[pyfunction]
pub fn _sock_accept<'py>(
    event_loop: &Bound<'py, LoopCore>,
    sock: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, Await>> {
    Await::create(event_loop.py(), Doing::new(event_loop, sock, Accept))
}
