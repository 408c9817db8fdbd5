//! Simple values as bytes: exact int, str, bytes, float, bool and None, tuples, lists and dicts of a few of
//! them (`nested`), arrays of numpy (`arrays`), objects of a program's own classes (`instances`), and those that say simply what makes
//! them (`reduced`). All else is for pickle.
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
//! | 9, 10 | tuple, list | how many u32, the values |
//! | 11 | dict | how many u32, key and value of each |
//! | 12 | array | kind u8 (see `arrays`), whether it can be written to u8, dimensions u8, each of them u64, length u32, the bytes |
//! | 13 | array, its bytes in the next of the buffers that lie beside | as 12, up to the dimensions |
//! | 14 | object | length u16, module and name of its class with a zero between them, its `__dict__` as 11 |
//! | 15 | object | flags u8 (1: by `__new__`, 2: with a state), class as for 14, what it is made of as 9, its state |
//! | 16 | int of more than 64 bits | length u8, its bytes, signed |
//! | 17 | class | named as for 14 |
//!
//! What a call's arguments are is said in `calls`. Strings are not made UTF-8: that would be kept with the object, and
//! surrogates have none.
//!
//! What is decoded may be any bytes: [`Token::read`] checks every length and calls no Python.

mod arrays;
mod calls;
mod instances;
mod names;
mod nested;
mod reduced;
mod wide;

pub use calls::{Arguments, decode_call, decode_call_with, encode_call};
pub use nested::{Beside, Told, Walk};

use super::protocol::LONGEST;
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
const TUPLE: u8 = 9;
const LIST: u8 = 10;
const DICT: u8 = 11;
const ARRAY: u8 = 12;
const ARRAY_BESIDE: u8 = 13;
const INSTANCE: u8 = 14;
const REDUCED: u8 = 15;
const WIDE: u8 = 16;
const CLASS: u8 = 17;

/// A value as it stands in a record.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Token<'a> {
    None,
    Bool(bool),
    Int(i64),
    Wide(&'a [u8]),
    Float(f64),
    Bytes(&'a [u8]),
    /// Characters of so many bytes each.
    Text(u8, &'a [u8]),
    /// So many values follow.
    Tuple(usize),
    List(usize),
    /// So many pairs.
    Dict(usize),
    Array(arrays::Array<'a>),
    /// Where it is found.
    Class(&'a [u8]),
    /// Where its class is found; its dict follows.
    Instance(&'a [u8]),
    /// How it is made, and where its class is found; what it is made of follows.
    Reduced(u8, &'a [u8]),
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
            TUPLE | LIST | DICT => {
                let (count, rest) = rest.split_first_chunk()?;
                let count = u32::from_le_bytes(*count) as usize;
                // Each takes a byte at least: nobody makes room for more than there are.
                if count > rest.len() {
                    return None;
                }
                let token = match *tag {
                    TUPLE => Self::Tuple(count),
                    LIST => Self::List(count),
                    _ => Self::Dict(count),
                };
                (token, rest)
            }
            ARRAY | ARRAY_BESIDE => {
                let (array, rest) = arrays::Array::read(*tag == ARRAY_BESIDE, rest)?;
                (Self::Array(array), rest)
            }
            INSTANCE | CLASS => {
                let (length, rest) = rest.split_first_chunk()?;
                let (name, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
                let token = match *tag {
                    CLASS => Self::Class(name),
                    _ => Self::Instance(name),
                };
                (token, rest)
            }
            WIDE => {
                let (length, rest) = rest.split_first()?;
                let (data, rest) = rest.split_at_checked((*length).into())?;
                (Self::Wide(data), rest)
            }
            REDUCED => {
                let ([flags, length @ ..], rest) = rest.split_first_chunk::<3>()?;
                let (name, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
                (Self::Reduced(*flags, name), rest)
            }
            _ => return None,
        };
        Some((token, rest))
    }

    /// A new reference to the value, and what follows: the values of a container are read from `rest`.
    ///
    /// # Errors
    /// No memory; characters that there are not; what is in a container cannot be.
    #[inline]
    fn object<'py>(
        self,
        py: Python<'py>,
        rest: &'a [u8],
        beside: &mut Beside<'py>,
    ) -> PyResult<(*mut PyObject, &'a [u8])> {
        // SAFETY: attached; pointers and lengths are those of slices; data of wider characters is copied to where it is aligned.
        let object = unsafe {
            match self {
                Self::None => return Ok((crate::hot::none(), rest)),
                Self::Bool(value) => return Ok((crate::hot::truth(value), rest)),
                Self::Int(value) => ffi::PyLong_FromLongLong(value),
                Self::Wide(data) => return Ok((wide::make(py, data)?.into_ptr(), rest)),
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
                _ => {
                    let (object, rest) = nested::make(py, self, rest, beside)?;
                    return Ok((object.into_ptr(), rest));
                }
            }
        };
        if object.is_null() {
            return Err(PyErr::fetch(py));
        }
        Ok((object, rest))
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
unsafe fn put(object: *mut PyObject, to: &mut Vec<u8>, walk: &mut Walk) -> bool {
    // SAFETY: the caller's promise; each accessor is called on the exact type that it is for.
    unsafe {
        let class = ffi::Py_TYPE(object);
        if class == &raw mut ffi::PyLong_Type {
            let mut overflow = 0;
            let value = ffi::PyLong_AsLongLongAndOverflow(object, &raw mut overflow);
            if overflow != 0 {
                return wide::put(&Borrowed::from_ptr(Python::assume_attached(), object), to);
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
            return nested::put(object, to, walk);
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
    encode_with(value, to, &mut Walk::default())
}

/// As [`encode`]; what is to lie beside the bytes is in `walk` afterwards, if that [allows](Walk::beside) it.
#[inline]
pub fn encode_with(value: &Bound<'_, PyAny>, to: &mut Vec<u8>, walk: &mut Walk) -> bool {
    let before = to.len();
    // SAFETY: a bound object is alive, and its token shows that the thread is attached.
    let simple = unsafe { put(value.as_ptr(), to, walk) };
    if !simple {
        to.truncate(before);
    }
    simple
}

/// The value that [`encode`] has written.
///
/// # Errors
/// `ValueError` if the bytes are no value; what the interpreter raises where it has no memory.
#[inline]
pub fn decode<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    decode_with(py, bytes, &mut Beside::default())
}

/// As [`decode`]; the buffers that lie beside are taken out of `beside`.
///
/// # Errors
/// As [`decode`].
#[inline]
pub fn decode_with<'py>(
    py: Python<'py>,
    bytes: &[u8],
    beside: &mut Beside<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let (object, rest) = read(py, bytes, beside)?;
    // SAFETY: the reference is new and owned.
    let object = unsafe { Bound::from_owned_ptr(py, object) };
    if rest.is_empty() {
        Ok(object)
    } else {
        Err(garbled())
    }
}

/// A new reference to the first value of `bytes`, and what follows.
#[inline]
fn read<'py, 'a>(
    py: Python<'py>,
    bytes: &'a [u8],
    beside: &mut Beside<'py>,
) -> PyResult<(*mut PyObject, &'a [u8])> {
    let (token, rest) = Token::read(bytes).ok_or_else(garbled)?;
    token.object(py, rest, beside)
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
