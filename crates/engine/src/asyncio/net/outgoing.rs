//! What a transport has taken and the kernel not yet: pieces in order, without copies of what cannot change.

use super::sys::{self, Errno};
use crate::held::Held;
use libc::{c_int, iovec};
use pyo3::ffi::{self, PyObject};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use smallvec::SmallVec;
use std::collections::VecDeque;

/// As many pieces leave in one call at most; the kernel takes 1,024.
const PIECES: usize = 64;

/// Pieces that are done. To be dropped outside of the guard.
pub type Done = SmallVec<[Piece; 2]>;

/// An exact `bytes` object from an offset on, and where it goes if that is not the peer.
#[derive(Debug)]
pub struct Piece {
    bytes: Held,
    sent: usize,
    pub address: Option<Held>,
}

impl Piece {
    /// What is left of `data`, an object that has the buffer interface, of which `sent` bytes have gone. What may
    /// change is copied.
    ///
    /// # Errors
    /// `TypeError`, `BufferError`, `MemoryError`.
    pub fn create(data: &Bound<'_, PyAny>, sent: usize) -> PyResult<Self> {
        let py = data.py();
        // SAFETY: the object is alive; PyBytes_FromObject gives a new reference or an exception.
        unsafe {
            if ffi::PyBytes_CheckExact(data.as_ptr()) != 0 {
                return Ok(Self {
                    bytes: Held::new(data.as_ptr()),
                    sent,
                    address: None,
                });
            }
        }
        let view = View::create(data)?;
        let rest = view.bytes().get(sent..).unwrap_or_default();
        let bytes = pyo3::types::PyBytes::new(py, rest);
        Ok(Self {
            bytes: bytes.into_any().into(),
            sent: 0,
            address: None,
        })
    }

    /// All of it, as an object.
    pub fn object<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.bytes.clone_ref(py).into_bound(py)
    }

    /// What is left of it.
    pub fn rest(&self) -> &[u8] {
        // SAFETY: an exact bytes object, alive and unchanging as long as we hold it.
        unsafe { bytes_of(self.bytes.as_ptr()) }
            .get(self.sent..)
            .unwrap_or_default()
    }
}

/// The content of an exact `bytes` object.
///
/// # Safety
/// It is one, and outlives the slice.
pub unsafe fn bytes_of<'a>(object: *mut PyObject) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe {
        let length = usize::try_from(ffi::PyBytes_Size(object)).unwrap_or(0);
        std::slice::from_raw_parts(ffi::PyBytes_AsString(object).cast::<u8>(), length)
    }
}

/// Somebody's buffer, held for as long as this lives: it is neither freed nor resized.
pub struct View(ffi::Py_buffer);

impl View {
    /// To read from.
    ///
    /// # Errors
    /// `TypeError`, `BufferError`.
    pub fn create(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::with(object, ffi::PyBUF_SIMPLE)
    }

    /// To write into.
    ///
    /// # Errors
    /// `TypeError`, `BufferError`.
    pub fn writable(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::with(object, ffi::PyBUF_WRITABLE)
    }

    fn with(object: &Bound<'_, PyAny>, flags: c_int) -> PyResult<Self> {
        let mut view = std::mem::MaybeUninit::<ffi::Py_buffer>::uninit();
        // SAFETY: the object is alive; the view is filled in if the call returns 0.
        unsafe {
            if ffi::PyObject_GetBuffer(object.as_ptr(), view.as_mut_ptr(), flags) != 0 {
                return Err(PyErr::fetch(object.py()));
            }
            Ok(Self(view.assume_init()))
        }
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        usize::try_from(self.0.len).unwrap_or(0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.len <= 0
    }

    /// The bytes of a writable view.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        if self.is_empty() {
            return &mut [];
        }
        // SAFETY: as in `bytes`; it may be written, or it would not have been given (`writable`).
        unsafe { std::slice::from_raw_parts_mut(self.0.buf.cast::<u8>(), self.len()) }
    }

    /// The bytes. Another thread may change them meanwhile, as with any `write`.
    pub fn bytes(&self) -> &[u8] {
        if self.is_empty() {
            return &[];
        }
        // SAFETY: a simple view is contiguous and stays in place until it is released.
        unsafe { std::slice::from_raw_parts(self.0.buf.cast::<u8>(), self.len()) }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: the view was taken by an attached thread, which is still inside of the same call.
        unsafe { ffi::PyBuffer_Release(&raw mut self.0) }
    }
}

/// The pieces.
#[derive(Debug, Default)]
pub struct Outgoing {
    pieces: VecDeque<Piece>,
    size: usize,
}

impl Outgoing {
    /// Whether all has gone.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// How many bytes have not gone.
    #[inline]
    pub fn size(&self) -> usize {
        self.size
    }

    /// How many pieces there are.
    pub fn count(&self) -> usize {
        self.pieces.len()
    }

    /// To be sent last.
    pub fn push(&mut self, piece: Piece) {
        self.size += piece.rest().len();
        self.pieces.push_back(piece);
    }

    /// To be sent first: it could not be sent after all.
    pub fn push_front(&mut self, piece: Piece) {
        self.size += piece.rest().len();
        self.pieces.push_front(piece);
    }

    /// The first, taken out.
    pub fn pop(&mut self) -> Option<Piece> {
        let piece = self.pieces.pop_front()?;
        self.size -= piece.rest().len();
        Some(piece)
    }

    /// Everything, taken out.
    pub fn take(&mut self) -> VecDeque<Piece> {
        self.size = 0;
        std::mem::take(&mut self.pieces)
    }

    /// Each piece, first to last.
    pub fn iter(&self) -> impl Iterator<Item = &Piece> {
        self.pieces.iter()
    }

    /// Sends as much as the kernel takes in one call, and puts what has gone into `done`.
    ///
    /// # Errors
    /// The system call's.
    pub fn send(&mut self, fd: c_int, socket: bool, done: &mut Done) -> Result<usize, Errno> {
        let sent = match self.pieces.front() {
            None => return Ok(0),
            Some(only) if self.pieces.len() == 1 => {
                if socket {
                    sys::send(fd, only.rest())?
                } else {
                    sys::write(fd, only.rest())?
                }
            }
            Some(_) => {
                let mut pieces: SmallVec<[iovec; PIECES]> = self
                    .pieces
                    .iter()
                    .take(PIECES)
                    .map(|piece| iovec {
                        iov_base: piece.rest().as_ptr().cast_mut().cast(),
                        iov_len: piece.rest().len(),
                    })
                    .collect();
                // SAFETY: the pieces are alive in the queue, which is borrowed.
                unsafe { sys::send_all(fd, socket, &mut pieces)? }
            }
        };
        self.advance(sent, done);
        Ok(sent)
    }

    fn advance(&mut self, mut sent: usize, done: &mut Done) {
        self.size -= sent;
        while let Some(first) = self.pieces.front_mut() {
            let left = first.rest().len();
            if sent < left {
                first.sent += sent;
                return;
            }
            sent -= left;
            done.extend(self.pieces.pop_front());
        }
    }

    /// For `__traverse__`.
    ///
    /// # Errors
    /// What the visitor returns.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for address in self.pieces.iter().filter_map(|piece| piece.address.as_ref()) {
            address.traverse(visit)?;
        }
        Ok(())
    }
}
