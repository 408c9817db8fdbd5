//! Simple values as bytes: exact int (of 64 bits), str, bytes, float, bool and None. All else is for pickle.
//!
//! A value is a tag and its bytes, little-endian; nothing is aligned.
//!
//! | tag | value | bytes |
//! | --- | --- | --- |
//! | 0, 1, 2 | None, False, True | |
//! | 3 | int | i64 |
//! | 4 | float | f64 |
//! | 5 | bytes | length u32, the bytes |
//! | 6, 7, 8 | str | length in bytes u32, its characters, of 1, 2 or 4 bytes each as the interpreter has them |
//!
//! A call is the number of positional arguments (u16) and of keywords (u16), the positional values, then name (a str) and value of
//! each keyword. Strings are not made UTF-8: that would be kept with the object, and surrogates have none.
//!
//! What is decoded may be any bytes: [`Token::read`] checks every length and calls no Python.

use super::protocol::LONGEST;
use crate::held::Held;
use pyo3::exceptions::PyValueError;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use smallvec::SmallVec;
use std::ffi::{c_char, c_int};

const NONE: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const FLOAT: u8 = 4;
const BYTES: u8 = 5;
const TEXT_1: u8 = 6;
const TEXT_2: u8 = 7;
const TEXT_4: u8 = 8;

/// A value as it stands in a record.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Token<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Bytes(&'a [u8]),
    /// Characters of so many bytes each.
    Text(u8, &'a [u8]),
}

impl<'a> Token<'a> {
    /// The first value of `bytes` and what follows.
    #[inline]
    fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (tag, rest) = bytes.split_first()?;
        let (token, rest) = match *tag {
            NONE => (Self::None, rest),
            FALSE => (Self::Bool(false), rest),
            TRUE => (Self::Bool(true), rest),
            INT => {
                let (value, rest) = rest.split_first_chunk()?;
                (Self::Int(i64::from_le_bytes(*value)), rest)
            }
            FLOAT => {
                let (value, rest) = rest.split_first_chunk()?;
                (Self::Float(f64::from_le_bytes(*value)), rest)
            }
            BYTES | TEXT_1 | TEXT_2 | TEXT_4 => {
                let (length, rest) = rest.split_first_chunk()?;
                let (data, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
                let width = match *tag {
                    BYTES => return Some((Self::Bytes(data), rest)),
                    TEXT_1 => 1,
                    TEXT_2 => 2,
                    _ => 4,
                };
                if data.len() % width as usize != 0 {
                    return None;
                }
                (Self::Text(width, data), rest)
            }
            _ => return None,
        };
        Some((token, rest))
    }

    /// A new reference to the value.
    ///
    /// # Errors
    /// No memory; characters that there are not.
    #[inline]
    fn object(self, py: Python<'_>) -> PyResult<*mut PyObject> {
        // SAFETY: attached; pointers and lengths are those of slices; data of wider characters is copied to where it is aligned.
        let object = unsafe {
            match self {
                Self::None => return Ok(crate::hot::none()),
                Self::Bool(value) => return Ok(crate::hot::truth(value)),
                Self::Int(value) => ffi::PyLong_FromLongLong(value),
                Self::Float(value) => ffi::PyFloat_FromDouble(value),
                Self::Bytes(data) => {
                    ffi::PyBytes_FromStringAndSize(data.as_ptr().cast::<c_char>(), data.len().cast_signed())
                }
                Self::Text(1, data) => text(1, data.as_ptr(), data.len()),
                Self::Text(width, data) => {
                    let mut aligned = SmallVec::<[u32; 64]>::from_elem(0, data.len().div_ceil(4));
                    let to = aligned.as_mut_ptr().cast::<u8>();
                    to.copy_from_nonoverlapping(data.as_ptr(), data.len());
                    text(width, to, data.len() / width as usize)
                }
            }
        };
        if object.is_null() {
            return Err(PyErr::fetch(py));
        }
        Ok(object)
    }
}

/// # Safety
/// Attached; `length` characters of `width` bytes are at `data`, aligned.
unsafe fn text(width: u8, data: *const u8, length: usize) -> *mut PyObject {
    // SAFETY: the caller's promise.
    unsafe { ffi::PyUnicode_FromKindAndData(c_int::from(width), data.cast(), length.cast_signed()) }
}

#[cold]
fn garbled() -> PyErr {
    PyValueError::new_err("a record that cannot be read")
}

