//! `sock_sendall` and `sock_sendto`.

use super::{Doing, Operation, Sock, Tried};
use crate::asyncio::await_::Await;
use crate::asyncio::looping::{Direction, LoopCore};
use crate::asyncio::net::address::{self, Address};
use crate::asyncio::net::outgoing::View;
use crate::asyncio::net::sys;
use crate::held::Held;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;

struct All {
    data: Held,
    sent: usize,
}

impl Operation for All {
    const NAME: &'static str = "BaseSelectorEventLoop.sock_sendall";
    const DIRECTION: Direction = Direction::Write;

    fn attempt(&mut self, py: Python<'_>, sock: &Sock) -> Tried {
        let data = self.data.bind(py);
        let view = View::create(&data)?;
        let Some(rest) = view.bytes().get(self.sent..) else {
            return Ok(Some(py.None()));
        };
        let sent = match sock.fd() {
            Some(fd) => Sock::tried(py, sys::send(fd, rest))?,
            None => {
                let rest = PyMemoryView::from(&data)?.get_item(pyo3::types::PySlice::new(
                    py,
                    isize::try_from(self.sent).unwrap_or(isize::MAX),
                    isize::MAX,
                    1,
                ))?;
                let sent = Sock::asked(py, sock.object(py).call_method1(intern!(py, "send"), (rest,)))?;
                sent.map(|sent| sent.extract(py)).transpose()?
            }
        };
        self.sent += sent.unwrap_or(0);
        Ok((self.sent >= view.len() && sent.is_some()).then(|| py.None()))
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.data.traverse(visit)
    }
}

/// Sends all of `data`.
///
/// # Errors
/// `MemoryError`.
#[pyfunction]
pub fn _sock_sendall<'py>(
    event_loop: &Bound<'py, LoopCore>,
    sock: &Bound<'py, PyAny>,
    data: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, Await>> {
    let operation = All {
        data: data.into(),
        sent: 0,
    };
    Await::create(event_loop.py(), Doing::new(event_loop, sock, operation))
}

struct To {
    data: Held,
    address: Held,
}

impl Operation for To {
    const NAME: &'static str = "BaseSelectorEventLoop.sock_sendto";
    const DIRECTION: Direction = Direction::Write;

    fn attempt(&mut self, py: Python<'_>, sock: &Sock) -> Tried {
        let (data, address) = (self.data.bind(py), self.address.bind(py));
        let native = sock
            .fd()
            .and_then(|fd| Some((fd, Address::parse(address::family(fd), &address)?)));
        let Some((fd, address)) = native else {
            let sent = sock
                .object(py)
                .call_method1(intern!(py, "sendto"), (data, address));
            return Sock::asked(py, sent);
        };
        let view = View::create(&data)?;
        match Sock::tried(py, sys::send_to(fd, view.bytes(), &address))? {
            Some(sent) => Ok(Some(sent.into_pyobject(py)?.into_any().unbind())),
            None => Ok(None),
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.data.traverse(visit)?;
        self.address.traverse(visit)
    }
}

/// Sends `data` as one datagram to `address`; how many bytes.
///
/// # Errors
/// `MemoryError`.
#[pyfunction]
pub fn _sock_sendto<'py>(
    event_loop: &Bound<'py, LoopCore>,
    sock: &Bound<'py, PyAny>,
    data: Bound<'py, PyAny>,
    address: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, Await>> {
    let operation = To {
        data: data.into(),
        address: address.into(),
    };
    Await::create(event_loop.py(), Doing::new(event_loop, sock, operation))
}
