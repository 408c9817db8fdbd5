//! The functions of a pool: each pickled once, numbered, and sent once to each worker that needs it.
//!
//! Held strongly are plain functions, built-in ones and classes: what has no state of its own that a pickle would hold,
//! or (a closure, a lambda, a function of `__main__`) is looked at again before each call: where its closure, its defaults or its
//! keyword defaults hold other objects than before it is pickled anew. Everything else that can be called travels with the
//! call, as its first argument, under the number 0.

use crate::held::Held;
use crate::process::protocol::{LONGEST, form};
use crate::process::{codec, outcome};
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use std::collections::HashMap;
use std::sync::Arc;

/// So many are kept; then the oldest that no call needs is forgotten.
const KEPT: usize = 256;

/// The objects that a function by value holds: compared by identity, and held so that an identity stays one.
type Holds = Vec<Held>;

/// One that is numbered.
#[derive(Debug)]
pub struct Function {
    pub number: u32,
    pub body: Arc<[u8]>,
    pub name: Arc<str>,
    object: Held,
    holds: Option<Holds>,
    /// Calls that are not settled and need it.
    users: u32,
}

/// All of a pool.
#[derive(Debug, Default)]
pub struct Functions {
    by_object: HashMap<usize, u32>,
    by_number: HashMap<u32, Function>,
    next: u32,
    /// The one that was asked for last.
    last: (usize, u32),
}

/// How a callable is found.
#[derive(Debug)]
pub enum Found {
    /// Under this number; counted as used.
    Number(u32),
    /// It has to be looked at, or is new.
    Unknown,
}

/// A function that has been made ready to be entered.
#[derive(Debug)]
pub struct Ready {
    body: Arc<[u8]>,
    name: Arc<str>,
    object: Held,
    holds: Option<Holds>,
}

/// Whether it has no state of its own that could change unseen.
fn is_plain(object: *mut PyObject) -> bool {
    // SAFETY: the object is alive and the thread attached, as the callers' tokens show.
    unsafe {
        let class = ffi::Py_TYPE(object);
        if class == &raw mut ffi::PyFunction_Type || ffi::PyType_Check(object) != 0 {
            return true;
        }
        if class == &raw mut ffi::PyCFunction_Type {
            let of = ffi::PyCFunction_GetSelf(object);
            return of.is_null() || ffi::PyModule_Check(of) != 0;
        }
        false
    }
}

/// Whether what it holds can be other than it was: a function with a closure or defaults.
fn has_state(object: *mut PyObject) -> bool {
    // SAFETY: as above; the three give borrowed references.
    unsafe {
        ffi::Py_TYPE(object) == &raw mut ffi::PyFunction_Type
            && !(ffi::PyFunction_GetClosure(object).is_null()
                && ffi::PyFunction_GetDefaults(object).is_null()
                && ffi::PyFunction_GetKwDefaults(object).is_null())
    }
}

/// What a function's closure, defaults and keyword defaults hold now.
fn held_by(function: &Bound<'_, PyAny>) -> PyResult<Holds> {
    let py = function.py();
    let mut holds = Vec::new();
    let object = function.as_ptr();
    if !has_state(object) {
        return Ok(holds);
    }
    let closure = function.getattr(intern!(py, "__closure__"))?;
    if let Ok(cells) = closure.cast::<PyTuple>() {
        for cell in cells {
            // SAFETY: what a closure holds are cells; a new reference or null (an empty cell) comes back.
            let inside = unsafe { ffi::PyCell_Get(cell.as_ptr()) };
            // SAFETY: as above.
            let inside = unsafe { Bound::from_owned_ptr_or_opt(py, inside) };
            holds.push(inside.unwrap_or(cell).into());
        }
    }
    for name in [intern!(py, "__defaults__"), intern!(py, "__kwdefaults__")] {
        let defaults = function.getattr(name)?;
        if let Ok(values) = defaults.cast::<PyTuple>() {
            holds.extend(values.iter().map(Held::from));
        } else if let Ok(values) = defaults.cast::<PyDict>() {
            holds.extend(values.values().iter().map(Held::from));
        }
    }
    Ok(holds)
}

fn same(one: &Holds, two: &Holds) -> bool {
    one.len() == two.len() && one.iter().zip(two).all(|(a, b)| a.as_ptr() == b.as_ptr())
}

/// Whether a worker finds the same object under its module and name.
fn is_importable(function: &Bound<'_, PyAny>, by_value: bool) -> PyResult<bool> {
    let py = function.py();
    let module = function.getattr(intern!(py, "__module__"))?;
    let Ok(module) = module.extract::<String>() else {
        return Ok(false);
    };
    if by_value && module == "__main__" {
        return Ok(false);
    }
    let modules = py.import(intern!(py, "sys"))?.getattr(intern!(py, "modules"))?;
    let Ok(mut at) = modules.get_item(module) else {
        return Ok(false);
    };
    let name: String = function.getattr(intern!(py, "__qualname__"))?.extract()?;
    for part in name.split('.') {
        let Ok(next) = at.getattr(part) else {
            return Ok(false);
        };
        at = next;
    }
    Ok(at.is(function))
}

/// What a call is named in errors.
pub fn name_of(function: &Bound<'_, PyAny>) -> String {
    let py = function.py();
    let part = |name| {
        function
            .getattr(name)
            .and_then(|text| text.extract::<String>())
            .ok()
    };
    match (part(intern!(py, "__module__")), part(intern!(py, "__qualname__"))) {
        (Some(module), Some(name)) if module != "builtins" && module != "__main__" => {
            format!("{module}.{name}")
        }
        (_, Some(name)) => name,
        _ => function
            .get_type()
            .qualname()
            .map_or_else(|_| "a call".to_owned(), |name| name.to_string()),
    }
}

