//! Large values in shared memory: a pickle and its out-of-band buffers, into a segment and out of it.
//!
//! The sender's side is [`pack`]; it gives the body of a record of form SEGMENT, and an [`Offer`] that holds the bytes:
//! - who sends a call keeps the offer as long as the call may be sent (again), calls [`show`] before each record that
//!   names it is published, and drops it when the call is settled;
//! - who sends a result calls [`show`], publishes, then [`Offer::send`];
//! - [`Arena::gone`] is called as soon as a receiver is known to be dead, [`Arena::trim`] now and then.
//!
//! The receiver's side is [`open`], which needs no Python: whoever reads the record calls it, since it takes the
//! descriptors that came over the link. The [`Parcel`] that it gives is [`unpack`]ed by whoever wants the value, or dropped.
//! In place of a pickle there may be what the codec has written, with a zero before it.
//!
//! An [`Extent`] is the bytes as Python has them: read-only, given back to their sender when the last view of them is gone.

use crate::process::codec::Beside;
use crate::process::protocol::LONGEST;
use plait_proc::link::Link;
use plait_ring::parcel::{self, Refused};
use plait_ring::{Arena, Inbox, Offer, Parcel, Part};
use pyo3::exceptions::{PyMemoryError, PyOSError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyList};
use std::ffi::c_int;
use std::io::{Error, ErrorKind};
use std::mem::MaybeUninit;
use std::sync::Arc;

/// From here on bytes are copied without the GIL.
const DETACH_FROM: usize = 1 << 20;
/// Buffers from this size on lie beside what names them.
pub const OUT_OF_BAND: usize = 64 << 10;
/// What a parcel's first part begins with if it is no pickle: values by the codec follow. A pickle begins with 0x80.
const SIMPLE: u8 = 0;

/// Bytes in shared memory that another process has written. A buffer, read-only.
#[pyclass(frozen, module = "plait._engine")]
#[derive(Debug)]
pub struct Extent {
    part: Part,
}

#[pymethods]
impl Extent {
    fn __len__(&self) -> usize {
        self.part.len()
    }

    fn __repr__(&self) -> String {
        format!("<Extent of {} bytes>", self.part.len())
    }

    /// As bytes: where it goes it may outlive its sender.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyAny>,))> {
        let kind = slf.py().get_type::<PyBytes>();
        let bytes = kind.call1((slf,))?;
        Ok((kind.into_any(), (bytes,)))
    }

    /// # Safety
    /// `view` is the interpreter's: to be filled in, or left alone.
    #[expect(clippy::cast_possible_wrap, reason = "memory is not that long")]
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let part = &slf.get().part;
        // SAFETY: the view holds a reference to the extent, which keeps the bytes mapped and the lease taken.
        let end = unsafe {
            let bytes = part.ptr().cast_mut().cast();
            ffi::PyBuffer_FillInfo(view, slf.as_ptr(), bytes, part.len() as ffi::Py_ssize_t, 1, flags)
        };
        if end < 0 {
            return Err(PyErr::fetch(slf.py()));
        }
        Ok(())
    }
}

/// The bytes of an object that has a contiguous buffer, which is exported as long as this is there. Dropped attached.
pub struct Exported(Box<ffi::Py_buffer>);

// SAFETY: it is made and dropped attached; in between its bytes are read.
unsafe impl Send for Exported {}
// SAFETY: as above.
unsafe impl Sync for Exported {}

