//! `StreamReader`: bytes that came, and the coroutine that waits for more.
//!
//! The coroutines are in [`super::read`], the methods in [`super::methods`]. Everything here is as in `asyncio.streams`, to the white-box attributes: a
//! reader has at most one `_waiter`, and pauses its transport when more than twice its limit is unread.

use super::buffer::{Buffer, contents};
use super::face::Kind;
use super::read::{Read, Want};
use crate::asyncio::await_::Await;
use crate::asyncio::future::Future;
use crate::guarded::Guarded;
use crate::held::Held;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyAssertionError, PyNotImplementedError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes};
use pyo3::{ffi, intern};
use std::sync::atomic::{AtomicBool, Ordering};

/// The standard library's `_DEFAULT_LIMIT`.
pub(super) const DEFAULT_LIMIT: usize = 1 << 16;
/// The methods that others are built of. Who overrides one of them is served by the standard library's code.
pub(super) const HOOKS: [&str; 6] = [
    "read",
    "readline",
    "readuntil",
    "_wait_for_data",
    "_maybe_resume_transport",
    "_wakeup_waiter",
];

/// What a reader consists of.
#[derive(Debug, Default)]
pub struct State {
    pub buffer: Buffer,
    pub limit: usize,
    pub eof: bool,
    pub paused: bool,
    pub waiter: Option<Held>,
    pub exception: Option<Held>,
    pub transport: Option<Held>,
    pub event_loop: Option<Held>,
}

/// The native half of `StreamReader`.
#[pyclass(frozen, subclass, module = "plait.asyncio")]
#[derive(Debug)]
pub struct StreamReaderCore {
    pub(super) state: Guarded<State>,
    /// No hook is overridden.
    pub(super) plain: AtomicBool,
    /// `feed_data` is ours too.
    pub(super) feeds: AtomicBool,
    /// True: see `queue::state::Queue::built`.
    pub(super) built: bool,
}

/// A limit as a number of bytes; whatever it is, it can be compared with one.
pub(super) fn limit_of(limit: &Bound<'_, PyAny>) -> PyResult<usize> {
    if let Ok(limit) = limit.extract::<usize>() {
        return Ok(limit);
    }
    if limit.lt(0)? {
        return Ok(0);
    }
    Ok(limit
        .call_method0("__int__")
        .and_then(|limit| limit.extract())
        .unwrap_or(usize::MAX))
}

