//! `sock_connect`: resolves a name if there is one, begins to connect, waits for the end.

use super::{Sock, blocks};
use crate::asyncio::await_::{Await, Drive, Driven, Machine, Resume, Step};
use crate::asyncio::looping::{Direction, LoopCore};
use crate::asyncio::net::address::{self, Address};
use crate::asyncio::net::sys;
use crate::held::Held;
use pyo3::exceptions::PyOSError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

enum Phase {
    New,
    Resolving(Drive),
    Connecting,
}

struct Connect {
    sock: Sock,
    address: Held,
    phase: Phase,
}

impl Connect {
    /// The resolving of the standard library, if the address has a name that needs it.
    fn resolve(&self, py: Python<'_>) -> PyResult<Option<Drive>> {
        let family = self.sock.fd().map_or(libc::AF_INET, address::family);
        let address = self.address.bind(py);
        if !matches!(family, libc::AF_INET | libc::AF_INET6) || Address::parse(family, &address).is_some() {
            return Ok(None);
        }
        let (core, object) = (self.sock.core(py), self.sock.object(py));
        let keywords = PyDict::new(py);
        for name in ["family", "type", "proto"] {
            keywords.set_item(name, object.getattr(name)?)?;
        }
        keywords.set_item("loop", &core)?;
        let resolving = core.call_method("_ensure_resolved", (address,), Some(&keywords))?;
        Drive::new(&resolving).map(Some)
    }

    fn resolved(&mut self, py: Python<'_>, resolving: Drive, resume: Resume) -> PyResult<Step> {
        match resolving.step(py, resume)? {
            Driven::Suspends(step) => {
                self.phase = Phase::Resolving(resolving);
                Ok(step)
            }
            Driven::Returned(found) => {
                let address = found.bind(py).get_item(0)?.get_item(4)?;
                let old = std::mem::replace(&mut self.address, address.into());
                drop(old);
                self.begin(py)
            }
        }
    }

    fn begin(&mut self, py: Python<'_>) -> PyResult<Step> {
        self.phase = Phase::Connecting;
        let address = self.address.bind(py);
        match self
            .sock
            .object(py)
            .call_method1(intern!(py, "connect"), (address,))
        {
            Ok(_) => Ok(Step::ReturnNone),
            Err(error) if blocks(py, &error) => self.sock.wait(py, Direction::Write),
            Err(error) => Err(error),
        }
    }

    /// The descriptor can be written: it is connected, or never will be.
    fn end(&mut self, py: Python<'_>) -> PyResult<Step> {
        let errno = match self.sock.fd() {
            Some(fd) => sys::pending_error(fd),
            None => {
                let option = (libc::SOL_SOCKET, libc::SO_ERROR);
                let errno = self
                    .sock
                    .object(py)
                    .call_method1(intern!(py, "getsockopt"), option)?;
                errno.extract()?
            }
        };
        if errno == 0 {
            return Ok(Step::ReturnNone);
        }
        let address = self.address.bind(py).str()?;
        let error = PyOSError::new_err((errno, format!("Connect call failed {address}")));
        if blocks(py, &error) {
            return self.sock.wait(py, Direction::Write);
        }
        Err(error)
    }
}

impl Machine for Connect {
    const NAME: &'static str = "BaseSelectorEventLoop.sock_connect";

    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        self.sock.leave(py, Direction::Write);
        let resume = match (std::mem::replace(&mut self.phase, Phase::Connecting), resume) {
            (Phase::Resolving(resolving), resume) => return self.resolved(py, resolving, resume),
            (_, Resume::Throw(error)) => return Err(error),
            (Phase::Connecting, Resume::Next) => return self.end(py),
            (Phase::New, resume) => resume,
        };
        self.sock.check(py)?;
        match self.resolve(py)? {
            Some(resolving) => self.resolved(py, resolving, resume),
            None => self.begin(py),
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.sock.traverse(visit)?;
        self.address.traverse(visit)?;
        match &self.phase {
            Phase::Resolving(resolving) => resolving.traverse(visit),
            _ => Ok(()),
        }
    }
}

/// Connects to `address`.
///
/// # Errors
/// `MemoryError`.
#[pyfunction]
pub fn _sock_connect<'py>(
    event_loop: &Bound<'py, LoopCore>,
    sock: &Bound<'py, PyAny>,
    address: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, Await>> {
    let machine = Connect {
        sock: Sock::new(event_loop, sock),
        address: address.into(),
        phase: Phase::New,
    };
    Await::create(event_loop.py(), machine)
}
