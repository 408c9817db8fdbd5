//! The socket methods of the loop: `sock_recv` and the rest, each a machine.
//!
//! An operation is tried at once. If it would block, the machine has the loop watch the descriptor, waits for a future of its
//! own, and tries again; so what arrives is never taken from the kernel for somebody who has been cancelled. Whoever watches a
//! descriptor in one direction last has it, as with `add_reader`: a machine ends only the watch that is its own.
//!
//! Exact sockets are used by their descriptor. Those of other classes are asked to do it, since they may know better.

pub mod connect;
pub mod receive;
pub mod send;

use super::sys::{self, Errno};
use crate::asyncio::await_::{Machine, Resume, Step};
use crate::asyncio::future::Future;
use crate::asyncio::looping::{Direction, LoopCore, Native};
use crate::held::Held;
use libc::c_int;
use pyo3::exceptions::{PyBlockingIOError, PyInterruptedError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// The class `socket.socket`.
///
/// # Errors
/// Those of the import.
pub fn class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    CLASS
        .get_or_try_init(py, || {
            Ok::<_, PyErr>(py.import("socket")?.getattr("socket")?.unbind())
        })
        .map(|class| class.bind(py))
}

/// A socket object, and the loop that waits at it.
#[derive(Debug)]
pub struct Sock {
    event_loop: Held,
    object: Held,
    fd: c_int,
    exact: bool,
    /// What the machine waits for.
    future: Option<Held>,
}

/// The value of an operation; None if it would block.
pub type Tried = PyResult<Option<Py<PyAny>>>;

impl Sock {
    /// Not looked at yet.
    pub fn new(event_loop: &Bound<'_, LoopCore>, object: &Bound<'_, PyAny>) -> Self {
        Self {
            event_loop: event_loop.clone().into_any().into(),
            object: object.clone().into(),
            fd: -1,
            exact: false,
            future: None,
        }
    }

    /// The checks of every method, in the standard library's words.
    ///
    /// # Errors
    /// `TypeError` for a TLS socket, `ValueError` for one that blocks, in debug mode.
    pub fn check(&mut self, py: Python<'_>) -> PyResult<()> {
        let object = self.object.bind(py);
        self.exact = object.get_type().is(class(py)?);
        if !self.exact {
            static CHECK: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
            let check = CHECK.get_or_try_init(py, || {
                let module = py.import("asyncio.base_events")?;
                Ok::<_, PyErr>(module.getattr("_check_ssl_socket")?.unbind())
            })?;
            check.bind(py).call1((object,))?;
        }
        if self.core(py).get().is_debug() && !object.call_method0(intern!(py, "gettimeout"))?.eq(0)? {
            return Err(PyValueError::new_err("the socket must be non-blocking"));
        }
        self.fd = object.call_method0(intern!(py, "fileno"))?.extract()?;
        Ok(())
    }

