//! Objects of a program's own classes, as pickle has them: the class by its name, and what stands in `__dict__`.
//!
//! Only of classes in which nobody has a say about it (`plait._processes.plain`). What was found out about a class is kept under
//! its version tag, which the interpreter gives to no other class, nor to the same one after a change. That the class
//! is found under its name is looked at each time, on both sides.

use super::nested::{self, Beside, Keys, Walk};
use super::{INSTANCE, Token, garbled};
use crate::shared::pickling;
use plait_core::Latch;
use pyo3::ffi::{self, PyTypeObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyModule, PyString, PyTuple, PyType};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// So many classes are known at a time.
const MOST: usize = 256;

/// Where a class is found.
struct Name {
    module: Py<PyString>,
    name: Py<PyString>,
    /// Both, with a zero between them.
    text: Box<[u8]>,
}

/// A new map is put in the place of the old one, so that a fork leaves either.
type Names<K> = Latch<Option<Arc<HashMap<K, Option<Arc<Name>>>>>>;
/// By version tag; None: of another kind.
static CLASSES: Names<u32> = Latch::new(None);
/// By text.
static NAMES: Names<Box<[u8]>> = Latch::new(None);

fn keep<K: Hash + Eq + Clone>(names: &Names<K>, key: K, name: Option<Arc<Name>>) {
    let old = names.lock().clone();
    let mut map = match &old {
        Some(map) if map.len() < MOST => HashMap::clone(map),
        _ => HashMap::new(),
    };
    map.insert(key, name);
    // Dropped with the latch given back.
    let old = (old, names.lock().replace(Arc::new(map)));
    drop(old);
}

impl Name {
    fn new(module: &Bound<'_, PyString>, name: &Bound<'_, PyString>) -> PyResult<Self> {
        let py = module.py();
        let text = [module.to_str()?, name.to_str()?].join("\0").into_bytes();
        Ok(Self {
            module: PyString::intern(py, module.to_str()?).unbind(),
            name: PyString::intern(py, name.to_str()?).unbind(),
            text: text.into_boxed_slice(),
        })
    }

    /// What the module has under the name, unless that has to be looked for.
    fn found<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        // SAFETY: attached; a new reference, or null.
        let module =
            unsafe { Bound::from_owned_ptr_or_opt(py, ffi::PyImport_GetModule(self.module.as_ptr())) };
        let Some(module) = module else {
            drop(PyErr::take(py));
            return None;
        };
        module
            .cast_exact::<PyModule>()
            .ok()?
            .dict()
            .get_item(self.name.bind(py))
            .ok()?
    }

    /// The class of this name, as pickle looks for it.
    fn class<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyType>> {
        let found = match self.found(py) {
            Some(found) => found,
            None => {
                static FINDER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
                let unpickler = FINDER.import(py, "_pickle", "Unpickler")?;
                let file = py.import("io")?.call_method0("BytesIO")?;
                let names = (self.module.bind(py), self.name.bind(py));
                unpickler.call1((file,))?.call_method1("find_class", names)?
            }
        };
        Ok(found.cast_into()?)
    }
}

/// # Safety
/// `class` is alive.
unsafe fn version(class: *mut PyTypeObject) -> u32 {
    // SAFETY: the field lives with the class; other threads may change it.
    unsafe { AtomicU32::from_ptr(&raw mut (*class).tp_version_tag) }.load(Ordering::Relaxed)
}

/// The name of a class whose objects are plain.
fn of(class: &Borrowed<'_, '_, PyType>) -> Option<Arc<Name>> {
    let raw = class.as_type_ptr();
    // SAFETY: it is alive.
    let tag = unsafe {
        if ffi::PyType_HasFeature(raw, ffi::Py_TPFLAGS_HEAPTYPE) == 0 {
            return None;
        }
        version(raw)
    };
    if tag != 0
        && let Some(known) = CLASSES.lock().as_ref().and_then(|map| map.get(&tag))
    {
        return known.clone();
    }
    if is_restless(raw) {
        return None;
    }
    find_out(class).unwrap_or_else(|error| {
        drop(error);
        None
    })
}

/// Whether so much was asked about this class that it seems to change all the time, as one that counts its objects does.
fn is_restless(class: *mut PyTypeObject) -> bool {
    const PLACES: usize = 64;
    const OFTEN: u32 = 16;
    static ASKED: Latch<[(usize, u32); PLACES]> = Latch::new([(0, 0); PLACES]);
    let address = class.addr();
    let mut asked = ASKED.lock();
    let (of, times) = &mut asked[(address >> 6) % PLACES];
    *times = if *of == address { *times + 1 } else { 1 };
    *of = address;
    *times > OFTEN
}

#[cold]
fn find_out(class: &Borrowed<'_, '_, PyType>) -> PyResult<Option<Arc<Name>>> {
    let py = class.py();
    static PLAIN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let plain = PLAIN.import(py, "plait._processes.plain", "plain")?;
    // The first question may change the class, and looking for an attribute gives it its tag.
    plain.call1((class,))?;
    class.getattr(intern!(py, "__init__"))?;
    // SAFETY: it is alive.
    let before = unsafe { version(class.as_type_ptr()) };
    let answer: Option<(Bound<'_, PyString>, Bound<'_, PyString>)> = plain.call1((class,))?.extract()?;
    // SAFETY: as above.
    let after = unsafe { version(class.as_type_ptr()) };
    // A class that is changed again and again gets no more tags.
    if before == 0 || before != after {
        return Ok(None);
    }
    let name = match answer {
        None => None,
        Some((module, name)) => Some(Arc::new(Name::new(&module, &name)?)),
    };
    keep(&CLASSES, before, name.clone());
    Ok(name)
}

/// Appends an object of such a class. False: it is none, or what is in it is not simple.
pub(super) fn put(object: &Bound<'_, PyAny>, to: &mut Vec<u8>, walk: &mut Walk) -> bool {
    let py = object.py();
    // SAFETY: an object keeps its class alive.
    let class = unsafe { Borrowed::from_ptr(py, object.get_type_ptr().cast()).cast_unchecked::<PyType>() };
    let Some(name) = of(&class) else {
        return false;
    };
    let is_its = name.found(py).is_some_and(|found| found.is(&*class));
    let (true, Ok(false), Ok(length)) = (
        is_its,
        pickling::has_reducer(class.as_any()),
        u16::try_from(name.text.len()),
    ) else {
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
    let class = named(py, text)?.class(py)?;
    let Some((Token::Dict(count), rest)) = Token::read(rest) else {
        return Err(garbled());
    };
    let is_plain = of(&class.as_borrowed()).is_some();
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

/// What `text` says.
fn named(py: Python<'_>, text: &[u8]) -> PyResult<Arc<Name>> {
    if let Some(Some(name)) = NAMES.lock().as_ref().and_then(|map| map.get(text)) {
        return Ok(Arc::clone(name));
    }
    let mut parts = text.split(|byte| *byte == 0).map(std::str::from_utf8);
    let (Some(Ok(module)), Some(Ok(name)), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(garbled());
    };
    let name = Arc::new(Name::new(&PyString::new(py, module), &PyString::new(py, name))?);
    keep(&NAMES, text.into(), Some(Arc::clone(&name)));
    Ok(name)
}
