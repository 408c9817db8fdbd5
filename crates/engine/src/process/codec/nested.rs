//! Containers of simple values: exact tuples, lists and dicts, of [`VALUES`] values in all, and objects that are dicts (`instances`).
//!
//! Pickle keeps identities: what stands twice in its argument is one object afterwards. Here nothing does, so what meets
//! a container or an array twice leaves all of it to pickle; that ends cycles, too. (Strings and numbers
//! may be two objects afterwards.)

use super::names::{self, Kind, Name};
use super::{DICT, LIST, TEXT_1, TEXT_2, TEXT_4, TUPLE, Token};
use super::{arrays, garbled, instances, read, reduced};
use crate::held::Held;
use crate::process::extent::Exported;
use crate::process::protocol::LONGEST;
use crate::shared::pickling;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyDict, PyList, PyType};
use smallvec::SmallVec;

/// More than this in all are for pickle, whose cost for each is not higher.
pub(super) const VALUES: usize = 64;
/// Containers in containers, at most.
const DEEP: u8 = 16;
/// What is longer is given up on the way.
pub(super) const MOST_BYTES: usize = 2 * LONGEST;

/// What is known of the values that were met on the way.
#[derive(Debug, Default)]
pub struct Walk {
    /// Containers and arrays.
    met: SmallVec<[*mut PyObject; 8]>,
    /// What was made on the way, and met.
    kept: Vec<Held>,
    values: usize,
    depth: u8,
    pub(super) beside: Option<Vec<Exported>>,
    pub(super) told: Option<Told>,
}

/// What objects have said of themselves by code of the program's, which is not to be run again for the pickle that the codec's failure
/// leads to.
#[derive(Debug, Default)]
pub struct Told {
    /// The objects, and what they have said.
    pub said: Vec<(Held, Held)>,
    /// What one has raised, which ended the walk.
    pub error: Option<PyErr>,
}

impl Walk {
    /// A walk that runs what the program has to say about its objects: the last before it is left to pickle, which is given what
    /// was [told](Self::into_told).
    #[must_use]
    pub fn asking() -> Self {
        Self {
            told: Some(Told::default()),
            ..Self::default()
        }
    }

    /// As [`asking`](Self::asking); long arrays are left to lie beside the bytes.
    #[must_use]
    pub fn beside() -> Self {
        Self {
            beside: Some(Vec::new()),
            ..Self::asking()
        }
    }

    /// What is to lie beside, in the order of the bytes.
    #[must_use]
    pub fn into_beside(self) -> Vec<Exported> {
        self.beside.unwrap_or_default()
    }

    /// What has been said, for a pickle of the same.
    #[must_use]
    pub fn into_told(self) -> Told {
        self.told.unwrap_or_default()
    }

    /// False: it was met before.
    pub(super) fn meet(&mut self, object: *mut PyObject) -> bool {
        let new = !self.met.contains(&object);
        self.met.push(object);
        new
    }

    /// Nothing else is made at its address before the walk has ended.
    pub(super) fn keep(&mut self, object: &Bound<'_, PyAny>) {
        self.kept.push(object.clone().into());
    }

    /// So many values more. False: that is too many.
    pub(super) fn count(&mut self, values: usize) -> bool {
        self.values += values;
        self.values <= VALUES
    }

    /// A container of so many values, which is not to be met again.
    pub(super) fn enter(&mut self, object: *mut PyObject, values: usize) -> bool {
        self.enter_equal(values) && self.meet(object)
    }

    /// One that is as good as any that is equal.
    pub(super) fn enter_equal(&mut self, values: usize) -> bool {
        self.depth += 1;
        self.count(values) && self.depth <= DEEP
    }

    /// All of the one that was entered last was simple.
    pub(super) fn leave(&mut self) -> bool {
        self.depth -= 1;
        true
    }
}

/// Buffers that lie beside what is decoded, and how deep in it one is.
#[derive(Debug, Default)]
pub struct Beside<'py> {
    buffers: std::vec::IntoIter<Bound<'py, PyAny>>,
    depth: u8,
}

impl<'py> Beside<'py> {
    /// These, in the order of the bytes.
    #[must_use]
    pub fn new(buffers: Vec<Bound<'py, PyAny>>) -> Self {
        Self {
            buffers: buffers.into_iter(),
            depth: 0,
        }
    }

    pub(super) fn next(&mut self) -> PyResult<Bound<'py, PyAny>> {
        self.buffers.next().ok_or_else(garbled)
    }
}