/// Makes a callable ready to be numbered. None if it is not to be, or is too long.
///
/// # Errors
/// What pickling raises.
pub fn prepare(function: &Bound<'_, PyAny>, by_value: bool) -> PyResult<Option<Ready>> {
    let py = function.py();
    if !is_plain(function.as_ptr()) {
        return Ok(None);
    }
    let by_name = is_importable(function, by_value).unwrap_or(false);
    // SAFETY: the object is alive.
    if !by_name && unsafe { ffi::PyFunction_Check(function.as_ptr()) } == 0 {
        // A class, say, that travels by value: nothing tells whether it has changed.
        return Ok(None);
    }
    // Before it is pickled: a change that comes meanwhile is seen the next time.
    let holds = if by_name { None } else { Some(held_by(function)?) };
    let body = outcome::pickling(py)?.call_method1(intern!(py, "dumps_function"), (function, by_value))?;
    let body = body.cast::<PyBytes>()?.as_bytes();
    if body.len() > LONGEST {
        return Ok(None);
    }
    Ok(Some(Ready {
        body: body.into(),
        name: name_of(function).into(),
        object: function.clone().into(),
        holds,
    }))
}

impl Functions {
    /// The number of a callable, if it has one and need not be looked at again.
    #[inline]
    pub fn find(&mut self, object: *mut PyObject) -> Found {
        let key = object as usize;
        let number = if self.last.0 == key {
            self.last.1
        } else {
            match self.by_object.get(&key) {
                Some(number) => *number,
                None => return Found::Unknown,
            }
        };
        let Some(its) = self.by_number.get_mut(&number) else {
            return Found::Unknown;
        };
        if let Some(holds) = &its.holds
            && (!holds.is_empty() || has_state(object))
        {
            return Found::Unknown;
        }
        self.last = (key, number);
        its.users += 1;
        Found::Number(number)
    }

    /// As [`find`](Self::find), with what the callable holds now.
    pub fn find_with(&mut self, object: *mut PyObject, holds: &Holds) -> Option<u32> {
        let number = *self.by_object.get(&(object as usize))?;
        let its = self.by_number.get_mut(&number)?;
        if its.holds.as_ref().is_some_and(|before| !same(before, holds)) {
            return None;
        }
        its.users += 1;
        Some(number)
    }

    /// Numbers a callable, in place of what it was before; counted as used. What has to be forgotten for it is appended
    /// to `gone`.
    pub fn enter(&mut self, ready: Ready, gone: &mut Vec<Function>) -> u32 {
        self.next = self.next.wrapping_add(1).max(1);
        let number = self.next;
        let Ready {
            body,
            name,
            object,
            holds,
        } = ready;
        self.by_object.insert(object.as_ptr() as usize, number);
        self.last = (0, 0);
        self.by_number.insert(
            number,
            Function {
                number,
                body,
                name,
                object,
                holds,
                users: 1,
            },
        );
        if self.by_number.len() > KEPT {
            let oldest = self
                .by_number
                .values()
                .filter(|its| its.users == 0)
                .map(|its| its.number)
                .min();
            if let Some(its) = oldest.and_then(|oldest| self.by_number.remove(&oldest)) {
                let key = its.object.as_ptr() as usize;
                if self.by_object.get(&key) == Some(&its.number) {
                    self.by_object.remove(&key);
                }
                gone.push(its);
            }
        }
        number
    }

    /// The one under a number.
    #[inline]
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&Function> {
        self.by_number.get(&number)
    }

    /// A call that needed it is settled.
    #[inline]
    pub fn leave(&mut self, number: u32) {
        if let Some(its) = self.by_number.get_mut(&number) {
            its.users = its.users.saturating_sub(1);
        }
    }

    /// All of them, out; to be dropped attached.
    pub fn take(&mut self) -> Vec<Function> {
        self.by_object.clear();
        self.last = (0, 0);
        self.by_number.drain().map(|(_, its)| its).collect()
    }

    /// For `__traverse__`.
    ///
    /// # Errors
    /// What the visitor returns.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for its in self.by_number.values() {
            its.object.traverse(visit)?;
            for held in its.holds.iter().flatten() {
                held.traverse(visit)?;
            }
        }
        Ok(())
    }
}

/// What a function that is not known yet holds: for [`Functions::find_with`].
///
/// # Errors
/// What reading its attributes raises.
pub fn holds(function: &Bound<'_, PyAny>) -> PyResult<Option<Holds>> {
    if is_plain(function.as_ptr()) {
        held_by(function).map(Some)
    } else {
        Ok(None)
    }
}

/// A call, as errors show it: unpacked only when somebody reads the error.
#[derive(Debug, Clone, Default)]
pub struct CallText {
    pub name: Option<Arc<str>>,
    pub form: u8,
    pub body: super::job::Body,
}

/// So many characters of the arguments are shown.
const SHOWN: usize = 300;

impl CallText {
    /// `module.function(arguments)`.
    pub fn text(&self, py: Python<'_>) -> String {
        let name = self.name.as_deref().unwrap_or("");
        let simple = self.form == form::SIMPLE && !self.body.is_empty();
        let arguments = simple.then(|| self.arguments(py)).and_then(Result::ok);
        match arguments {
            Some(text) if text.chars().count() > SHOWN => {
                let cut: String = text.chars().take(SHOWN).collect();
                format!("{name}({cut}...)")
            }
            Some(text) => format!("{name}({text})"),
            None if name.is_empty() => String::new(),
            None => format!("{name}(...)"),
        }
    }

    fn arguments(&self, py: Python<'_>) -> PyResult<String> {
        let describe = py.import("plait._processes.calls")?.getattr("describe")?;
        codec::decode_call(py, &self.body)?.call(&describe)?.extract()
    }
}
