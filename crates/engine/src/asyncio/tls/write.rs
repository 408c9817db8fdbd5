//! From the program to the peer: what is written is encrypted at once, and leaves in one piece.

use super::protocol::TlsProtocol;
use super::session::{Said, Session, is_ordinary, view};
use super::state::{Phase, State};
use super::{is_exit, logger};
use crate::asyncio::streams::direct;
use crate::held::Held;
use pyo3::buffer::PyUntypedBuffer;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use pyo3::{ffi, intern};

/// After so many writes into nothing a warning is logged: `constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES`.
const LOST_WRITES: u32 = 5;
/// Pieces are joined up to this size, which a record can have at most.
const RECORD: usize = 1 << 14;

/// How much of `data` was encrypted before OpenSSL refused, if it did.
fn encrypt(
    py: Python<'_>,
    session: &Session,
    data: &[u8],
    whole: Option<&Bound<'_, PyAny>>,
) -> PyResult<usize> {
    let mut done = 0;
    while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
        let said = match whole {
            Some(whole) if done == 0 => session.write(py, whole)?,
            _ => {
                // SAFETY: OpenSSL copies what it takes, and `data` outlives the call.
                let view = unsafe { view(py, rest)? };
                session.write(py, &view)?
            }
        };
        match said {
            Said::Done(count) => done += count,
            Said::Again => break,
            Said::Failed(error) => return Err(error),
        }
    }
    Ok(done)
}

