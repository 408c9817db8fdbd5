//! What Python sees of the protocol: the methods that a transport calls, and the names of `sslproto.SSLProtocol`.

use super::protocol::TlsProtocol;
use super::session::Session;
use super::state::{Phase, State, Told};
use super::transport::{READ_HIGH, WRITE_HIGH, limits};
use crate::guarded::Guarded;
use pyo3::exceptions::PyAssertionError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyDict, PyTuple, PyType};
use std::sync::OnceLock;

impl TlsProtocol {
    /// What `get_extra_info` says.
    pub(super) fn extra_info<'py>(
        slf: &Bound<'py, Self>,
        name: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (this, py) = (slf.get(), slf.py());
        if let Some(extra) = this.get(py, |state| &state.extra)
            && extra.contains(name)?
        {
            return extra.get_item(name);
        }
        match this.get(py, |state| &state.transport) {
            Some(transport) => transport.call_method1(intern!(py, "get_extra_info"), (name, default)),
            None => Ok(default.unwrap_or_else(|| py.None().into_bound(py))),
        }
    }

    /// Gives what comes to `protocol` from now on.
    pub(super) fn set_app(slf: &Bound<'_, Self>, protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        static BUFFERED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let py = slf.py();
        let class = BUFFERED.import(py, "asyncio.protocols", "BufferedProtocol")?;
        let buffered = protocol.hasattr(intern!(py, "get_buffer"))? && protocol.is_instance(class)?;
        slf.get().state.lock().buffered = buffered;
        slf.get()
            .set(Some(protocol.clone()), |state| &mut state.app_protocol);
        Ok(())
    }
}

#[pymethods]
impl TlsProtocol {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            state: Guarded::new(State::default()),
            session: OnceLock::new(),
            built: true,
        }
    }

    /// Puts everything in its place; the arguments have been checked.
    #[expect(clippy::too_many_arguments, reason = "the Python side calls it, in one place")]
    fn _begin(
        slf: &Bound<'_, Self>,
        event_loop: Bound<'_, PyAny>,
        app_protocol: &Bound<'_, PyAny>,
        waiter: Bound<'_, PyAny>,
        session: (Bound<'_, PyAny>, Bound<'_, PyAny>, Bound<'_, PyAny>),
        extra: Bound<'_, PyAny>,
        made: bool,
        timeouts: (Bound<'_, PyAny>, Bound<'_, PyAny>),
        app_transport: Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let this = slf.get();
        let (object, incoming, outgoing) = session;
        let _again = this.session.set(Session::new(object, incoming, outgoing)?);
        let new = State {
            told: if made { Told::Made } else { Told::Nothing },
            incoming_limits: limits(None, None, READ_HIGH)?,
            outgoing_limits: limits(None, None, WRITE_HIGH)?,
            event_loop: Some(event_loop.into()),
            waiter: Some(waiter).filter(|waiter| !waiter.is_none()).map(Into::into),
            extra: Some(extra.into()),
            handshake_timeout: Some(timeouts.0.into()),
            shutdown_timeout: Some(timeouts.1.into()),
            app_transport: Some(app_transport.into()),
            ..State::default()
        };
        let old = std::mem::replace(&mut *this.state.lock(), new);
        drop(old);
        Self::set_app(slf, app_protocol)
    }

    /// The connection is there: the handshake begins.
    fn connection_made(slf: &Bound<'_, Self>, transport: Bound<'_, PyAny>) -> PyResult<()> {
        slf.get().set(Some(transport), |state| &mut state.transport);
        Self::start_handshake(slf)
    }

    /// The connection is gone.
    fn connection_lost(slf: &Bound<'_, Self>, exc: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::lost(slf, exc)
    }

    /// Where the transport puts what comes next.
    fn get_buffer<'py>(slf: &Bound<'py, Self>, n: isize) -> PyResult<Bound<'py, PyAny>> {
        let (this, py) = (slf.get(), slf.py());
        let _wanted = n;
        if let Some(scratch) = this.get(py, |state| &state.scratch) {
            return Ok(scratch);
        }
        let scratch = super::scratch(slf)?;
        this.set(Some(scratch.clone()), |state| &mut state.scratch);
        Ok(scratch)
    }

    /// So many bytes came.
    fn buffer_updated(slf: &Bound<'_, Self>, nbytes: usize) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        let scratch = this.get(py, |state| &state.scratch);
        let Some(scratch) = scratch else { return Ok(()) };
        let scratch = scratch.cast_into::<PyByteArray>()?;
        // SAFETY: nothing runs that could resize it: it is ours, and what is in it is copied before any Python code runs.
        let data = unsafe { scratch.as_bytes() };
        Self::came(slf, data.get(..nbytes).unwrap_or_default())
    }

    /// Takes what came before there was TLS.
    fn _feed(&self, data: &Bound<'_, PyByteArray>) -> PyResult<()> {
        let data_now = data.to_vec();
        self.session()?.feed(data.py(), &data_now)?;
        self.state.lock().records.feed(&data_now);
        Ok(())
    }

    /// The peer closed its side.
    fn eof_received(slf: &Bound<'_, Self>) -> PyResult<bool> {
        Self::ended(slf)
    }

    /// What is beneath has too much to send.
    fn pause_writing(&self) -> PyResult<()> {
        if std::mem::replace(&mut self.state.lock().full, true) {
            return Err(PyAssertionError::new_err(()));
        }
        Ok(())
    }

    /// What is beneath can send again.
    fn resume_writing(slf: &Bound<'_, Self>) -> PyResult<()> {
        if !std::mem::replace(&mut slf.get().state.lock().full, false) {
            return Err(PyAssertionError::new_err(()));
        }
        Self::flush(slf)
    }

    fn _check_handshake_timeout(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::handshake_timed_out(slf)
    }

    fn _check_shutdown_timeout(&self, py: Python<'_>) -> PyResult<()> {
        self.shutdown_timed_out(py)
    }

    fn _do_read(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::do_read(slf)
    }

    fn _resumed(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::resumed(slf)
    }

    #[pyo3(signature = (name, default=None))]
    fn _get_extra_info<'py>(
        slf: &Bound<'py, Self>,
        name: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Self::extra_info(slf, name, default)
    }

    #[getter]
    fn _app_transport<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.get(py, |state| &state.app_transport)
    }

    #[getter]
    fn _app_protocol<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.get(py, |state| &state.app_protocol)
    }

    #[getter]
    fn _transport<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.get(py, |state| &state.transport)
    }

    #[getter]
    fn _loop<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.get(py, |state| &state.event_loop)
    }

    #[getter]
    fn _sslobj<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.session()?.object.bind(py).to_owned())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.built {
            return Ok(());
        }
        if let Some(session) = self.session.get() {
            session.traverse(&visit)?;
        }
        let Some(state) = self.state.try_lock() else {
            return Ok(());
        };
        for held in state.held().chain(&state.backlog) {
            held.traverse(&visit)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let new = State {
            phase: Phase::Unwrapped,
            ..State::default()
        };
        let old = std::mem::replace(&mut *self.state.lock(), new);
        drop(old);
    }
}
