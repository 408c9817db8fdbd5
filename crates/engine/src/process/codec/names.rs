//! Classes by their names, and what is known of how pickle sees their objects.
//!
//! What was found out about a class (`plait._processes.kinds`) is kept under its version tag, which the interpreter gives to no other
//! class, nor to the same one after a change. That the class is found under its name is looked at each time, on both sides.

use super::garbled;
use plait_core::Latch;
use pyo3::ffi::{self, PyTypeObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyModule, PyString, PyType};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// So many classes are known at a time.
const MOST: usize = 256;

/// What objects of a class are to pickle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What stands in their `__dict__`, and nothing else (`instances`).
    Plain,
    /// Whatever they say when they are asked, by code of the standard library (`reduced`).
    Asked,
    /// Whatever they say when they are asked, by code of the program's: by whoever may run that, and once.
    Told,
    /// As [`Kind::Asked`], and one is as good as two that are equal, as with numbers.
    Value,
    /// Something else.
    Other,
}

/// A class that is found by its name.
#[derive(Debug)]
pub(super) struct Class {
    pub name: Arc<Name>,
    pub kind: Kind,
}

/// Where a class is found.
#[derive(Debug)]
pub(super) struct Name {
    module: Py<PyString>,
    name: Py<PyString>,
    /// Both, with a zero between them.
    pub text: Box<[u8]>,
}

/// A new map is put in the place of the old one, so that a fork leaves either.
type Kept<K, V> = Latch<Option<Arc<HashMap<K, V>>>>;
/// By version tag; None: not found by a name.
static CLASSES: Kept<u32, Option<Arc<Class>>> = Latch::new(None);
/// By text.
static NAMES: Kept<Box<[u8]>, Arc<Name>> = Latch::new(None);

fn keep<K: Hash + Eq + Clone, V: Clone>(kept: &Kept<K, V>, key: K, value: V) {
    let old = kept.lock().clone();
    let mut map = match &old {
        Some(map) if map.len() < MOST => HashMap::clone(map),
        _ => HashMap::new(),
    };
    map.insert(key, value);
    // Dropped with the latch given back.
    let old = (old, kept.lock().replace(Arc::new(map)));
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

    /// The one that `text` says.
    ///
    /// # Errors
    /// `ValueError` if it says none.
    pub fn of_text(py: Python<'_>, text: &[u8]) -> PyResult<Arc<Self>> {
        if let Some(known) = NAMES.lock().as_ref().and_then(|map| map.get(text)) {
            return Ok(Arc::clone(known));
        }
        let mut parts = text.split(|byte| *byte == 0).map(std::str::from_utf8);
        let (Some(Ok(module)), Some(Ok(name)), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(garbled());
        };
        let name = Arc::new(Self::new(&PyString::new(py, module), &PyString::new(py, name))?);
        keep(&NAMES, text.into(), Arc::clone(&name));
        Ok(name)
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

    /// Whether this is what is found.
    pub fn is_of(&self, class: &Borrowed<'_, '_, PyType>) -> bool {
        self.found(class.py()).is_some_and(|found| found.is(&**class))
    }

    /// The class of this name, as pickle looks for it.
    ///
    /// # Errors
    /// What pickle raises where there is none.
    pub fn class<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyType>> {
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

/// What is known of a class; None if it is not found by its name.
pub(super) fn of(class: &Borrowed<'_, '_, PyType>) -> Option<Arc<Class>> {
    let raw = class.as_type_ptr();
    // SAFETY: it is alive.
    let tag = unsafe { version(raw) };
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

/// From now on, objects of this class are left to pickle.
pub(super) fn give_up(class: &Borrowed<'_, '_, PyType>) {
    // SAFETY: it is alive.
    let tag = unsafe { version(class.as_type_ptr()) };
    let Some(known) = of(class).filter(|_| tag != 0) else {
        return;
    };
    let left = Class {
        name: Arc::clone(&known.name),
        kind: Kind::Other,
    };
    keep(&CLASSES, tag, Some(Arc::new(left)));
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
fn find_out(class: &Borrowed<'_, '_, PyType>) -> PyResult<Option<Arc<Class>>> {
    let py = class.py();
    static LOOK: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let look = LOOK.import(py, "plait._processes.kinds", "look")?;
    // The first question may change the class, and looking for an attribute gives it its tag.
    look.call1((class,))?;
    class.getattr(intern!(py, "__init__"))?;
    // SAFETY: it is alive.
    let before = unsafe { version(class.as_type_ptr()) };
    let answer: Option<(Bound<'_, PyString>, Bound<'_, PyString>, Bound<'_, PyString>)> =
        look.call1((class,))?.extract()?;
    // SAFETY: as above.
    let after = unsafe { version(class.as_type_ptr()) };
    // A class that is changed again and again gets no more tags.
    if before == 0 || before != after {
        return Ok(None);
    }
    let class = match answer {
        None => None,
        Some((module, name, kind)) => Some(Arc::new(Class {
            name: Arc::new(Name::new(&module, &name)?),
            kind: match kind.to_str()? {
                "plain" => Kind::Plain,
                "asked" => Kind::Asked,
                "told" => Kind::Told,
                "value" => Kind::Value,
                _ => Kind::Other,
            },
        })),
    };
    keep(&CLASSES, before, class.clone());
    Ok(class)
}
