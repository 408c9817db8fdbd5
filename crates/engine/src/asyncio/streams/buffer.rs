//! What a reader has been given and nobody has read yet.
//!
//! A lone piece is kept as the `bytes` object that came, so that reading it whole copies nothing. More pieces are joined
//! in a vector. Once Python code has asked for the reader's `_buffer`, the data live in the `bytearray` that it got, for
//! as long as somebody else may hold it.

use crate::held::Held;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};

/// A vector larger than this is given back when it has been read.
const KEEP: usize = 16 * 1024;

/// The unread data. The functions neither call Python nor drop a reference: what has to be dropped is returned.
#[derive(Debug)]
pub enum Buffer {
    /// Joined pieces, from this index on.
    Joined(Vec<u8>, usize),
    /// An exact `bytes` object, from this index on.
    Piece(Held, usize),
    /// The `bytearray` that was shown.
    Shown(Held),
}

impl Default for Buffer {
    fn default() -> Self {
        Self::Joined(Vec::new(), 0)
    }
}

/// The contents of an exact `bytes` object.
///
/// # Safety
/// `bytes` is one, and outlives the result.
pub unsafe fn contents<'a>(bytes: *mut ffi::PyObject) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe {
        let length = usize::try_from(ffi::PyBytes_Size(bytes)).unwrap_or(0);
        std::slice::from_raw_parts(ffi::PyBytes_AsString(bytes).cast(), length)
    }
}

impl Buffer {
    /// The unread data. For a moment: nothing may run between this and the use.
    #[inline]
    pub fn unread(&self) -> &[u8] {
        match self {
            Self::Joined(data, start) => data.get(*start..).unwrap_or_default(),
            // SAFETY: it is exact `bytes`, alive as long as `self`.
            Self::Piece(piece, start) => unsafe { contents(piece.as_ptr()) }
                .get(*start..)
                .unwrap_or_default(),
            // SAFETY: it is a `bytearray`, alive as long as `self`, and nothing runs that could resize it.
            Self::Shown(array) => unsafe {
                let length = usize::try_from(ffi::PyByteArray_Size(array.as_ptr())).unwrap_or(0);
                std::slice::from_raw_parts(ffi::PyByteArray_AsString(array.as_ptr()).cast(), length)
            },
        }
    }

    /// How much is unread.
    #[inline]
    pub fn len(&self) -> usize {
        self.unread().len()
    }

    /// Whether nothing is.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.unread().is_empty()
    }

    /// Keeps `piece` itself, if there is nothing else. What is returned has to be dropped, outside the guard.
    ///
    /// # Safety
    /// `piece` is an exact `bytes` object, not empty, and the thread is attached.
    #[inline]
    pub unsafe fn keep(&mut self, piece: *mut ffi::PyObject) -> Option<Self> {
        if matches!(self, Self::Shown(_)) || !self.is_empty() {
            return None;
        }
        // SAFETY: the caller's promise.
        let piece = unsafe { Held::new(piece) };
        Some(std::mem::replace(self, Self::Piece(piece, 0)))
    }

    /// Adds `data` to what is not shown. What is returned has to be dropped, outside the guard.
    pub fn join(&mut self, data: &[u8]) -> Option<Self> {
        if let Self::Joined(joined, start) = self {
            if *start > joined.len() / 2 {
                joined.drain(..*start);
                *start = 0;
            }
            joined.extend_from_slice(data);
            return None;
        }
        let unread = self.unread();
        // More is likely to come.
        let mut joined = Vec::with_capacity((unread.len() + data.len()).max(1024));
        joined.extend_from_slice(unread);
        joined.extend_from_slice(data);
        Some(std::mem::replace(self, Self::Joined(joined, 0)))
    }

    /// The piece itself, if just the whole of it is wanted.
    #[inline]
    pub fn take_piece(&mut self, length: usize) -> Option<Held> {
        match self {
            Self::Piece(piece, 0) => {
                // SAFETY: it is exact `bytes`.
                let whole = unsafe { contents(piece.as_ptr()) }.len() == length;
                match std::mem::take(self) {
                    Self::Piece(piece, 0) if whole => Some(piece),
                    other => {
                        *self = other;
                        None
                    }
                }
            }
            _ => None,
        }
    }

    /// Copies the first bytes to `target` and forgets them; false if there are fewer. Not for what is shown.
    pub fn take_into(&mut self, target: &mut [u8]) -> (bool, Option<Self>) {
        let length = target.len();
        let unread = self.unread();
        let Some(data) = unread.get(..length) else {
            return (false, None);
        };
        target.copy_from_slice(data);
        let rest = unread.len() - length;
        (true, self.skip(length, rest))
    }

    fn skip(&mut self, length: usize, rest: usize) -> Option<Self> {
        match self {
            Self::Joined(joined, start) if rest == 0 => {
                *start = 0;
                joined.clear();
                if joined.capacity() > KEEP {
                    *joined = Vec::new();
                }
                None
            }
            Self::Piece(..) if rest == 0 => Some(std::mem::take(self)),
            Self::Joined(_, start) | Self::Piece(_, start) => {
                *start += length;
                None
            }
            Self::Shown(_) => None,
        }
    }

    /// For `__traverse__`.
    ///
    /// # Errors
    /// What the visitor returns.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Joined(..) => Ok(()),
            Self::Piece(object, _) | Self::Shown(object) => object.traverse(visit),
        }
    }
}
