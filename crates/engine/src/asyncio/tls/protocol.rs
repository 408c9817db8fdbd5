//! The protocol that stands between a transport and the program's protocol: beginning, end and failure of a connection.
//!
//! Reading is in [`super::read`], writing in [`super::write`]; which method follows which event is in [`super::methods`].

use super::logger;
use super::session::{Said, Session, is_certificate_error, is_ordinary};
use super::state::{Phase, State, Told};
use crate::asyncio::looping;
use crate::guarded::Guarded;
use crate::held::Held;
use pyo3::exceptions::{PyConnectionAbortedError, PyOSError, PyRuntimeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::OnceLock;

/// The native half of `SSLProtocol`.
#[pyclass(frozen, subclass, weakref, module = "plait.asyncio")]
#[derive(Debug)]
pub struct TlsProtocol {
    pub(super) state: Guarded<State>,
    pub(super) session: OnceLock<Session>,
    /// True: see `queue::state::Queue::built`.
    pub(super) built: bool,
}

impl TlsProtocol {
    /// One of the held objects.
    #[inline]
    pub(super) fn get<'py>(
        &self,
        py: Python<'py>,
        field: impl FnOnce(&State) -> &Option<Held>,
    ) -> Option<Bound<'py, PyAny>> {
        field(&self.state.lock())
            .as_ref()
            .map(|held| held.bind(py).to_owned())
    }

    /// Puts an object in, or takes it out.
    pub(super) fn set(
        &self,
        value: Option<Bound<'_, PyAny>>,
        field: impl FnOnce(&mut State) -> &mut Option<Held>,
    ) {
        let value = value.filter(|value| !value.is_none()).map(Held::from);
        let old = std::mem::replace(field(&mut self.state.lock()), value);
        drop(old);
    }

    #[inline]
    pub(super) fn phase(&self) -> Phase {
        self.state.lock().phase
    }

    /// The `ssl` module's half.
    ///
    /// # Errors
    /// `RuntimeError` without `__init__`.
    #[inline]
    pub(super) fn session(&self) -> PyResult<&Session> {
        self.session
            .get()
            .ok_or_else(|| PyRuntimeError::new_err("SSLProtocol object is not initialized."))
    }

    pub(super) fn event_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.get(py, |state| &state.event_loop)
            .ok_or_else(|| PyRuntimeError::new_err("SSLProtocol object is not initialized."))
    }

    fn in_debug(&self, py: Python<'_>) -> PyResult<bool> {
        let event_loop = self.event_loop(py)?;
        match looping::of(&event_loop) {
            Some(core) => Ok(core.get().is_debug()),
            None => event_loop.call_method0(intern!(py, "get_debug"))?.is_truthy(),
        }
    }

    /// Logs, in debug mode.
    pub(super) fn debug(slf: &Bound<'_, Self>, format: &str) -> PyResult<()> {
        let py = slf.py();
        if slf.get().in_debug(py)? {
            logger(py)?.call_method1(intern!(py, "debug"), (format, slf))?;
        }
        Ok(())
    }

    /// Ends the wait of whoever connects.
    pub(super) fn wake(&self, py: Python<'_>, error: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let waiter = self.state.lock().waiter.take();
        let Some(waiter) = waiter else { return Ok(()) };
        let waiter = waiter.into_bound(py);
        if waiter.call_method0(intern!(py, "cancelled"))?.is_truthy()? {
            return Ok(());
        }
        match error {
            Some(error) => waiter.call_method1(intern!(py, "set_exception"), (error,))?,
            None => waiter.call_method1(intern!(py, "set_result"), (py.None(),))?,
        };
        Ok(())
    }

    pub(super) fn start_handshake(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        Self::debug(slf, "%r starts SSL handshake")?;
        this.state.lock().set(Phase::Handshake)?;
        let handle = Self::later(slf, |state| &state.handshake_timeout, "_check_handshake_timeout")?;
        this.set(Some(handle), |state| &mut state.handshake_handle);
        let began = std::time::Instant::now();
        Self::handshake(slf)?;
        if this.phase() == Phase::Wrapped && this.in_debug(py)? {
            let spent = began.elapsed().as_secs_f64() * 1e3;
            logger(py)?.call_method1(
                intern!(py, "debug"),
                ("%r: SSL handshake took %.1f ms", slf, spent),
            )?;
        }
        Ok(())
    }

    pub(super) fn later<'py>(
        slf: &Bound<'py, Self>,
        timeout: impl FnOnce(&State) -> &Option<Held>,
        method: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (this, py) = (slf.get(), slf.py());
        let event_loop = this.event_loop(py)?;
        let timeout = this.get(py, timeout);
        event_loop.call_method1(intern!(py, "call_later"), (timeout, slf.getattr(method)?))
    }

    pub(super) fn cancel(
        &self,
        py: Python<'_>,
        field: impl FnOnce(&mut State) -> &mut Option<Held>,
    ) -> PyResult<()> {
        let handle = field(&mut self.state.lock()).take();
        match handle {
            Some(handle) => handle
                .into_bound(py)
                .call_method0(intern!(py, "cancel"))
                .map(drop),
            None => Ok(()),
        }
    }

    pub(super) fn handshake_timed_out(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        if this.phase() != Phase::Handshake {
            return Ok(());
        }
        let seconds = this.get(py, |state| &state.handshake_timeout);
        let seconds = seconds.map_or(Ok(String::new()), |seconds| seconds.str().map(|s| s.to_string()))?;
        let text = format!("SSL handshake is taking longer than {seconds} seconds: aborting the connection");
        Self::fatal(
            slf,
            PyConnectionAbortedError::new_err(text),
            "Fatal error on transport",
        )
    }

    pub(super) fn handshake(slf: &Bound<'_, Self>) -> PyResult<()> {
        match slf.get().session()?.call(slf.py(), "do_handshake")? {
            Said::Again => Self::flush(slf),
            Said::Done(_) => Self::handshake_over(slf, None),
            Said::Failed(error) => Self::handshake_over(slf, Some(error)),
        }
    }

    pub(super) fn handshake_over(slf: &Bound<'_, Self>, error: Option<PyErr>) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        this.cancel(py, |state| &mut state.handshake_handle)?;
        let known = match error {
            Some(error) => Err(error),
            None => this.know(py),
        };
        if let Err(error) = known {
            if !is_ordinary(py, &error) {
                return Err(error);
            }
            this.state.lock().set(Phase::Unwrapped)?;
            let message = if is_certificate_error(py, &error) {
                "SSL handshake failed on verifying the certificate"
            } else {
                "SSL handshake failed"
            };
            let value = error.value(py).clone().into_any();
            Self::fatal(slf, error, message)?;
            return this.wake(py, Some(&value));
        }
        let app = {
            let mut state = this.state.lock();
            state.records.lost_count();
            let untold = state.told == Told::Nothing;
            if untold {
                state.told = Told::Made;
            }
            untold
        };
        if app {
            let protocol = this.get(py, |state| &state.app_protocol);
            let transport = this.get(py, |state| &state.app_transport);
            if let Some(protocol) = protocol {
                protocol.call_method1(intern!(py, "connection_made"), (transport,))?;
            }
        }
        this.wake(py, None)?;
        Self::do_read(slf)
    }

    /// What is known once the handshake is over.
    fn know(&self, py: Python<'_>) -> PyResult<()> {
        self.state.lock().set(Phase::Wrapped)?;
        let object = self.session()?.object.bind(py);
        let certificate = object.call_method0(intern!(py, "getpeercert"))?;
        let Some(extra) = self.get(py, |state| &state.extra) else {
            return Ok(());
        };
        extra.set_item(intern!(py, "peercert"), certificate)?;
        extra.set_item(intern!(py, "cipher"), object.call_method0(intern!(py, "cipher"))?)?;
        extra.set_item(
            intern!(py, "compression"),
            object.call_method0(intern!(py, "compression"))?,
        )?;
        extra.set_item(intern!(py, "ssl_object"), &*object)
    }

    /// Closes the connection because of an error, and reports it unless the network or the peer is to blame.
    pub(super) fn fatal(slf: &Bound<'_, Self>, error: PyErr, message: &str) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        this.force_close(py, Some(error.value(py)))?;
        if error.is_instance_of::<PyOSError>(py) {
            if this.in_debug(py)? {
                let keywords = PyDict::new(py);
                keywords.set_item(intern!(py, "exc_info"), error.value(py))?;
                logger(py)?.call_method(intern!(py, "debug"), ("%r: %s", slf, message), Some(&keywords))?;
            }
            return Ok(());
        }
        if error.is_instance(py, crate::asyncio::future::cancelled_error(py)?) {
            return Ok(());
        }
        Self::report(slf, error, message, |state| &state.transport)
    }

    /// Tells the loop's exception handler.
    pub(super) fn report(
        slf: &Bound<'_, Self>,
        error: PyErr,
        message: &str,
        transport: impl FnOnce(&State) -> &Option<Held>,
    ) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        let context = PyDict::new(py);
        context.set_item(intern!(py, "message"), message)?;
        context.set_item(intern!(py, "exception"), error.value(py))?;
        context.set_item(intern!(py, "transport"), this.get(py, transport))?;
        context.set_item(intern!(py, "protocol"), slf)?;
        this.event_loop(py)?
            .call_method1(intern!(py, "call_exception_handler"), (context,))
            .map(drop)
    }
}
