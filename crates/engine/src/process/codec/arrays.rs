//! Arrays of numpy as what they are: kind, dimensions and bytes. Pickle says the same with several calls of Python code.
//!
//! Exact `ndarray`s whose rows lie one behind the other, of numbers in the machine's order. A *kind* is the place of the
//! dtype's letter in [`KINDS`]. An array comes back as it does from pickle: a copy that can be written to if the original
//! can, and where its bytes lie in a segment a view of that.

use super::nested::{Beside, Walk};
use super::{ARRAY, ARRAY_BESIDE};
use crate::process::extent::{Exported, OUT_OF_BAND};
use crate::shared::pickling;
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyBytes, PyTuple};
use std::ffi::CStr;

const KINDS: &str = "?bBhHiIlLqQefdgFDG";
/// Dimensions, at most.
const MOST: usize = 32;

/// What is used of numpy.
struct Numpy {
    class: Py<PyAny>,
    from_buffer: Py<PyAny>,
    /// For each of KINDS. There is one object for each.
    dtypes: Vec<Py<PyAny>>,
}

static NUMPY: PyOnceLock<Numpy> = PyOnceLock::new();

fn numpy(py: Python<'_>) -> PyResult<&'static Numpy> {
    NUMPY.get_or_try_init(py, || {
        let numpy = py.import("numpy")?;
        let dtype = |letter: char| Ok(numpy.getattr("dtype")?.call1((letter,))?.unbind());
        Ok(Numpy {
            class: numpy.getattr("ndarray")?.unbind(),
            from_buffer: numpy.getattr("frombuffer")?.unbind(),
            dtypes: KINDS.chars().map(dtype).collect::<PyResult<_>>()?,
        })
    })
}

/// What is used of numpy, if `object` is an array of it.
fn of<'py>(object: &Bound<'py, PyAny>) -> Option<&'static Numpy> {
    let py = object.py();
    let numpy = match NUMPY.get(py) {
        Some(numpy) => numpy,
        None => {
            // SAFETY: a type has a name, which it keeps.
            let name = unsafe { CStr::from_ptr((*object.get_type_ptr()).tp_name) };
            if name != c"numpy.ndarray" {
                return None;
            }
            numpy(py).ok()?
        }
    };
    (object.get_type_ptr().cast() == numpy.class.as_ptr()).then_some(numpy)
}

/// Appends an array. False: it is none, or not of those that are simple.
pub(super) fn put(object: &Bound<'_, PyAny>, to: &mut Vec<u8>, walk: &mut Walk) -> bool {
    let Some(numpy) = of(object) else {
        return false;
    };
    let py = object.py();
    let kind = object.getattr(intern!(py, "dtype")).ok().and_then(|its| {
        let is_its = |dtype: &Py<PyAny>| dtype.is(&its);
        numpy.dtypes.iter().position(is_its)
    });
    let (Some(kind), Ok(false)) = (kind, pickling::has_reducer(numpy.class.bind(py))) else {
        return false;
    };
    let Ok(view) = Exported::in_rows(object) else {
        return false;
    };
    let (shape, bytes) = (view.shape(), view.bytes());
    if bytes.is_empty() || shape.len() > MOST || !walk.meet(object.as_ptr()) {
        return false;
    }
    let beside = bytes.len() >= OUT_OF_BAND;
    if beside && walk.beside.is_none() {
        return false;
    }
    let tag = if beside { ARRAY_BESIDE } else { ARRAY };
    #[expect(clippy::cast_possible_truncation, reason = "of KINDS, and at most MOST")]
    to.extend_from_slice(&[tag, kind as u8, u8::from(!view.is_read_only()), shape.len() as u8]);
    for length in shape {
        to.extend_from_slice(&(*length as u64).to_le_bytes());
    }
    if let (true, Some(all)) = (beside, &mut walk.beside) {
        all.push(view);
        return true;
    }
    #[expect(clippy::cast_possible_truncation, reason = "less than OUT_OF_BAND")]
    to.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    to.extend_from_slice(bytes);
    true
}

/// An array as it stands in a record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Array<'a> {
    kind: u8,
    writable: bool,
    /// A u64 for each dimension.
    shape: &'a [u8],
    /// None: they lie beside.
    bytes: Option<&'a [u8]>,
}

impl<'a> Array<'a> {
    /// What stands behind the tag, and what follows.
    pub(super) fn read(beside: bool, rest: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let ([kind, writable, dimensions], rest) = rest.split_first_chunk()?;
        if usize::from(*kind) >= KINDS.len() || *writable > 1 || usize::from(*dimensions) > MOST {
            return None;
        }
        let (shape, rest) = rest.split_at_checked(usize::from(*dimensions) * 8)?;
        let (bytes, rest) = if beside {
            (None, rest)
        } else {
            let (length, rest) = rest.split_first_chunk()?;
            let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            (Some(bytes), rest)
        };
        let array = Self {
            kind: *kind,
            writable: *writable == 1,
            shape,
            bytes,
        };
        Some((array, rest))
    }

    /// # Errors
    /// Dimensions that do not fit the bytes; no memory; no numpy.
    pub(super) fn make<'py>(self, py: Python<'py>, beside: &mut Beside<'py>) -> PyResult<Bound<'py, PyAny>> {
        let numpy = numpy(py)?;
        let buffer = match self.bytes {
            None => beside.next()?,
            Some(bytes) if self.writable => PyByteArray::new(py, bytes).into_any(),
            Some(bytes) => PyBytes::new(py, bytes).into_any(),
        };
        let dtype = &numpy.dtypes[usize::from(self.kind)];
        let flat = numpy.from_buffer.bind(py).call1((buffer, dtype))?;
        let lengths: Vec<u64> = self
            .shape
            .as_chunks()
            .0
            .iter()
            .map(|its| u64::from_le_bytes(*its))
            .collect();
        if let [length] = lengths[..] {
            if flat.len()? as u64 == length {
                return Ok(flat);
            }
            return Err(PyValueError::new_err("an array of another length"));
        }
        flat.call_method1(intern!(py, "reshape"), (PyTuple::new(py, lengths)?,))
    }
}
