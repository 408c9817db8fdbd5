//! `Wire`: what every transport is, whatever it carries: a descriptor, a protocol, what is to be sent, how it ends.
//!
//! One structure and one set of transitions for streams, datagrams and both ends of pipes; what differs is told by
//! [`Kind`]. The class is the base of the four that programs see; the methods that they share are in `methods.rs`.
//!
//! Who may touch what: the loop's own thread, as with any transport. On a free-threaded build the guard keeps a program
//! that breaks this rule from breaking memory. Nothing is dropped and nothing called under the guard.

use super::kind::Kind;
use super::outgoing::Outgoing;
use super::{face, flow};
use crate::asyncio::looping::{Direction, Entry, LoopCore, Native};
use crate::asyncio::task::wrapper::copy_context;
use crate::guarded::Guarded;
use crate::held::Held;
use libc::c_int;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// What a transport knows.
#[derive(Debug)]
pub struct State {
    pub kind: Kind,
    pub fd: c_int,
    /// Nothing more will be read; set by `close`, or when it failed.
    pub closing: bool,
    /// The program has asked for a pause.
    pub paused: bool,
    /// `write_eof` has been called.
    pub eof: bool,
    /// The protocol gives the buffers to read into.
    pub buffered: bool,
    /// The loop calls us when there is something to read, or room to write.
    pub watching_read: bool,
    pub watching_write: bool,
    /// A flush at the end of the turn is on its way.
    pub corked: bool,
    /// The protocol has been asked to pause.
    pub protocol_paused: bool,
    /// `connection_lost` is on its way, or has been called.
    pub ended: bool,
    /// How often the program has written since.
    pub lost_writes: u32,
    /// A datagram socket with one peer.
    pub connected: bool,
    /// The address family, as the kernel says it.
    pub family: c_int,
    /// The loop's turn in which something was written at once.
    pub turn: Option<u64>,
    pub limits: flow::Limits,
    pub outgoing: Outgoing,
    /// None once `connection_lost` has been called, as are file, protocol and server.
    pub event_loop: Option<Py<LoopCore>>,
    pub file: Option<Held>,
    pub protocol: Option<Held>,
    pub server: Option<Held>,
    pub extra: Option<Held>,
    /// The context in which the protocol is called: a copy of that which made the transport.
    pub context: Option<Held>,
    /// A datagram transport's only peer.
    pub address: Option<Held>,
    /// Done once everything has been sent: sendfile waits for it.
    pub empty_waiter: Option<Held>,
}

impl State {
    /// What `get_write_buffer_size` says: since 3.13 a datagram counts 8 bytes more than it has.
    #[inline]
    pub fn buffer_size(&self) -> usize {
        let header = if self.kind == Kind::Datagram && cfg!(Py_3_13) {
            8
        } else {
            0
        };
        self.outgoing.size() + header * self.outgoing.count()
    }
}

/// What transports have in common: the base class of plait's native ones.
#[pyclass(frozen, subclass, weakref, dict, module = "plait.asyncio")]
#[derive(Debug)]
pub struct Wire {
    pub state: Guarded<State>,
}

/// What is needed to call the protocol.
pub struct Call {
    pub fd: c_int,
    pub protocol: Held,
    pub context: Held,
    pub buffered: bool,
}

impl Wire {
    /// A transport that does nothing yet. Its protocol is called in `context`, or in a copy of the caller's.
    ///
    /// # Errors
    /// What the file object raises.
    pub fn create(
        kind: Kind,
        event_loop: &Bound<'_, LoopCore>,
        file: &Bound<'_, PyAny>,
        protocol: &Bound<'_, PyAny>,
        extra: Option<&Bound<'_, PyAny>>,
        server: Option<&Bound<'_, PyAny>>,
        context: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let py = event_loop.py();
        let extra = match extra {
            Some(extra) => extra.clone(),
            None => PyDict::new(py).into_any(),
        };
        let context = match context {
            Some(context) => context.clone(),
            None => copy_context(py)?,
        };
        Ok(Self {
            state: Guarded::new(State {
                kind,
                fd: file.call_method0(intern!(py, "fileno"))?.extract()?,
                closing: false,
                paused: false,
                eof: false,
                buffered: kind == Kind::Stream && face::is_buffered(protocol)?,
                watching_read: false,
                watching_write: false,
                corked: false,
                protocol_paused: false,
                ended: false,
                lost_writes: 0,
                connected: false,
                family: 0,
                turn: None,
                limits: flow::Limits::default(),
                outgoing: Outgoing::default(),
                event_loop: Some(event_loop.clone().unbind()),
                file: Some(file.clone().into()),
                protocol: Some(protocol.clone().into()),
                server: server.map(|server| server.clone().into()),
                extra: Some(extra.into()),
                context: Some(context.into()),
                address: None,
                empty_waiter: None,
            }),
        })
    }

    /// The transport that a native callback was given.
    ///
    /// # Safety
    /// `object` is a `Wire`: it was registered as one.
    #[inline]
    pub unsafe fn of<'a, 'py>(object: &'a Bound<'py, PyAny>) -> &'a Bound<'py, Self> {
        // SAFETY: the caller's promise.
        unsafe { object.cast_unchecked() }
    }