impl StreamReaderCore {
    /// Whether the native methods may stand for one another.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.plain.load(Ordering::Relaxed)
    }

    /// Whether data can be given to it without calling `feed_data`.
    #[inline]
    pub fn feeds_plainly(&self) -> bool {
        self.feeds.load(Ordering::Relaxed) && self.is_plain()
    }

    pub(super) fn get<'py>(
        &self,
        py: Python<'py>,
        field: impl FnOnce(&mut State) -> &mut Option<Held>,
    ) -> Option<Bound<'py, PyAny>> {
        field(&mut self.state.lock())
            .as_ref()
            .map(|held| held.bind(py).to_owned())
    }

    pub(super) fn set(
        &self,
        value: Option<Bound<'_, PyAny>>,
        field: impl FnOnce(&mut State) -> &mut Option<Held>,
    ) {
        let value = value.filter(|value| !value.is_none()).map(Held::from);
        let old = std::mem::replace(field(&mut self.state.lock()), value);
        drop(old);
    }

    /// The exception that was set.
    pub fn error<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.get(py, |state| &mut state.exception)
    }

    /// Raises the exception that was set.
    ///
    /// # Errors
    /// That one.
    pub fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.error(py)
            .map_or(Ok(()), |error| Err(PyErr::from_value(error)))
    }

    /// The array that Python code was shown, if it may have it still.
    pub(super) fn shown<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyByteArray>> {
        let mut state = self.state.lock();
        let Buffer::Shown(array) = &state.buffer else {
            return None;
        };
        // SAFETY: the array is alive. Where the GIL is, nobody can come to have it again once it is ours alone.
        if cfg!(Py_GIL_DISABLED) || unsafe { ffi::Py_REFCNT(array.as_ptr()) } > 1 {
            let array = array.bind(py).to_owned();
            drop(state);
            // SAFETY: it was made a `bytearray`.
            return Some(unsafe { array.cast_into_unchecked() });
        }
        let unread = state.buffer.unread().to_vec();
        let old = std::mem::replace(&mut state.buffer, Buffer::Joined(unread, 0));
        drop(state);
        drop(old);
        None
    }

    /// Adds what came.
    ///
    /// # Errors
    /// `TypeError` if it is not bytes; what the waiter raises.
    pub fn feed<'py>(slf: &Bound<'py, Self>, data: &Bound<'py, PyAny>) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        if this.state.lock().eof {
            return Err(PyAssertionError::new_err("feed_data after feed_eof"));
        }
        if !data.is_truthy()? {
            return Ok(());
        }
        if let Some(shown) = this.shown(py) {
            shown.call_method1(intern!(py, "extend"), (data,))?;
        } else if let Ok(bytes) = data.cast_exact::<PyBytes>() {
            let mut state = this.state.lock();
            // SAFETY: these are exact bytes, not empty.
            let old = unsafe { state.buffer.keep(bytes.as_ptr()) };
            let old = old.or_else(|| state.buffer.join(bytes.as_bytes()));
            drop(state);
            drop(old);
        } else if let Ok(bytes) = data.cast_exact::<PyByteArray>() {
            let bytes = bytes.to_vec();
            let old = this.state.lock().buffer.join(&bytes);
            drop(old);
        } else {
            let bytes = match PyBuffer::<u8>::get(data) {
                Ok(buffer) => buffer.to_vec(py)?,
                Err(_) => {
                    let bytes = PyByteArray::new(py, &[]);
                    bytes.call_method1(intern!(py, "extend"), (data,))?;
                    bytes.to_vec()
                }
            };
            let old = this.state.lock().buffer.join(&bytes);
            drop(old);
        }
        if this.is_plain() {
            this.wake(py)?;
        } else {
            slf.call_method0(intern!(py, "_wakeup_waiter"))?;
        }
        this.pause(py)
    }

    /// Pauses the transport if there is too much.
    fn pause(&self, py: Python<'_>) -> PyResult<()> {
        let state = self.state.lock();
        if state.paused || state.buffer.len() <= state.limit.saturating_mul(2) {
            return Ok(());
        }
        drop(state);
        let Some(transport) = self.get(py, |state| &mut state.transport) else {
            return Ok(());
        };
        match transport.call_method0(intern!(py, "pause_reading")) {
            Ok(_) => self.state.lock().paused = true,
            // It cannot be paused, and is not asked again: all is kept.
            Err(error) if error.is_instance_of::<PyNotImplementedError>(py) => {
                self.set(None, |state| &mut state.transport);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Wakes who waits for data or the end.
    ///
    /// # Errors
    /// What the future raises.
    pub fn wake(&self, py: Python<'_>) -> PyResult<()> {
        let waiter = self.state.lock().waiter.take();
        let Some(waiter) = waiter else {
            return Ok(());
        };
        let waiter = waiter.into_bound(py);
        if let Ok(future) = waiter.cast_exact::<Future>() {
            if !future.get().is_cancelled() {
                Future::finish(future, py.None())?;
            }
        } else if !waiter.call_method0(intern!(py, "cancelled"))?.is_truthy()? {
            waiter.call_method1(intern!(py, "set_result"), (py.None(),))?;
        }
        Ok(())
    }

    /// What has to be waited for until more comes; a paused transport goes on.
    ///
    /// # Errors
    /// `RuntimeError` if somebody waits already; what the transport and the loop raise.
    pub fn wait_for_data<'py>(&self, py: Python<'py>, caller: &str) -> PyResult<Bound<'py, Future>> {
        let mut state = self.state.lock();
        if state.waiter.is_some() {
            drop(state);
            return Err(PyRuntimeError::new_err(format!(
                "{caller}() called while another coroutine is already waiting for incoming data"
            )));
        }
        if state.eof {
            drop(state);
            return Err(PyAssertionError::new_err("_wait_for_data after EOF"));
        }
        let paused = std::mem::take(&mut state.paused);
        drop(state);
        if paused {
            self.resume(py)?;
        }
        let event_loop = self
            .get(py, |state| &mut state.event_loop)
            .ok_or_else(|| PyRuntimeError::new_err("StreamReader object is not initialized."))?;
        let waiter = Future::create(py, &event_loop)?;
        self.set(Some(waiter.clone().into_any()), |state| &mut state.waiter);
        Ok(waiter)
    }

    /// Nobody waits any more.
    pub fn forget_waiter(&self) {
        let old = self.state.lock().waiter.take();
        drop(old);
    }

    fn resume(&self, py: Python<'_>) -> PyResult<()> {
        match self.get(py, |state| &mut state.transport) {
            Some(transport) => transport.call_method0(intern!(py, "resume_reading")).map(drop),
            None => py.None().bind(py).call_method0("resume_reading").map(drop),
        }
    }

    /// Lets the transport go on, if there is little enough to read.
    ///
    /// # Errors
    /// What the transport raises.
    #[inline]
    pub fn maybe_resume(&self, py: Python<'_>) -> PyResult<()> {
        let mut state = self.state.lock();
        if !state.paused || state.buffer.len() > state.limit {
            return Ok(());
        }
        state.paused = false;
        drop(state);
        self.resume(py)
    }

    /// Takes the first `length` bytes, of which there are as many.
    ///
    /// # Errors
    /// `MemoryError`; `RuntimeError` if another thread took them meanwhile.
    pub fn take<'py>(&self, py: Python<'py>, length: usize) -> PyResult<Bound<'py, PyBytes>> {
        if length == 0 {
            return Ok(PyBytes::new(py, &[]));
        }
        if let Some(shown) = self.shown(py) {
            let taken = shown.to_vec();
            let taken = PyBytes::new(py, taken.get(..length).unwrap_or(&taken));
            self.discard(py, length)?;
            return Ok(taken);
        }
        let piece = self.state.lock().buffer.take_piece(length);
        if let Some(piece) = piece {
            // SAFETY: pieces are exact bytes.
            return Ok(unsafe { piece.into_bound(py).cast_into_unchecked() });
        }
        let size = ffi::Py_ssize_t::try_from(length)?;
        // SAFETY: new bytes that nobody else has may be written to; they are filled, or dropped.
        unsafe {
            let taken = ffi::PyBytes_FromStringAndSize(std::ptr::null(), size);
            let taken = Bound::from_owned_ptr_or_err(py, taken)?;
            let target = contents(taken.as_ptr());
            let target = std::slice::from_raw_parts_mut(target.as_ptr().cast_mut(), length);
            let (complete, old) = self.state.lock().buffer.take_into(target);
            drop(old);
            if !complete {
                return Err(PyRuntimeError::new_err("StreamReader is used by several threads"));
            }
            Ok(taken.cast_into_unchecked())
        }
    }

    /// Forgets the first `length` bytes.
    ///
    /// # Errors
    /// `BufferError` if the array that was shown is exported.
    pub fn discard(&self, py: Python<'_>, length: usize) -> PyResult<()> {
        let Some(shown) = self.shown(py) else {
            return self.take(py, length).map(drop);
        };
        let length = ffi::Py_ssize_t::try_from(length.min(shown.len()))?;
        // SAFETY: it is a live array.
        let done = unsafe { ffi::PySequence_DelSlice(shown.as_ptr(), 0, length) };
        if done == 0 { Ok(()) } else { Err(PyErr::fetch(py)) }
    }

    /// An awaitable for `want`, or the standard library's if a hook is overridden.
    pub(super) fn reading<'py>(
        slf: &Bound<'py, Self>,
        want: Want,
        method: &str,
        arguments: &[&Bound<'py, PyAny>],
    ) -> PyResult<Bound<'py, PyAny>> {
        if !slf.get().is_plain() {
            return Kind::Reader.standard(slf.as_any(), method, arguments, None);
        }
        Await::create(slf.py(), Read::new(slf, want)).map(Bound::into_any)
    }
}
