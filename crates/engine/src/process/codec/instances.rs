//! Objects of a program's own classes, as pickle has them: the class by its name, and what stands in `__dict__`.
//!
//! Only of classes in which nobody has a say about it (`Kind::Plain`).

use super::names::{self, Kind, Name};
use super::nested::{self, Beside, Keys, Walk};
use super::{CLASS, INSTANCE, Token, garbled};
use crate::shared::pickling;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

/// Appends an object of such a class, whose name this is. False: what is in it is not simple.
pub(super) fn put(object: &Bound<'_, PyAny>, name: &Name, to: &mut Vec<u8>, walk: &mut Walk) -> bool {
    let py = object.py();
    let Ok(length) = u16::try_from(name.text.len()) else {
        return false;
    };
    if !walk.enter(object.as_ptr(), 1) {
        return false;
    }
    to.push(INSTANCE);
    to.extend_from_slice(&length.to_le_bytes());
    to.extend_from_slice(&name.text);
    // SAFETY: attached; a new reference to a dict, perhaps one that the program has put there, or null.
    let dict = unsafe {
        let dict = ffi::PyObject_GenericGetDict(object.as_ptr(), std::ptr::null_mut());
        Bound::from_owned_ptr_or_err(py, dict)
    };
    let dict = dict.and_then(|dict| Ok(dict.cast_into_exact::<PyDict>()?));
    match dict {
        Ok(dict) => nested::put_dict(&dict, Keys::Names, to, walk) && walk.leave(),
        Err(error) => {
            drop(error);
            false
        }
    }
}

/// Appends a class, by its name. False: it has none by which a worker finds it, or the program has a reducer for its like.
pub(super) fn put_class(class: &Borrowed<'_, '_, PyType>, to: &mut Vec<u8>) -> bool {
    let Some(known) = names::of(class).filter(|known| known.name.is_of(class)) else {
        return false;
    };
    let length = u16::try_from(known.name.text.len());
    let (Ok(length), Ok(false)) = (length, pickling::has_reducer(class.get_type().as_any())) else {
        return false;
    };
    to.push(CLASS);
    to.extend_from_slice(&length.to_le_bytes());
    to.extend_from_slice(&known.name.text);
    true
}

/// The object of the class that `text` names, and what follows it in `rest`, which begins with its dict.
///
/// # Errors
/// As [`super::decode`]; what pickle raises where the class is not found.
pub(super) fn make<'py, 'a>(
    py: Python<'py>,
    text: &[u8],
    rest: &'a [u8],
    beside: &mut Beside<'py>,
) -> PyResult<(Bound<'py, PyAny>, &'a [u8])> {
    let class = Name::of_text(py, text)?.class(py)?;
    let Some((Token::Dict(count), rest)) = Token::read(rest) else {
        return Err(garbled());
    };
    let is_plain = names::of(&class.as_borrowed()).is_some_and(|class| class.kind == Kind::Plain);
    if !is_plain {
        return make_by(&class, count, rest, beside);
    }
    // SAFETY: attached; `object.__new__` is that of the class, and it is called as it demands; a dict of its own for the object.
    let (object, dict) = unsafe {
        let new = ffi::PyBaseObject_Type.tp_new.ok_or_else(garbled)?;
        let none = PyTuple::empty(py);
        let object = new(class.as_type_ptr(), none.as_ptr(), std::ptr::null_mut());
        let object = Bound::from_owned_ptr_or_err(py, object)?;
        let dict = ffi::PyObject_GenericGetDict(object.as_ptr(), std::ptr::null_mut());
        (object, Bound::from_owned_ptr_or_err(py, dict)?)
    };
    let rest = nested::fill_dict(&dict.cast_into()?, Keys::Names, count, rest, beside)?;
    Ok((object, rest))
}

/// As pickle does, for a class that has a say here, other than the sender's of this name.
#[cold]
fn make_by<'py, 'a>(
    class: &Bound<'py, PyType>,
    count: usize,
    rest: &'a [u8],
    beside: &mut Beside<'py>,
) -> PyResult<(Bound<'py, PyAny>, &'a [u8])> {
    let py = class.py();
    let object = class.call_method1(intern!(py, "__new__"), (class,))?;
    let (state, rest) = nested::make(py, Token::Dict(count), rest, beside)?;
    if count > 0 {
        match object.getattr_opt(intern!(py, "__setstate__"))? {
            Some(set) => set.call1((state,))?,
            None => object.getattr("__dict__")?.call_method1("update", (state,))?,
        };
    }
    Ok((object, rest))
}