/// Appends what is no scalar. False: it is not simple.
///
/// # Safety
/// Attached; `object` is alive.
#[inline(never)]
pub(super) unsafe fn put(object: *mut PyObject, to: &mut Vec<u8>, walk: &mut Walk) -> bool {
    // SAFETY: the caller's promise; casts are to the exact type that the object has.
    unsafe {
        let class = ffi::Py_TYPE(object);
        let object = Borrowed::from_ptr(Python::assume_attached(), object);
        if class == &raw mut ffi::PyTuple_Type {
            let count = ffi::PyTuple_GET_SIZE(object.as_ptr());
            // There is one empty tuple only.
            if !walk.enter_equal(count.unsigned_abs()) || count > 0 && !walk.meet(object.as_ptr()) {
                return false;
            }
            head(TUPLE, count.unsigned_abs(), to);
            for at in 0..count {
                if !super::put(ffi::PyTuple_GET_ITEM(object.as_ptr(), at), to, walk) {
                    return false;
                }
            }
        } else if class == &raw mut ffi::PyList_Type {
            let list = object.cast_unchecked::<PyList>();
            if !walk.enter(list.as_ptr(), list.len()) {
                return false;
            }
            let at = head(LIST, 0, to);
            let mut count = 0;
            // It may be changed meanwhile: what counts is what was met.
            for value in list.iter() {
                if count == VALUES || !super::put(value.as_ptr(), to, walk) {
                    return false;
                }
                count += 1;
            }
            amend(at, count, to);
        } else if class == &raw mut ffi::PyDict_Type {
            let dict = object.cast_unchecked::<PyDict>();
            return put_dict(&dict, Keys::Any, to, walk);
        } else {
            return put_object(&object, to, walk);
        }
    }
    walk.leave() && to.len() <= MOST_BYTES
}

/// Appends an object of another class. False: it is not simple.
fn put_object(object: &Bound<'_, PyAny>, to: &mut Vec<u8>, walk: &mut Walk) -> bool {
    if let Ok(class) = object.cast::<PyType>() {
        return walk.count(1) && instances::put_class(&class.as_borrowed(), to);
    }
    // SAFETY: an object keeps its class alive.
    let class =
        unsafe { Borrowed::from_ptr(object.py(), object.get_type_ptr().cast()).cast_unchecked::<PyType>() };
    let Some(known) = names::of(&class).filter(|known| known.kind != Kind::Other) else {
        return arrays::put(object, to, walk);
    };
    // Another class may have taken its name, and the program may have a reducer for it.
    if !known.name.is_of(&class) || !matches!(pickling::has_reducer(class.as_any()), Ok(false)) {
        return false;
    }
    match known.kind {
        Kind::Told if walk.told.is_none() => false,
        Kind::Plain => instances::put(object, &known.name, to, walk),
        kind => reduced::put(object, &class, kind, to, walk),
    }
}

/// Which keys a dict may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Keys {
    Any,
    /// Names of attributes, but for those that pickle asks an object for.
    Names,
}

impl Keys {
    /// Whether this encoded value may be one.
    fn allow(self, key: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Names => matches!(key[0], TEXT_1 | TEXT_2 | TEXT_4) && !key[5..].starts_with(b"__"),
        }
    }
}