impl Exported {
    /// In any contiguous order: the pickle knows which.
    ///
    /// # Errors
    /// `BufferError` if it is in pieces.
    pub fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::with(object, ffi::PyBUF_ANY_CONTIGUOUS)
    }

    /// With its rows one behind the other.
    ///
    /// # Errors
    /// What the object raises, `BufferError` as a rule, if they do not lie so.
    pub fn in_rows(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::with(object, ffi::PyBUF_C_CONTIGUOUS)
    }

    fn with(object: &Bound<'_, PyAny>, flags: c_int) -> PyResult<Self> {
        let mut view = Box::new(MaybeUninit::<ffi::Py_buffer>::zeroed());
        // SAFETY: the view is filled in, or an exception set.
        unsafe {
            if ffi::PyObject_GetBuffer(object.as_ptr(), view.as_mut_ptr(), flags) < 0 {
                return Err(PyErr::fetch(object.py()));
            }
            Ok(Self(view.assume_init()))
        }
    }

    /// The length of each dimension, if it was asked for [in rows](Self::in_rows).
    #[must_use]
    pub fn shape(&self) -> &[isize] {
        if self.0.shape.is_null() || self.0.ndim <= 0 {
            return &[];
        }
        // SAFETY: as many as there are dimensions, as long as the view is.
        unsafe { std::slice::from_raw_parts(self.0.shape, self.0.ndim.unsigned_abs() as usize) }
    }

    /// Whether its owner does not want it to be written to.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.0.readonly != 0
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        if self.0.buf.is_null() || self.0.len <= 0 {
            return &[];
        }
        // SAFETY: contiguous, exported until we are dropped. Others may write to it meanwhile, as they may to any buffer
        // that is being copied: what arrives is then a mixture.
        unsafe { std::slice::from_raw_parts(self.0.buf.cast(), self.0.len.unsigned_abs()) }
    }
}

impl std::fmt::Debug for Exported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<{} bytes>", self.bytes().len())
    }
}

impl Drop for Exported {
    fn drop(&mut self) {
        // SAFETY: the view is ours, and we are attached.
        unsafe { ffi::PyBuffer_Release(&raw mut *self.0) }
    }
}

/// Hands the segment over to `receiver` at the other end of the link, unless it has it. Does not wait.
///
/// # Errors
/// `WouldBlock` if the link is full: the receiver has to read first. Else the system's.
pub fn show(offer: &Offer, link: &Link, receiver: u64) -> std::io::Result<()> {
    offer.show(receiver, |text, file| link.try_send(text, &[file]))
}

/// Takes what a record's body tells of, and off the link what is missing for it. Does not wait.
///
/// # Errors
/// [`Refused`]: who wrote the record is not to be trusted.
pub fn open(inbox: &mut Inbox, body: &[u8], link: &Link) -> Result<Parcel, Refused> {
    inbox.open(body, || match link.try_recv() {
        Ok(Some(mut message)) if message.fds.len() == 1 => {
            Ok(message.fds.pop().map(|file| (message.bytes, file)))
        }
        Ok(None) => Ok(None),
        Ok(Some(_)) => Err(ErrorKind::InvalidData.into()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    })
}

/// Puts a pickle and its out-of-band buffers (objects with a contiguous buffer, in the order of the pickle) into a segment, and
/// appends the body of the record that tells of them to `body`. Copies more than 1 MiB without the GIL.
///
/// # Errors
/// `MemoryError` if there is no memory for them; `BufferError` if one is not contiguous. `body` is as it was then.
pub fn pack<'py>(
    py: Python<'py>,
    arena: &Arc<Arena>,
    pickle: &[u8],
    buffers: impl IntoIterator<Item = Bound<'py, PyAny>>,
    body: &mut Vec<u8>,
) -> PyResult<Offer> {
    let exported = buffers
        .into_iter()
        .map(|buffer| Exported::new(&buffer))
        .collect::<PyResult<Vec<_>>>()?;
    pack_exported(py, arena, pickle, &exported, body)
}

/// As [`pack`], for what the codec has written: `simple`, and what lies beside it.
///
/// # Errors
/// `MemoryError`.
pub fn pack_simple(
    py: Python<'_>,
    arena: &Arc<Arena>,
    simple: &[u8],
    beside: &[Exported],
    body: &mut Vec<u8>,
) -> PyResult<Offer> {
    let marked = [&[SIMPLE], simple].concat();
    pack_exported(py, arena, &marked, beside, body)
}

