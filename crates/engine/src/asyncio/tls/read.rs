//! From the peer to the program: what came is decrypted, record by record, and given to the program's protocol in one piece.

use super::call_soon;
use super::protocol::TlsProtocol;
use super::session::{Said, Session, is_ordinary};
use super::state::Phase;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView, PySlice};
use smallvec::SmallVec;

/// As much is asked for at once, by the standard library too.
pub const MAX_SIZE: usize = 256 * 1024;

impl TlsProtocol {
    /// Something came.
    pub(super) fn came(slf: &Bound<'_, Self>, data: &[u8]) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        this.session()?.feed(py, data)?;
        let phase = {
            let mut state = this.state.lock();
            state.records.feed(data);
            state.phase
        };
        match phase {
            Phase::Handshake => Self::handshake(slf),
            Phase::Wrapped => Self::do_read(slf),
            Phase::Flushing => Self::flush_all(slf),
            Phase::Shutdown => Self::do_shutdown(slf),
            Phase::Unwrapped => Ok(()),
        }
    }

    /// Gives the program what can be decrypted, and sends what that made OpenSSL or the program say.
    pub(super) fn do_read(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        let (paused, buffered, any) = {
            let state = this.state.lock();
            if !matches!(state.phase, Phase::Wrapped | Phase::Flushing) {
                return Ok(());
            }
            (state.reading_paused, state.buffered, state.records.any())
        };
        let done = (|| {
            if !paused {
                if any && buffered {
                    Self::read_into_buffer(slf)?;
                } else if any {
                    Self::read_copies(slf)?;
                }
                if this.state.lock().backlog.is_empty() {
                    Self::flush(slf)?;
                } else {
                    Self::do_write(slf)?;
                }
            }
            Self::control_beneath(slf)
        })();
        match done {
            Err(error) if is_ordinary(py, &error) => Self::fatal(slf, error, "Fatal error on SSL protocol"),
            done => done,
        }
    }

    /// All that is complete, as one `bytes` object.
    fn read_copies(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        let session = this.session()?;
        let (records, whole) = this.state.lock().records.complete();
        let mut data = if records > 1 {
            Some(Growing::new(py, whole)?)
        } else {
            None
        };
        let mut pieces: SmallVec<[Bound<'_, PyBytes>; 8]> = SmallVec::new();
        let mut ended = false;
        let mut failed = None;
        loop {
            let size = {
                let state = this.state.lock();
                if !state.records.any() {
                    break;
                }
                state.records.size()
            };
            let said = match data.as_mut().filter(|data| data.room() > 0) {
                Some(data) => data.read(session)?,
                None => match session.read(py, size)? {
                    Said::Done(piece) => {
                        let count = piece.as_bytes().len();
                        if count > 0 {
                            pieces.push(piece);
                        }
                        Said::Done(count)
                    }
                    Said::Again => Said::Again,
                    Said::Failed(error) => Said::Failed(error),
                },
            };
            match said {
                Said::Done(0) => {
                    ended = true;
                    break;
                }
                Said::Done(_) => this.state.lock().records.took_one(),
                Said::Again => {
                    this.state.lock().records.took_all();
                    break;
                }
                Said::Failed(error) => {
                    // What came well is given first.
                    failed = Some(error);
                    break;
                }
            }
        }
        if let Some(data) = data.map_or(Ok(None), Growing::finish)? {
            pieces.insert(0, data);
        }
        if let Some(data) = joined(py, &pieces)? {
            drop(pieces);
            if let Some(protocol) = this.get(py, |state| &state.app_protocol) {
                protocol.call_method1(intern!(py, "data_received"), (data,))?;
            }
        }
        if ended {
            Self::tell_eof(slf)?;
            Self::start_shutdown(slf)?;
        }
        failed.map_or(Ok(()), Err)
    }

    /// As much as the program's buffer has room for.
    fn read_into_buffer(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        let session = this.session()?;
        let Some(protocol) = this.get(py, |state| &state.app_protocol) else {
            return Ok(());
        };
        let hint = session.incoming_size(py)?;
        let buffer = protocol.call_method1(intern!(py, "get_buffer"), (hint,))?;
        let wanted = buffer.len()?;
        let mut offset = 0;
        let mut ended = false;
        while offset < wanted {
            let said = if offset == 0 {
                session.read_into(py, wanted, &buffer)?
            } else {
                // A part of a bytearray would be a copy.
                let part = PySlice::new(py, isize::try_from(offset)?, isize::try_from(wanted)?, 1);
                let rest = PyMemoryView::from(&buffer)?.get_item(part)?;
                session.read_into(py, wanted - offset, &rest)?
            };
            match said {
                Said::Done(0) => {
                    ended = true;
                    break;
                }
                Said::Done(count) => {
                    offset += count;
                    let mut state = this.state.lock();
                    state.records.took_one();
                    if !state.records.any() && offset < wanted {
                        break;
                    }
                }
                Said::Again => {
                    this.state.lock().records.took_all();
                    break;
                }
                Said::Failed(error) => return Err(error),
            }
        }
        if !ended && offset == wanted {
            // A part of a record may be left in OpenSSL.
            this.state.lock().records.lost_count();
            call_soon(&this.event_loop(py)?, slf.getattr(intern!(py, "_do_read"))?)?;
        }
        if offset > 0 {
            protocol.call_method1(intern!(py, "buffer_updated"), (offset,))?;
        }
        if ended {
            Self::tell_eof(slf)?;
            Self::start_shutdown(slf)?;
        }
        Ok(())
    }

    /// Pauses what is beneath while too much waits for a program that does not read.
    pub(super) fn control_beneath(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        {
            let state = this.state.lock();
            if !state.reading_paused && !state.beneath_paused && state.incoming_limits.high > 1 << 15 {
                // Less than a record is left.
                return Ok(());
            }
        }
        let size = this.session()?.incoming_size(py)?;
        let method = {
            let mut state = this.state.lock();
            if size >= state.incoming_limits.high && !state.beneath_paused {
                state.beneath_paused = true;
                intern!(py, "pause_reading")
            } else if size <= state.incoming_limits.low && state.beneath_paused {
                state.beneath_paused = false;
                intern!(py, "resume_reading")
            } else {
                return Ok(());
            }
        };
        match this.get(py, |state| &state.transport) {
            Some(transport) => transport.call_method0(method).map(drop),
            None => Ok(()),
        }
    }

    /// `resume_reading()` of the program's transport.
    pub(super) fn resume(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        if !std::mem::take(&mut this.state.lock().reading_paused) {
            return Ok(());
        }
        let go_on = slf.getattr(intern!(py, "_resumed"))?;
        call_soon(&this.event_loop(py)?, go_on)
    }

    /// One turn later.
    pub(super) fn resumed(slf: &Bound<'_, Self>) -> PyResult<()> {
        match slf.get().phase() {
            Phase::Wrapped => Self::do_read(slf),
            Phase::Flushing => Self::flush_all(slf),
            Phase::Shutdown => Self::do_shutdown(slf),
            Phase::Unwrapped | Phase::Handshake => Ok(()),
        }
    }
}

unsafe extern "C" {
    /// Of the stable ABI; PyO3 does not have it.
    fn _PyBytes_Resize(bytes: *mut *mut ffi::PyObject, size: ffi::Py_ssize_t) -> std::ffi::c_int;
}

/// A `bytes` object that several records are decrypted into, one after the other. Nobody else has it before it is finished.
struct Growing<'py> {
    data: Bound<'py, PyBytes>,
    filled: usize,
}