/// Appends a dict. False: it is not simple.
pub(super) fn put_dict(dict: &Bound<'_, PyDict>, keys: Keys, to: &mut Vec<u8>, walk: &mut Walk) -> bool {
    if !walk.enter(dict.as_ptr(), 2 * dict.len()) {
        return false;
    }
    let at = head(DICT, 0, to);
    let mut count = 0;
    let simple = with_critical_section(dict.as_any(), || {
        let (mut at, mut key, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: attached; the dict is alive, and what it hands out is held at once.
        unsafe {
            // It may be changed meanwhile, as a list may: the iterators of pyo3 panic then.
            while ffi::PyDict_Next(dict.as_ptr(), &raw mut at, &raw mut key, &raw mut value) != 0 {
                let py = dict.py();
                let (key, value) = (
                    Bound::from_borrowed_ptr(py, key),
                    Bound::from_borrowed_ptr(py, value),
                );
                let begin = to.len();
                let simple = count < VALUES
                    && super::put(key.as_ptr(), to, walk)
                    && keys.allow(&to[begin..])
                    && super::put(value.as_ptr(), to, walk);
                if !simple {
                    return false;
                }
                count += 1;
            }
        }
        true
    });
    if !simple {
        return false;
    }
    amend(at, count, to);
    walk.leave() && to.len() <= MOST_BYTES
}

/// Returns where the count stands.
pub(super) fn head(tag: u8, count: usize, to: &mut Vec<u8>) -> usize {
    to.push(tag);
    let at = to.len();
    to.extend_from_slice(&[0; 4]);
    amend(at, count, to);
    at
}

#[expect(clippy::cast_possible_truncation, reason = "at most VALUES")]
fn amend(at: usize, count: usize, to: &mut [u8]) {
    to[at..at + 4].copy_from_slice(&(count as u32).to_le_bytes());
}

/// The container or array that `token` begins, and what follows it in `rest`.
///
/// # Errors
/// As [`super::decode`].
#[inline(never)]
pub(super) fn make<'py, 'a>(
    py: Python<'py>,
    token: Token<'a>,
    mut rest: &'a [u8],
    beside: &mut Beside<'py>,
) -> PyResult<(Bound<'py, PyAny>, &'a [u8])> {
    if beside.depth == DEEP {
        return Err(garbled());
    }
    beside.depth += 1;
    let made = match token {
        Token::Tuple(count) => {
            let (tuple, after) = make_tuple(py, count, rest, beside)?;
            rest = after;
            tuple
        }
        Token::List(count) => {
            // SAFETY: as for the tuple.
            let list = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyList_New(count.cast_signed()))? };
            for at in 0..count {
                let (value, after) = read(py, rest, beside)?;
                // SAFETY: as above.
                unsafe { ffi::PyList_SET_ITEM(list.as_ptr(), at.cast_signed(), value) };
                rest = after;
            }
            list
        }
        Token::Dict(count) => {
            let dict = PyDict::new(py);
            rest = fill_dict(&dict, Keys::Any, count, rest, beside)?;
            dict.into_any()
        }
        Token::Class(name) => Name::of_text(py, name)?.class(py)?.into_any(),
        Token::Instance(name) => {
            let (object, after) = instances::make(py, name, rest, beside)?;
            rest = after;
            object
        }
        Token::Reduced(flags, name) => {
            let (object, after) = reduced::make(py, flags, name, rest, beside)?;
            rest = after;
            object
        }
        Token::Array(array) => array.make(py, beside)?,
        _ => return Err(garbled()),
    };
    beside.depth -= 1;
    Ok((made, rest))
}

/// A tuple of so many values, and what follows them.
///
/// # Errors
/// As [`super::decode`].
pub(super) fn make_tuple<'py, 'a>(
    py: Python<'py>,
    count: usize,
    mut rest: &'a [u8],
    beside: &mut Beside<'py>,
) -> PyResult<(Bound<'py, PyAny>, &'a [u8])> {
    // SAFETY: a new tuple, owned; each place is filled with an owned reference once. It may be dropped half filled.
    let tuple = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyTuple_New(count.cast_signed()))? };
    for at in 0..count {
        let (value, after) = read(py, rest, beside)?;
        // SAFETY: as above.
        unsafe { ffi::PyTuple_SET_ITEM(tuple.as_ptr(), at.cast_signed(), value) };
        rest = after;
    }
    Ok((tuple, rest))
}

/// Puts so many keys and values into a dict; returns what follows them.
///
/// # Errors
/// As [`super::decode`].
pub(super) fn fill_dict<'py, 'a>(
    dict: &Bound<'py, PyDict>,
    keys: Keys,
    count: usize,
    mut rest: &'a [u8],
    beside: &mut Beside<'py>,
) -> PyResult<&'a [u8]> {
    let py = dict.py();
    for _ in 0..count {
        if rest.len() < 5 && keys == Keys::Names || rest.is_empty() || !keys.allow(rest) {
            return Err(garbled());
        }
        let (mut key, after) = read(py, rest, beside)?;
        if keys == Keys::Names {
            // SAFETY: an owned reference to a new str goes in, one comes out.
            unsafe { ffi::PyUnicode_InternInPlace(&raw mut key) };
        }
        // SAFETY: new references, owned.
        let key = unsafe { Bound::from_owned_ptr(py, key) };
        let (value, after) = read(py, after, beside)?;
        // SAFETY: as above.
        let value = unsafe { Bound::from_owned_ptr(py, value) };
        dict.set_item(key, value)?;
        rest = after;
    }
    Ok(rest)
}