fn pack_exported(
    py: Python<'_>,
    arena: &Arc<Arena>,
    pickle: &[u8],
    exported: &[Exported],
    body: &mut Vec<u8>,
) -> PyResult<Offer> {
    let parts: Vec<&[u8]> = exported.iter().map(Exported::bytes).collect();
    let size = parts
        .iter()
        .fold(pickle.len(), |sum, part| sum.saturating_add(part.len()));
    let packed = if size < DETACH_FROM {
        parcel::pack(arena, pickle, &parts, body)
    } else {
        py.detach(|| parcel::pack(arena, pickle, &parts, body))
    };
    packed.map_err(|error| refusal(size, &error))
}

fn refusal(size: usize, error: &Error) -> PyErr {
    let short = [libc::ENOMEM, libc::ENOSPC, libc::EFBIG].map(Some);
    let text = format!("no shared memory for a value of {size} bytes: {error}");
    if short.contains(&error.raw_os_error()) {
        PyMemoryError::new_err(text)
    } else {
        PyOSError::new_err((error.raw_os_error(), text))
    }
}

/// What was in a segment. The buffers are read-only views, or with `copy` writable copies; the segment is given back when all
/// that is here is gone.
#[derive(Debug)]
pub enum Unpacked<'py> {
    /// For `pickle.loads(data, buffers=buffers)`.
    Pickle(Bound<'py, PyAny>, Bound<'py, PyList>),
    /// For the codec: what [`pack_simple`] was given.
    Simple(Vec<u8>, Beside<'py>),
}

/// Makes objects of what was in a segment.
///
/// # Errors
/// `MemoryError`.
pub fn unpack(py: Python<'_>, parcel: Parcel, copy: bool) -> PyResult<Unpacked<'_>> {
    let buffer = |part| {
        Ok(if copy {
            copied(py, &part)?.into_any()
        } else {
            Bound::new(py, Extent { part })?.into_any()
        })
    };
    let buffers = parcel
        .buffers
        .into_iter()
        .map(buffer)
        .collect::<PyResult<Vec<_>>>()?;
    if let Some(simple) = simple(&parcel.pickle) {
        return Ok(Unpacked::Simple(simple, Beside::new(buffers)));
    }
    let pickle = Bound::new(py, Extent { part: parcel.pickle })?;
    Ok(Unpacked::Pickle(pickle.into_any(), PyList::new(py, buffers)?))
}

/// A copy of what the codec has written: its sender may go on writing.
fn simple(part: &Part) -> Option<Vec<u8>> {
    if !(1..=LONGEST + 1).contains(&part.len()) {
        return None;
    }
    // SAFETY: the part is mapped, and leased; its bytes are looked at by nobody before they are copied, but for the first one.
    unsafe {
        if part.ptr().read_volatile() != SIMPLE {
            return None;
        }
        let mut bytes = Vec::<u8>::with_capacity(part.len() - 1);
        bytes
            .as_mut_ptr()
            .copy_from_nonoverlapping(part.ptr().add(1), part.len() - 1);
        bytes.set_len(part.len() - 1);
        Some(bytes)
    }
}

fn copied<'py>(py: Python<'py>, part: &Part) -> PyResult<Bound<'py, PyByteArray>> {
    let length = part.len();
    // SAFETY: a new object of that length, or an exception. Nobody else has it before we return it.
    unsafe {
        #[expect(clippy::cast_possible_wrap, reason = "memory is not that long")]
        let object = ffi::PyByteArray_FromStringAndSize(std::ptr::null(), length as ffi::Py_ssize_t);
        let object = Bound::from_owned_ptr_or_err(py, object)?.cast_into_unchecked::<PyByteArray>();
        let to = object.data() as usize;
        let copy = || (to as *mut u8).copy_from_nonoverlapping(part.ptr(), length);
        if length < DETACH_FROM {
            copy();
        } else {
            py.detach(copy);
        }
        Ok(object)
    }
}