impl<'py> Growing<'py> {
    fn new(py: Python<'py>, size: usize) -> PyResult<Self> {
        // SAFETY: new bytes, of any contents.
        let data = unsafe {
            let data = ffi::PyBytes_FromStringAndSize(std::ptr::null(), ffi::Py_ssize_t::try_from(size)?);
            Bound::from_owned_ptr_or_err(py, data)?.cast_into_unchecked()
        };
        Ok(Self { data, filled: 0 })
    }

    fn room(&self) -> usize {
        self.data.as_bytes().len() - self.filled
    }

    fn read(&mut self, session: &Session) -> PyResult<Said<usize>> {
        let (py, room) = (self.data.py(), self.room());
        // SAFETY: there is so much room from there on, in bytes that nobody else has; the view is not kept.
        let rest = unsafe {
            let place = ffi::PyBytes_AsString(self.data.as_ptr()).add(self.filled);
            let view =
                ffi::PyMemoryView_FromMemory(place, ffi::Py_ssize_t::try_from(room)?, ffi::PyBUF_WRITE);
            Bound::from_owned_ptr_or_err(py, view)?
        };
        let said = session.read_into(py, room, &rest)?;
        if let Said::Done(count) = said {
            self.filled += count;
        }
        Ok(said)
    }

    /// What was read, if anything was.
    fn finish(self) -> PyResult<Option<Bound<'py, PyBytes>>> {
        if self.filled == 0 {
            return Ok(None);
        }
        let py = self.data.py();
        let mut data = self.data.into_ptr();
        // SAFETY: the only reference, which the call takes over and gives back; null with an exception if there is no memory.
        unsafe {
            _PyBytes_Resize(&raw mut data, ffi::Py_ssize_t::try_from(self.filled)?);
            Ok(Some(
                Bound::from_owned_ptr_or_err(py, data)?.cast_into_unchecked(),
            ))
        }
    }
}

/// The pieces as one.
fn joined<'py>(py: Python<'py>, pieces: &[Bound<'py, PyBytes>]) -> PyResult<Option<Bound<'py, PyAny>>> {
    match pieces {
        [] => Ok(None),
        [one] => Ok(Some(one.clone().into_any())),
        _ => {
            let length: usize = pieces.iter().map(|piece| piece.as_bytes().len()).sum();
            // SAFETY: new bytes that nobody else has may be written to, as many as were asked for.
            unsafe {
                let whole =
                    ffi::PyBytes_FromStringAndSize(std::ptr::null(), ffi::Py_ssize_t::try_from(length)?);
                let whole = Bound::from_owned_ptr_or_err(py, whole)?;
                let mut place = ffi::PyBytes_AsString(whole.as_ptr());
                for piece in pieces {
                    let data = piece.as_bytes();
                    std::ptr::copy_nonoverlapping(data.as_ptr().cast(), place, data.len());
                    place = place.add(data.len());
                }
                Ok(Some(whole))
            }
        }
    }
}