    /// The loop, unless the connection is lost.
    #[inline]
    pub fn event_loop<'py>(&self, py: Python<'py>) -> Option<Bound<'py, LoopCore>> {
        let state = self.state.lock();
        state.event_loop.as_ref().map(|core| core.bind(py).clone())
    }

    /// The protocol, unless the connection is lost.
    pub fn protocol<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.peek(py, |state| state.protocol.as_ref())
    }

    /// The file object: None once it is closed.
    pub fn file<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.peek(py, |state| state.file.as_ref())
    }

    /// One of the objects that it holds.
    pub fn peek<'py>(
        &self,
        py: Python<'py>,
        which: impl FnOnce(&State) -> Option<&Held>,
    ) -> Option<Bound<'py, PyAny>> {
        let held = which(&self.state.lock())?.clone_ref(py);
        Some(held.into_bound(py))
    }

    /// Whether the loop is in debug mode.
    pub fn is_debug(&self, py: Python<'_>) -> bool {
        self.event_loop(py).is_some_and(|core| core.get().is_debug())
    }

    /// What is needed to read, if that is wanted now: the loop may call once more after a pause.
    #[inline]
    pub fn reading(&self, py: Python<'_>) -> Option<Call> {
        let state = self.state.lock();
        if !state.watching_read || state.ended {
            return None;
        }
        Some(Call {
            fd: state.fd,
            protocol: state.protocol.as_ref()?.clone_ref(py),
            context: state.context.as_ref()?.clone_ref(py),
            buffered: state.buffered,
        })
    }
}

impl Wire {
    /// Whether the same protocol goes on reading as `call` says.
    pub fn goes_on(&self, call: &Call) -> bool {
        let state = self.state.lock();
        let same = state
            .protocol
            .as_ref()
            .is_some_and(|now| now.as_ptr() == call.protocol.as_ptr());
        same && state.watching_read && !state.ended
    }
}

/// Calls `f` in `context`.
///
/// # Errors
/// Those of `f`, and of entering a context that is entered already.
#[inline]
pub fn within<R>(py: Python<'_>, context: &Held, f: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
    // SAFETY: a context, alive; entered and left by the same thread, in order.
    unsafe {
        if ffi::PyContext_Enter(context.as_ptr()) != 0 {
            return Err(PyErr::fetch(py));
        }
        let result = f();
        if ffi::PyContext_Exit(context.as_ptr()) != 0 {
            return Err(PyErr::fetch(py));
        }
        result
    }
}

/// Lets the loop call when there is something to read, unless a pause or the end was asked for.
///
/// # Errors
/// The loop's, as when the descriptor cannot be watched.
pub fn watch_read(slf: &Bound<'_, Wire>) -> PyResult<()> {
    let (fd, run) = {
        let mut state = slf.get().state.lock();
        if state.closing || state.paused || state.watching_read {
            return Ok(());
        }
        state.watching_read = true;
        (state.fd, state.kind.on_read())
    };
    watch(slf, fd, Direction::Read, run).inspect_err(|_| slf.get().state.lock().watching_read = false)
}

/// Lets the loop call when there is room to write.
///
/// # Errors
/// The loop's.
pub fn watch_write(slf: &Bound<'_, Wire>) -> PyResult<()> {
    let (fd, run) = {
        let mut state = slf.get().state.lock();
        if state.watching_write {
            return Ok(());
        }
        state.watching_write = true;
        (state.fd, state.kind.on_write())
    };
    watch(slf, fd, Direction::Write, run).inspect_err(|_| slf.get().state.lock().watching_write = false)
}

fn watch(slf: &Bound<'_, Wire>, fd: c_int, direction: Direction, run: super::Run) -> PyResult<()> {
    let py = slf.py();
    let Some(core) = slf.get().event_loop(py) else {
        return Ok(());
    };
    core.get().watch(py, fd, direction, native(slf, run, py.None()))
}

/// The end of `watch_read`.
pub fn unwatch_read(slf: &Bound<'_, Wire>) {
    let fd = {
        let mut state = slf.get().state.lock();
        if !std::mem::take(&mut state.watching_read) {
            return;
        }
        state.fd
    };
    unwatch(slf, fd, Direction::Read);
}

/// The end of `watch_write`.
pub fn unwatch_write(slf: &Bound<'_, Wire>) {
    let fd = {
        let mut state = slf.get().state.lock();
        if !std::mem::take(&mut state.watching_write) {
            return;
        }
        state.fd
    };
    unwatch(slf, fd, Direction::Write);
}

fn unwatch(slf: &Bound<'_, Wire>, fd: c_int, direction: Direction) {
    let py = slf.py();
    if let Some(core) = slf.get().event_loop(py) {
        core.get().unwatch(py, fd, direction);
    }
}

fn native(slf: &Bound<'_, Wire>, run: super::Run, argument: Py<PyAny>) -> Native {
    Native {
        run,
        object: slf.clone().into_any().unbind(),
        argument,
    }
}

/// Has the loop call `run(transport, argument)` in its next turn.
pub fn soon(slf: &Bound<'_, Wire>, run: super::Run, argument: Py<PyAny>) {
    let py = slf.py();
    if let Some(core) = slf.get().event_loop(py) {
        core.get().push(py, Entry::Native(native(slf, run, argument)));
    }
}