/// Appends `object`. False: it is not simple, or too long for a record.
///
/// # Safety
/// Attached; `object` is alive.
#[inline]
unsafe fn put(object: *mut PyObject, to: &mut Vec<u8>) -> bool {
    // SAFETY: the caller's promise; each accessor is called on the exact type that it is for.
    unsafe {
        let class = ffi::Py_TYPE(object);
        if class == &raw mut ffi::PyLong_Type {
            let mut overflow = 0;
            let value = ffi::PyLong_AsLongLongAndOverflow(object, &raw mut overflow);
            if overflow != 0 {
                return false;
            }
            fixed(INT, value.to_le_bytes(), to);
        } else if class == &raw mut ffi::PyUnicode_Type {
            #[cfg(not(Py_3_12))]
            if ffi::PyUnicode_READY(object) != 0 {
                ffi::PyErr_Clear();
                return false;
            }
            let width = ffi::PyUnicode_KIND(object) as usize;
            let data = ffi::PyUnicode_DATA(object).cast::<u8>();
            let length = ffi::PyUnicode_GET_LENGTH(object).unsigned_abs() * width;
            let tag = match width {
                1 => TEXT_1,
                2 => TEXT_2,
                _ => TEXT_4,
            };
            return run(tag, data, length, to);
        } else if object == ffi::Py_None() {
            to.push(NONE);
        } else if class == &raw mut ffi::PyFloat_Type {
            fixed(FLOAT, ffi::PyFloat_AS_DOUBLE(object).to_le_bytes(), to);
        } else if class == &raw mut ffi::PyBool_Type {
            to.push(if object == ffi::Py_True() { TRUE } else { FALSE });
        } else if class == &raw mut ffi::PyBytes_Type {
            let data = ffi::PyBytes_AS_STRING(object).cast::<u8>();
            let length = ffi::Py_SIZE(object).unsigned_abs();
            return run(BYTES, data, length, to);
        } else {
            return false;
        }
    }
    true
}

#[inline]
fn fixed(tag: u8, value: [u8; 8], to: &mut Vec<u8>) {
    let mut bytes = [tag; 9];
    bytes[1..].copy_from_slice(&value);
    to.extend_from_slice(&bytes);
}

/// # Safety
/// `length` bytes are at `data`.
#[inline]
unsafe fn run(tag: u8, data: *const u8, length: usize, to: &mut Vec<u8>) -> bool {
    let Ok(length_as_u32) = u32::try_from(length) else {
        return false;
    };
    if length > LONGEST {
        return false;
    }
    let mut bytes = [tag; 5];
    bytes[1..].copy_from_slice(&length_as_u32.to_le_bytes());
    to.extend_from_slice(&bytes);
    // SAFETY: the caller's promise.
    to.extend_from_slice(unsafe { std::slice::from_raw_parts(data, length) });
    true
}

/// Appends `value`. False: it is not simple, or longer than a record should be; `to` is unchanged then.
#[inline]
pub fn encode(value: &Bound<'_, PyAny>, to: &mut Vec<u8>) -> bool {
    let before = to.len();
    // SAFETY: a bound object is alive, and its token shows that the thread is attached.
    let simple = unsafe { put(value.as_ptr(), to) };
    if !simple {
        to.truncate(before);
    }
    simple
}

/// Appends the arguments of a call. False: they are not all simple, or longer than a record should be; `to` is unchanged then.
///
/// # Safety
/// The arguments are those of a vectorcall: `positional` at `args`, then one for each of `names` (a tuple of str, or null).
#[inline]
pub unsafe fn encode_call(
    _py: Python<'_>,
    args: *const *mut PyObject,
    positional: usize,
    names: *mut PyObject,
    to: &mut Vec<u8>,
) -> bool {
    let before = to.len();
    // SAFETY: the caller's promise.
    let simple = unsafe { put_call(args, positional, names, to) } && to.len() - before <= LONGEST;
    if !simple {
        to.truncate(before);
    }
    simple
}

