//! What `readuntil` looks for.

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use smallvec::SmallVec;

type Separator = SmallVec<[u8; 8]>;

/// Separators, the shortest first.
#[derive(Debug)]
pub struct Separators(SmallVec<[Separator; 1]>);

impl Separators {
    /// As `readuntil` is called: bytes, or (from 3.13 on) a tuple of them.
    ///
    /// # Errors
    /// `ValueError` if there is none or one is empty, `TypeError` for what is not bytes.
    pub fn of(separator: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut all = SmallVec::new();
        match separator.cast::<PyTuple>() {
            Ok(several) if cfg!(Py_3_13) => {
                for one in several {
                    all.push(bytes_of(&one)?);
                }
                all.sort_by_key(|one: &Separator| one.len());
            }
            _ => all.push(bytes_of(separator)?),
        }
        match all.first() {
            None => Err(PyValueError::new_err(
                "Separator should contain at least one element",
            )),
            Some(shortest) if shortest.is_empty() => Err(PyValueError::new_err(
                "Separator should be at least one-byte string",
            )),
            Some(_) => Ok(Self(all)),
        }
    }

    /// The length of the shortest.
    pub fn least(&self) -> usize {
        self.0.first().map_or(1, SmallVec::len)
    }

    /// The length of the longest.
    pub fn most(&self) -> usize {
        self.0.last().map_or(1, SmallVec::len)
    }

    /// Where the match that ends first begins and ends in `data`, not before `offset`.
    pub fn find(&self, data: &[u8], offset: usize) -> Option<(usize, usize)> {
        let mut best: Option<(usize, usize)> = None;
        for separator in &self.0 {
            if let Some(start) = position(data, separator, offset) {
                let end = start + separator.len();
                if best.is_none_or(|(_, earliest)| end < earliest) {
                    best = Some((start, end));
                }
            }
        }
        best
    }
}

/// The bytes of a separator.
fn bytes_of(object: &Bound<'_, PyAny>) -> PyResult<Separator> {
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Ok(Separator::from_slice(bytes.as_bytes()));
    }
    object.len()?;
    match PyBuffer::<u8>::get(object) {
        Ok(buffer) => Ok(Separator::from_vec(buffer.to_vec(object.py())?)),
        Err(_) => Err(PyTypeError::new_err(format!(
            "argument should be integer or bytes-like object, not '{}'",
            object.get_type().name()?
        ))),
    }
}

/// Where `separator` is in `data`, not before `offset`.
pub fn position(data: &[u8], separator: &[u8], offset: usize) -> Option<usize> {
    let rest = data.get(offset..)?;
    // SAFETY: both functions read the given lengths only, and return null or a pointer into `rest`.
    let found = unsafe {
        match separator {
            [byte] => libc::memchr(rest.as_ptr().cast(), i32::from(*byte), rest.len()),
            _ => libc::memmem(
                rest.as_ptr().cast(),
                rest.len(),
                separator.as_ptr().cast(),
                separator.len(),
            ),
        }
    };
    (!found.is_null()).then(|| offset + found as usize - rest.as_ptr() as usize)
}