impl TlsProtocol {
    /// Writes pieces of data; small ones share a record.
    pub(super) fn write_all<'py>(
        slf: &Bound<'py, Self>,
        pieces: impl Iterator<Item = PyResult<Bound<'py, PyAny>>>,
    ) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        if Self::refuses(slf)? {
            return Ok(());
        }
        let mut small: Vec<u8> = Vec::new();
        for piece in pieces {
            let piece = constant(&piece?)?;
            let data = piece.as_bytes();
            if !small.is_empty() && small.len() + data.len() > RECORD {
                let joined = PyBytes::new(py, &std::mem::take(&mut small));
                this.keep(joined.into_any());
            }
            if data.len() > RECORD / 2 {
                this.keep(piece.into_any());
            } else {
                small.extend_from_slice(data);
            }
        }
        if !small.is_empty() {
            this.keep(PyBytes::new(py, &small).into_any());
        }
        if this.phase() == Phase::Wrapped {
            return Self::guarded(slf, Self::do_write(slf));
        }
        Ok(())
    }

    /// Writes data; empty data are nothing.
    pub(super) fn write_one(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let this = slf.get();
        if Self::refuses(slf)? {
            return Ok(());
        }
        let wrapped = {
            let state = this.state.lock();
            state.phase == Phase::Wrapped && state.backlog.is_empty()
        };
        if !wrapped {
            this.keep(constant(data)?.into_any());
            return match this.phase() {
                Phase::Wrapped => Self::guarded(slf, Self::do_write(slf)),
                _ => Ok(()),
            };
        }
        Self::guarded(slf, Self::write_now(slf, data))
    }

    fn write_now(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        let session = this.session()?;
        let rest = if let Ok(bytes) = data.cast_exact::<PyBytes>() {
            let bytes = bytes.as_bytes();
            let done = encrypt(py, session, bytes, Some(data))?;
            bytes
                .get(done..)
                .filter(|rest| !rest.is_empty())
                .map(|rest| PyBytes::new(py, rest))
        } else {
            let buffer = PyUntypedBuffer::get(data)?;
            let length = buffer.len_bytes();
            if !buffer.is_c_contiguous() {
                drop(buffer);
                let bytes = constant(data)?;
                return Self::write_now(slf, bytes.as_any());
            }
            // SAFETY: the buffer is contiguous and stays in place until it is released.
            let bytes = unsafe { std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), length) };
            let done = encrypt(py, session, bytes, Some(data))?;
            bytes
                .get(done..)
                .filter(|rest| !rest.is_empty())
                .map(|rest| PyBytes::new(py, rest))
        };
        if let Some(rest) = rest {
            this.keep(rest.into_any());
        }
        Self::send(slf)
    }

    /// Whether it is too late to write; says so if the program does not look.
    fn refuses(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let late = {
            let mut state = slf.get().state.lock();
            if !state.phase.refuses() {
                return Ok(false);
            }
            state.lost_writes += 1;
            state.lost_writes > LOST_WRITES
        };
        if late {
            let py = slf.py();
            logger(py)?.call_method1(intern!(py, "warning"), ("SSL connection is closed",))?;
        }
        Ok(true)
    }

    /// An error here ends the connection.
    fn guarded(slf: &Bound<'_, Self>, done: PyResult<()>) -> PyResult<()> {
        match done {
            Err(error) if is_ordinary(slf.py(), &error) => {
                Self::fatal(slf, error, "Fatal error on SSL protocol")
            }
            done => done,
        }
    }

    /// Keeps `bytes` for later.
    pub(super) fn keep(&self, bytes: Bound<'_, PyAny>) {
        let length = bytes.len().unwrap_or(0);
        let bytes = Held::from(bytes);
        let mut state = self.state.lock();
        state.backlog.push_back(bytes);
        state.backlog_size += length;
    }

    /// Encrypts and sends what was kept.
    pub(super) fn do_write(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        let session = this.session()?;
        loop {
            let first = {
                let state = this.state.lock();
                let first = state.backlog.front();
                first.map(|held| held.bind(py).to_owned())
            };
            let Some(first) = first else { break };
            let Ok(bytes) = first.cast::<PyBytes>() else { break };
            let length = bytes.as_bytes().len();
            let done = encrypt(py, session, bytes.as_bytes(), Some(&first))?;
            let rest = bytes.as_bytes().get(done..).filter(|rest| !rest.is_empty());
            let rest = rest.map(|rest| Held::from(PyBytes::new(py, rest).into_any()));
            let more = rest.is_some();
            let mut state = this.state.lock();
            let old = state.backlog.pop_front();
            state.backlog_size -= length.min(state.backlog_size);
            if let Some(rest) = rest {
                state.backlog_size += length - done;
                state.backlog.push_front(rest);
            }
            drop(state);
            drop(old);
            if more {
                break;
            }
        }
        Self::flush(slf)
    }

    /// Sends what OpenSSL has for the peer, if it has something.
    pub(super) fn flush(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        if this.session()?.outgoing_size(slf.py())? > 0 {
            return Self::send(slf);
        }
        this.control(slf)
    }

    fn send(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        if !this.state.lock().full
            && let Some(transport) = this.get(py, |state| &state.transport)
        {
            let data = this.session()?.take(py)?;
            direct::write(&transport, &data)?;
        }
        this.control(slf)
    }

    /// How much was written and not sent.
    pub(super) fn write_buffer_size(&self, py: Python<'_>) -> PyResult<usize> {
        let waiting = self.session()?.outgoing_size(py)?;
        Ok(waiting + self.state.lock().backlog_size)
    }

    /// Asks the program to pause, or to go on.
    pub(super) fn control(&self, slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        {
            let state = self.state.lock();
            if !state.full
                && !state.writing_paused
                && state.backlog.is_empty()
                && state.outgoing_limits.high > 0
            {
                // Nothing waits.
                return Ok(());
            }
        }
        let size = self.write_buffer_size(py)?;
        let method = {
            let mut state = self.state.lock();
            if size >= state.outgoing_limits.high && !state.writing_paused {
                state.writing_paused = true;
                "pause_writing"
            } else if size <= state.outgoing_limits.low && state.writing_paused {
                state.writing_paused = false;
                "resume_writing"
            } else {
                return Ok(());
            }
        };
        let Some(protocol) = self.get(py, |state: &State| &state.app_protocol) else {
            return Ok(());
        };
        match protocol.call_method0(method) {
            Err(error) if !is_exit(py, &error) => {
                let message = format!("protocol.{method}() failed");
                Self::report(slf, error, &message, |state| &state.app_transport)
            }
            done => done.map(drop),
        }
    }
}

/// The data as something that does not change.
fn constant<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    if let Ok(bytes) = data.cast_exact::<PyBytes>() {
        return Ok(bytes.clone());
    }
    // SAFETY: the object is alive; the result is bytes, or an exception.
    unsafe {
        let bytes = ffi::PyBytes_FromObject(data.as_ptr());
        Ok(Bound::from_owned_ptr_or_err(data.py(), bytes)?.cast_into_unchecked())
    }
}