/// # Safety
/// As [`encode_call`], attached.
#[inline]
unsafe fn put_call(
    args: *const *mut PyObject,
    positional: usize,
    names: *mut PyObject,
    to: &mut Vec<u8>,
) -> bool {
    // SAFETY: the caller's promise; indices are below the counts.
    unsafe {
        let keywords = if names.is_null() {
            0
        } else {
            ffi::PyTuple_GET_SIZE(names).unsigned_abs()
        };
        let (Ok(count), Ok(named)) = (u16::try_from(positional), u16::try_from(keywords)) else {
            return false;
        };
        to.extend_from_slice(&(u32::from(count) | u32::from(named) << 16).to_le_bytes());
        for at in 0..positional {
            if !put(*args.add(at), to) {
                return false;
            }
        }
        for at in 0..keywords {
            let name = ffi::PyTuple_GET_ITEM(names, at.cast_signed());
            let exact = ffi::Py_TYPE(name) == &raw mut ffi::PyUnicode_Type;
            if !exact || !put(name, to) || !put(*args.add(positional + at), to) {
                return false;
            }
        }
    }
    true
}

/// The value that [`encode`] has written.
///
/// # Errors
/// `ValueError` if the bytes are no value; what the interpreter raises where it has no memory.
#[inline]
pub fn decode<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let Some((token, [])) = Token::read(bytes) else {
        return Err(garbled());
    };
    let object = token.object(py)?;
    // SAFETY: the reference is new and owned.
    Ok(unsafe { Bound::from_owned_ptr(py, object) })
}

/// Whether the bytes are one value, without making it.
#[must_use]
pub fn is_value(bytes: &[u8]) -> bool {
    matches!(Token::read(bytes), Some((_, [])))
}

/// The arguments of a call, ready to be passed on. Dropped attached.
#[derive(Debug)]
pub struct Arguments {
    /// A place for the callee's use, the positional values, the values of the keywords.
    slots: SmallVec<[*mut PyObject; 9]>,
    positional: usize,
    names: Option<Held>,
}

impl Arguments {
    /// Calls `callable` with them.
    ///
    /// # Errors
    /// Whatever it raises.
    #[inline]
    pub fn call<'py>(&mut self, callable: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = callable.py();
        let names = self.names.as_ref().map_or(std::ptr::null_mut(), Held::as_ptr);
        // SAFETY: behind the first slot, which the callee may use, are as many values as said and one for each name.
        unsafe {
            let result = ffi::PyObject_Vectorcall(
                callable.as_ptr(),
                self.slots.as_ptr().add(1),
                self.positional | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
                names,
            );
            Bound::from_owned_ptr_or_err(py, result)
        }
    }
}

impl Drop for Arguments {
    #[inline]
    fn drop(&mut self) {
        for object in &self.slots[1..] {
            // SAFETY: the slots own what they point to, and whoever drops this is attached.
            unsafe { ffi::Py_DECREF(*object) }
        }
    }
}

/// The arguments that [`encode_call`] has written.
///
/// # Errors
/// As [`decode`].
#[inline]
pub fn decode_call(py: Python<'_>, bytes: &[u8]) -> PyResult<Arguments> {
    let Some((head, mut rest)) = bytes.split_first_chunk() else {
        return Err(garbled());
    };
    let head = u32::from_le_bytes(*head);
    let (positional, keywords) = ((head & 0xffff) as usize, (head >> 16) as usize);
    let mut arguments = Arguments {
        slots: SmallVec::new(),
        positional,
        names: None,
    };
    arguments.slots.push(std::ptr::null_mut());
    for _ in 0..positional {
        let (token, after) = Token::read(rest).ok_or_else(garbled)?;
        arguments.slots.push(token.object(py)?);
        rest = after;
    }
    if keywords > 0 {
        rest = decode_keywords(py, &mut arguments, keywords, rest)?;
    }
    if rest.is_empty() {
        Ok(arguments)
    } else {
        Err(garbled())
    }
}

fn decode_keywords<'a>(
    py: Python<'_>,
    arguments: &mut Arguments,
    keywords: usize,
    mut rest: &'a [u8],
) -> PyResult<&'a [u8]> {
    let mut names = Vec::new();
    for _ in 0..keywords {
        let (Token::Text(width, name), after) = Token::read(rest).ok_or_else(garbled)? else {
            return Err(garbled());
        };
        let mut name = Token::Text(width, name).object(py)?;
        // SAFETY: an owned reference to a new str goes in, one comes out. Interned names are found quicker by the callee.
        names.push(unsafe {
            ffi::PyUnicode_InternInPlace(&raw mut name);
            Bound::from_owned_ptr(py, name)
        });
        let (value, after) = Token::read(after).ok_or_else(garbled)?;
        arguments.slots.push(value.object(py)?);
        rest = after;
    }
    let names = pyo3::types::PyTuple::new(py, names)?;
    arguments.names = Some(names.into_any().into());
    Ok(rest)
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
