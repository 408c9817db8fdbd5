//! How a connection ends: the program closes it, the peer does, what is beneath is lost, or time runs out.

use super::protocol::TlsProtocol;
use super::session::{Said, is_ordinary};
use super::state::{Phase, Told};
use super::{call_soon, logger};
use pyo3::exceptions::{PyConnectionResetError, PyTimeoutError};
use pyo3::intern;
use pyo3::prelude::*;

impl TlsProtocol {
    /// What `close()` of the program's transport does.
    pub(super) fn start_shutdown(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        let phase = this.phase();
        if phase.refuses() {
            return Ok(());
        }
        this.mark_closed(py);
        if phase == Phase::Handshake {
            return this.abort(py, None);
        }
        this.state.lock().set(Phase::Flushing)?;
        let handle = Self::later(slf, |state| &state.shutdown_timeout, "_check_shutdown_timeout")?;
        this.set(Some(handle), |state| &mut state.shutdown_handle);
        Self::flush_all(slf)
    }

    /// So that the program's transport does not complain.
    fn mark_closed(&self, py: Python<'_>) {
        let transport = self.get(py, |state| &state.app_transport);
        if let Some(transport) = transport
            && let Ok(transport) = transport.cast::<super::transport::TlsTransport>()
        {
            transport.get().set_closed();
        }
    }

    pub(super) fn shutdown_timed_out(&self, py: Python<'_>) -> PyResult<()> {
        if !matches!(self.phase(), Phase::Flushing | Phase::Shutdown) {
            return Ok(());
        }
        let error = PyTimeoutError::new_err("SSL shutdown timed out");
        self.force_close(py, Some(error.value(py)))
    }

    pub(super) fn flush_all(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::do_read(slf)?;
        {
            let mut state = slf.get().state.lock();
            if state.phase != Phase::Flushing {
                // The program has aborted it meanwhile.
                return Ok(());
            }
            state.set(Phase::Shutdown)?;
        }
        Self::do_shutdown(slf)
    }

    pub(super) fn do_shutdown(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        let eof = this.state.lock().eof_received;
        let said = if eof {
            Said::Done(py.None().into_bound(py))
        } else {
            this.session()?.call(py, "unwrap")?
        };
        match said {
            Said::Again => Self::flush(slf),
            Said::Failed(error) => {
                this.cancel(py, |state| &mut state.shutdown_handle)?;
                Self::fatal(slf, error, "Fatal error on transport")
            }
            Said::Done(_) => {
                Self::flush(slf)?;
                Self::tell_eof(slf)?;
                this.cancel(py, |state| &mut state.shutdown_handle)?;
                match this.get(py, |state| &state.transport) {
                    Some(transport) => {
                        call_soon(&this.event_loop(py)?, transport.getattr(intern!(py, "close"))?)
                    }
                    None => Ok(()),
                }
            }
        }
    }

    /// Tells the program that the peer sends no more.
    pub(super) fn tell_eof(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        {
            let mut state = this.state.lock();
            if state.told != Told::Made {
                return Ok(());
            }
            state.told = Told::Ended;
        }
        let Some(protocol) = this.get(py, |state| &state.app_protocol) else {
            return Ok(());
        };
        let told = protocol
            .call_method0(intern!(py, "eof_received"))
            .and_then(|stays| stays.is_truthy());
        match told {
            Ok(false) => Ok(()),
            Ok(true) => logger(py)?
                .call_method1(
                    intern!(py, "warning"),
                    ("returning true from eof_received() has no effect when using ssl",),
                )
                .map(drop),
            Err(error) if super::is_exit(py, &error) => Err(error),
            Err(error) => Self::fatal(slf, error, "Error calling eof_received()"),
        }
    }

    /// Closes what is beneath at once.
    pub(super) fn force_close(&self, py: Python<'_>, error: Option<&Bound<'_, impl Sized>>) -> PyResult<()> {
        match self.get(py, |state| &state.transport) {
            Some(transport) => transport
                .call_method1(intern!(py, "_force_close"), (error.map(Bound::as_any),))
                .map(drop),
            None => Ok(()),
        }
    }

    pub(super) fn abort(&self, py: Python<'_>, error: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.state.lock().set(Phase::Unwrapped)?;
        self.force_close(py, error)
    }

    /// What is beneath is gone.
    pub(super) fn lost(slf: &Bound<'_, Self>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        this.mark_closed(py);
        this.session()?.take(py)?;
        let (backlog, tell) = {
            let mut state = this.state.lock();
            state.backlog_size = 0;
            state.lost_writes += 1;
            let tell = state.phase != Phase::Handshake && matches!(state.told, Told::Made | Told::Ended);
            if tell {
                state.told = Told::Lost;
            }
            state.phase = Phase::Unwrapped;
            (std::mem::take(&mut state.backlog), tell)
        };
        drop(backlog);
        let protocol = this.get(py, |state| &state.app_protocol);
        if let Some(protocol) = protocol.filter(|_| tell) {
            this.event_loop(py)?.call_method1(
                intern!(py, "call_soon"),
                (protocol.getattr(intern!(py, "connection_lost"))?, error),
            )?;
        }
        this.set(None, |state| &mut state.transport);
        this.set(None, |state| &mut state.app_transport);
        this.set(None, |state| &mut state.app_protocol);
        this.set(None, |state| &mut state.scratch);
        this.wake(py, Some(error).filter(|error| !error.is_none()))?;
        this.cancel(py, |state| &mut state.shutdown_handle)?;
        this.cancel(py, |state| &mut state.handshake_handle)
    }

    /// The peer closed its side of what is beneath. Whether that is to stay open.
    pub(super) fn ended(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let (this, py) = (slf.get(), slf.py());
        this.state.lock().eof_received = true;
        let told = Self::debug(slf, "%r received EOF").and_then(|()| match this.phase() {
            Phase::Handshake => {
                Self::handshake_over(slf, Some(PyConnectionResetError::new_err(()))).map(|()| false)
            }
            Phase::Wrapped => {
                let paused = {
                    let mut state = this.state.lock();
                    state.set(Phase::Flushing)?;
                    state.reading_paused
                };
                if !paused {
                    Self::flush_all(slf)?;
                }
                Ok(paused)
            }
            Phase::Flushing => {
                Self::do_write(slf)?;
                this.state.lock().set(Phase::Shutdown)?;
                Self::do_shutdown(slf).map(|()| false)
            }
            Phase::Shutdown => Self::do_shutdown(slf).map(|()| false),
            Phase::Unwrapped => Ok(false),
        });
        if let Err(error) = &told
            && is_ordinary(py, error)
            && let Some(transport) = this.get(py, |state| &state.transport)
        {
            transport.call_method0(intern!(py, "close"))?;
        }
        told
    }
}
