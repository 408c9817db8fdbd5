//! The arguments of a call: how many are positional (u16), how many have a name (u16), the positional values, then name (a
//! str) and value of each keyword.

use super::{Beside, Token, Walk, garbled, put, read};
use crate::held::Held;
use crate::process::protocol::LONGEST;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use smallvec::SmallVec;

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
    walk: &mut Walk,
) -> bool {
    let before = to.len();
    // SAFETY: the caller's promise.
    let simple = unsafe { put_call(args, positional, names, to, walk) } && to.len() - before <= LONGEST;
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
    walk: &mut Walk,
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
            if !put(*args.add(at), to, walk) {
                return false;
            }
        }
        for at in 0..keywords {
            let name = ffi::PyTuple_GET_ITEM(names, at.cast_signed());
            let exact = ffi::Py_TYPE(name) == &raw mut ffi::PyUnicode_Type;
            if !exact || !put(name, to, walk) || !put(*args.add(positional + at), to, walk) {
                return false;
            }
        }
    }
    true
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
    decode_call_with(py, bytes, &mut Beside::default())
}

/// As [`decode_call`]; the buffers that lie beside are taken out of `beside`.
///
/// # Errors
/// As [`decode`].
#[inline]
pub fn decode_call_with<'py>(py: Python<'py>, bytes: &[u8], beside: &mut Beside<'py>) -> PyResult<Arguments> {
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
        let (object, after) = read(py, rest, beside)?;
        arguments.slots.push(object);
        rest = after;
    }
    if keywords > 0 {
        rest = decode_keywords(py, &mut arguments, keywords, rest, beside)?;
    }
    if rest.is_empty() {
        Ok(arguments)
    } else {
        Err(garbled())
    }
}

fn decode_keywords<'py, 'a>(
    py: Python<'py>,
    arguments: &mut Arguments,
    keywords: usize,
    mut rest: &'a [u8],
    beside: &mut Beside<'py>,
) -> PyResult<&'a [u8]> {
    let mut names = Vec::new();
    for _ in 0..keywords {
        let (Token::Text(width, name), after) = Token::read(rest).ok_or_else(garbled)? else {
            return Err(garbled());
        };
        let (mut name, after) = Token::Text(width, name).object(py, after, beside)?;
        // SAFETY: an owned reference to a new str goes in, one comes out. Interned names are found quicker by the callee.
        names.push(unsafe {
            ffi::PyUnicode_InternInPlace(&raw mut name);
            Bound::from_owned_ptr(py, name)
        });
        let (value, after) = read(py, after, beside)?;
        arguments.slots.push(value);
        rest = after;
    }
    let names = pyo3::types::PyTuple::new(py, names)?;
    arguments.names = Some(names.into_any().into());
    Ok(rest)
}
