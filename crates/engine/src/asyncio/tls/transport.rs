//! The transport that the program's protocol gets: it writes to, and asks, the TLS protocol.

use super::protocol::TlsProtocol;
use super::state::Limits;
use crate::guarded::Guarded;
use crate::held::Held;
use pyo3::exceptions::{PyNotImplementedError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyMemoryView, PyTuple};
use pyo3::{ffi, intern};
use std::sync::atomic::{AtomicBool, Ordering};

/// The native half of `_SSLProtocolTransport`.
#[pyclass(frozen, subclass, weakref, module = "plait.asyncio")]
#[derive(Debug)]
pub struct TlsTransport {
    event_loop: Guarded<Option<Held>>,
    protocol: Guarded<Option<Held>>,
    closed: AtomicBool,
    /// True: see `queue::state::Queue::built`.
    built: bool,
}

/// `high` and `low` as `sslproto.add_flowcontrol_defaults` has them.
///
/// # Errors
/// `ValueError` if they are the wrong way round.
pub fn limits(high: Option<isize>, low: Option<isize>, default: isize) -> PyResult<Limits> {
    let high = high.unwrap_or_else(|| low.map_or(default, |low| low.saturating_mul(4)));
    let low = low.unwrap_or(high.div_euclid(4));
    match (usize::try_from(high), usize::try_from(low)) {
        (Ok(high), Ok(low)) if high >= low => Ok(Limits { high, low }),
        _ => Err(PyValueError::new_err(format!(
            "high ({high}) must be >= low ({low}) must be >= 0"
        ))),
    }
}

/// Bytes that may wait to be sent before the program is asked to pause: `constants.FLOW_CONTROL_HIGH_WATER_SSL_WRITE`.
pub const WRITE_HIGH: isize = 512 * 1024;
/// Bytes that may wait to be read before what is beneath is: `constants.FLOW_CONTROL_HIGH_WATER_SSL_READ`.
pub const READ_HIGH: isize = 256 * 1024;

impl TlsTransport {
    /// It does not complain any more when it is collected.
    pub(super) fn set_closed(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// The protocol; none after `close()` was called on what was closed already.
    #[inline]
    fn tls<'py>(&self, py: Python<'py>) -> Option<Bound<'py, TlsProtocol>> {
        let protocol = self.protocol.lock();
        let protocol = protocol.as_ref()?.bind(py).to_owned();
        // SAFETY: `__init__` puts nothing else there.
        Some(unsafe { protocol.cast_into_unchecked() })
    }
}