    /// The loop.
    pub fn core<'py>(&self, py: Python<'py>) -> Bound<'py, LoopCore> {
        let event_loop = self.event_loop.clone_ref(py).into_bound(py);
        // SAFETY: it was put in as one.
        unsafe { event_loop.cast_into_unchecked() }
    }

    /// The socket object.
    pub fn object<'a, 'py>(&'a self, py: Python<'py>) -> Borrowed<'a, 'py, PyAny> {
        self.object.bind(py)
    }

    /// The descriptor, if system calls may be made on it.
    pub fn fd(&self) -> Option<c_int> {
        self.exact.then_some(self.fd)
    }

    /// Has the loop watch, and waits until the descriptor is ready.
    ///
    /// # Errors
    /// `RuntimeError` if a transport has the descriptor; the loop's.
    pub fn wait(&mut self, py: Python<'_>, direction: Direction) -> PyResult<Step> {
        let core = self.core(py);
        core.call_method1(intern!(py, "_ensure_fd_no_transport"), (self.fd,))?;
        let future = Future::create(py, core.as_any())?;
        let native = Native {
            run: match direction {
                Direction::Read => can_read,
                Direction::Write => can_write,
            },
            object: future.clone().into_any().unbind(),
            argument: self.waits_at(py)?,
        };
        core.get().watch(py, self.fd, direction, native)?;
        self.future = Some(future.clone().into_any().into());
        Ok(Step::Wait(future.unbind()))
    }

    fn waits_at(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let event_loop = self.event_loop.bind(py);
        Ok((event_loop, self.fd).into_pyobject(py)?.into_any().unbind())
    }

    /// The machine waits no more; what it was woken for, if it was.
    pub fn leave(&mut self, py: Python<'_>, direction: Direction) {
        if let Some(future) = self.future.take() {
            self.core(py)
                .get()
                .unwatch_own(py, self.fd, direction, &future.into_bound(py));
        }
    }

    /// The result of a system call.
    ///
    /// # Errors
    /// `OSError`.
    pub fn tried<T>(py: Python<'_>, result: Result<T, Errno>) -> PyResult<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(errno) if sys::would_block(errno) => Ok(None),
            Err(errno) => Err(sys::error(py, errno)),
        }
    }

    /// The same of a method of the socket object.
    ///
    /// # Errors
    /// What it raises.
    pub fn asked(py: Python<'_>, result: PyResult<Bound<'_, PyAny>>) -> Tried {
        match result {
            Ok(value) => Ok(Some(value.unbind())),
            Err(error) if blocks(py, &error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// For `__traverse__`.
    ///
    /// # Errors
    /// What the visitor returns.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.event_loop.traverse(visit)?;
        self.object.traverse(visit)?;
        self.future
            .as_ref()
            .map_or(Ok(()), |future| future.traverse(visit))
    }
}

/// Whether an error says that it is to be tried again later.
pub fn blocks(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyBlockingIOError>(py) || error.is_instance_of::<PyInterruptedError>(py)
}

fn can_read(future: &Bound<'_, PyAny>, place: &Bound<'_, PyAny>) -> PyResult<()> {
    ready(future, place, Direction::Read)
}

fn can_write(future: &Bound<'_, PyAny>, place: &Bound<'_, PyAny>) -> PyResult<()> {
    ready(future, place, Direction::Write)
}

/// What the loop calls when the descriptor is ready: once, the machine watches again if it has to.
fn ready(future: &Bound<'_, PyAny>, place: &Bound<'_, PyAny>, direction: Direction) -> PyResult<()> {
    let py = future.py();
    let (event_loop, fd): (Bound<'_, LoopCore>, c_int) = place.extract()?;
    event_loop.get().unwatch_own(py, fd, direction, future);
    // SAFETY: `wait` has put it there.
    let future = unsafe { future.cast_unchecked::<Future>() };
    if future.get().is_done() {
        return Ok(());
    }
    Future::finish(future, py.None())
}

/// One method of the loop.
pub trait Operation: Send + Sync {
    /// Its name.
    const NAME: &'static str;
    /// What it waits for.
    const DIRECTION: Direction;

    /// Tries it.
    ///
    /// # Errors
    /// What the `await` is to raise.
    fn attempt(&mut self, py: Python<'_>, sock: &Sock) -> Tried;

    /// For `__traverse__`.
    ///
    /// # Errors
    /// What the visitor returns.
    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError>;
}

/// The machine of an operation.
pub struct Doing<O> {
    pub sock: Sock,
    pub operation: O,
    begun: bool,
}

impl<O> Doing<O> {
    /// Of `event_loop`, on `sock`.
    pub fn new(event_loop: &Bound<'_, LoopCore>, sock: &Bound<'_, PyAny>, operation: O) -> Self {
        Self {
            sock: Sock::new(event_loop, sock),
            operation,
            begun: false,
        }
    }
}

impl<O: Operation> Machine for Doing<O> {
    const NAME: &'static str = O::NAME;

    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        self.sock.leave(py, O::DIRECTION);
        if let Resume::Throw(error) = resume {
            return Err(error);
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.sock.check(py)?;
        }
        match self.operation.attempt(py, &self.sock)? {
            Some(value) => Ok(Step::Return(value)),
            None => self.sock.wait(py, O::DIRECTION),
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.sock.traverse(visit)?;
        self.operation.traverse(visit)
    }
}