#[pymethods]
impl TlsTransport {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            event_loop: Guarded::new(None),
            protocol: Guarded::new(None),
            closed: AtomicBool::new(false),
            built: true,
        }
    }

    fn __init__(&self, r#loop: Bound<'_, PyAny>, ssl_protocol: Bound<'_, TlsProtocol>) {
        let old = self.event_loop.lock().replace(r#loop.into());
        drop(old);
        let old = self.protocol.lock().replace(ssl_protocol.into_any().into());
        drop(old);
    }

    /// What is known about the connection: `ssl_object`, `sslcontext`, `peercert`, `cipher`, `compression`, and what
    /// is beneath.
    #[pyo3(signature = (name, default=None))]
    fn get_extra_info<'py>(
        &self,
        name: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self.tls(name.py()) {
            Some(tls) => TlsProtocol::extra_info(&tls, name, default),
            None => Ok(default.unwrap_or_else(|| name.py().None().into_bound(name.py()))),
        }
    }

    /// Gives what comes to another protocol from now on.
    fn set_protocol(&self, protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        self.tls(protocol.py())
            .map_or(Ok(()), |tls| TlsProtocol::set_app(&tls, protocol))
    }

    /// The program's protocol.
    fn get_protocol<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.tls(py)?.get().get(py, |state| &state.app_protocol)
    }

    /// Whether it is closed or about to be.
    fn is_closing(&self, py: Python<'_>) -> PyResult<bool> {
        if self.closed.load(Ordering::Relaxed) {
            return Ok(true);
        }
        if cfg!(not(Py_3_13)) {
            return Ok(false);
        }
        let transport = self
            .tls(py)
            .and_then(|tls| tls.get().get(py, |state| &state.transport));
        match transport {
            Some(transport) => transport.call_method0(intern!(py, "is_closing"))?.is_truthy(),
            None => Ok(false),
        }
    }

    /// Sends what was written, then ends TLS, then closes what is beneath.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if self.closed.swap(true, Ordering::Relaxed) {
            // Whoever keeps a closed transport keeps no more than that.
            let old = self.protocol.lock().take();
            drop(old);
            return Ok(());
        }
        self.tls(py)
            .map_or(Ok(()), |tls| TlsProtocol::start_shutdown(&tls))
    }

    /// Whether what comes is given to the protocol.
    fn is_reading(&self, py: Python<'_>) -> bool {
        self.tls(py)
            .is_some_and(|tls| !tls.get().state.lock().reading_paused)
    }

    /// Gives the protocol nothing more until resume_reading().
    fn pause_reading(&self, py: Python<'_>) {
        if let Some(tls) = self.tls(py) {
            tls.get().state.lock().reading_paused = true;
        }
    }

    /// Gives the protocol what comes again.
    fn resume_reading(&self, py: Python<'_>) -> PyResult<()> {
        self.tls(py).map_or(Ok(()), |tls| TlsProtocol::resume(&tls))
    }

    /// Sets when the protocol is asked to pause writing, and to go on, in bytes.
    #[pyo3(signature = (high=None, low=None))]
    fn set_write_buffer_limits(
        &self,
        py: Python<'_>,
        high: Option<isize>,
        low: Option<isize>,
    ) -> PyResult<()> {
        let limits = limits(high, low, WRITE_HIGH)?;
        let Some(tls) = self.tls(py) else { return Ok(()) };
        tls.get().state.lock().outgoing_limits = limits;
        tls.get().control(&tls)
    }

    /// The low mark and the high mark.
    fn get_write_buffer_limits(&self, py: Python<'_>) -> (usize, usize) {
        let limits = self.tls(py).map(|tls| tls.get().state.lock().outgoing_limits);
        limits.map_or((0, 0), |limits| (limits.low, limits.high))
    }

    /// How much was written and not sent, in bytes.
    fn get_write_buffer_size(&self, py: Python<'_>) -> PyResult<usize> {
        self.tls(py).map_or(Ok(0), |tls| tls.get().write_buffer_size(py))
    }

    /// Sets when what is beneath is paused, and goes on, in bytes.
    #[pyo3(signature = (high=None, low=None))]
    fn set_read_buffer_limits(
        &self,
        py: Python<'_>,
        high: Option<isize>,
        low: Option<isize>,
    ) -> PyResult<()> {
        let limits = limits(high, low, READ_HIGH)?;
        let Some(tls) = self.tls(py) else { return Ok(()) };
        tls.get().state.lock().incoming_limits = limits;
        TlsProtocol::control_beneath(&tls)
    }

    /// The low mark and the high mark.
    fn get_read_buffer_limits(&self, py: Python<'_>) -> (usize, usize) {
        let limits = self.tls(py).map(|tls| tls.get().state.lock().incoming_limits);
        limits.map_or((0, 0), |limits| (limits.low, limits.high))
    }

    /// How much came and was not decrypted, in bytes.
    fn get_read_buffer_size(&self, py: Python<'_>) -> PyResult<usize> {
        self.tls(py)
            .map_or(Ok(0), |tls| tls.get().session()?.incoming_size(py))
    }

    /// Whether the protocol was asked to pause writing: sendfile asks.
    #[getter]
    fn _protocol_paused(&self, py: Python<'_>) -> bool {
        self.tls(py)
            .is_some_and(|tls| tls.get().state.lock().writing_paused)
    }

    /// Encrypts and sends data. Never waits.
    fn write(&self, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = data.py();
        if !data.is_instance_of::<PyBytes>()
            && !data.is_instance_of::<PyByteArray>()
            && !data.is_instance_of::<PyMemoryView>()
        {
            return Err(PyTypeError::new_err(format!(
                "data: expecting a bytes-like instance, got {}",
                data.get_type().name()?
            )));
        }
        // SAFETY: it is alive and has a length.
        if unsafe { ffi::PyObject_Size(data.as_ptr()) } == 0 {
            return Ok(());
        }
        self.tls(py)
            .map_or(Ok(()), |tls| TlsProtocol::write_one(&tls, data))
    }

    /// Encrypts and sends several pieces.
    fn writelines(&self, list_of_data: &Bound<'_, PyAny>) -> PyResult<()> {
        let pieces = list_of_data.try_iter()?;
        self.tls(list_of_data.py())
            .map_or(Ok(()), |tls| TlsProtocol::write_all(&tls, pieces))
    }

    /// NotImplementedError: TLS has no half-closed connections here.
    #[expect(clippy::unused_self, reason = "a method of every transport")]
    fn write_eof(&self) -> PyResult<()> {
        Err(PyNotImplementedError::new_err(()))
    }

    /// False.
    #[expect(clippy::unused_self, reason = "a method of every transport")]
    fn can_write_eof(&self) -> bool {
        false
    }

    /// Closes the connection at once; what was not sent is lost.
    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        self._force_close(py, None)
    }

    #[pyo3(signature = (exc))]
    fn _force_close(&self, py: Python<'_>, exc: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.set_closed();
        self.tls(py).map_or(Ok(()), |tls| tls.get().abort(py, exc))
    }

    #[getter]
    fn _closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    #[setter(_closed)]
    fn put_closed(&self, closed: bool) {
        self.closed.store(closed, Ordering::Relaxed);
    }

    #[getter]
    fn _ssl_protocol<'py>(&self, py: Python<'py>) -> Option<Bound<'py, TlsProtocol>> {
        self.tls(py)
    }

    /// Keeps data as if it could not be encrypted now: CPython's tests do so.
    #[pyo3(name = "_test__append_write_backlog")]
    fn append_backlog(&self, data: &Bound<'_, PyBytes>) {
        if let Some(tls) = self.tls(data.py()) {
            tls.get().keep(data.clone().into_any());
        }
    }

    #[getter]
    fn _loop<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.event_loop
            .lock()
            .as_ref()
            .map(|held| held.bind(py).to_owned())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.built {
            return Ok(());
        }
        for place in [&self.event_loop, &self.protocol] {
            if let Some(held) = place.try_lock()
                && let Some(held) = &*held
            {
                held.traverse(&visit)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let old = self.protocol.lock().take();
        drop(old);
        let old = self.event_loop.lock().take();
        drop(old);
    }
}
