//! Who has overridden what: `_init`, `_qsize`, `_put`, `_get`, and `put` and `get` for the `_nowait` ones.
//!
//! A class that overrides nothing is served natively. What is overridden is called as a method, so that a subclass
//! (or an attribute set on one queue) gets every call that it gets in the standard library.

use super::Kind;
use super::kinds::{LifoQueue, PriorityQueue};
use super::state::Queue;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};
use pyo3::{PyTypeInfo, intern};

/// A set of methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hooks(pub u8);

impl Hooks {
    pub const INIT: Self = Self(1);
    pub const QSIZE: Self = Self(2);
    pub const PUT_ITEM: Self = Self(4);
    pub const GET_ITEM: Self = Self(8);
    pub const PUT: Self = Self(16);
    pub const GET: Self = Self(32);
    /// Those that need the items in a Python object.
    pub const STORAGE: Self = Self(2 | 4 | 8);
    pub const NONE: Self = Self(0);

    /// Whether the sets have a method in common.
    #[inline]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The method called `name`; nothing if it is none of ours.
    pub fn named(name: &Bound<'_, PyString>) -> Self {
        match name.to_str() {
            Ok("_init") => Self::INIT,
            Ok("_qsize") => Self::QSIZE,
            Ok("_put") => Self::PUT_ITEM,
            Ok("_get") => Self::GET_ITEM,
            Ok("put") => Self::PUT,
            Ok("get") => Self::GET,
            _ => Self::NONE,
        }
    }

    /// What `class` overrides of the class that stands for `kind`.
    ///
    /// # Errors
    /// What looking up an attribute raises.
    pub fn overridden_by(class: &Bound<'_, PyType>, kind: Kind) -> PyResult<Self> {
        let py = class.py();
        let base = match kind {
            Kind::Fifo => Queue::type_object(py),
            Kind::Lifo => LifoQueue::type_object(py),
            Kind::Priority => PriorityQueue::type_object(py),
        };
        if class.is(&base) {
            return Ok(Self::NONE);
        }
        let mut found = 0;
        for (hook, name) in [
            (Self::INIT, intern!(py, "_init")),
            (Self::QSIZE, intern!(py, "_qsize")),
            (Self::PUT_ITEM, intern!(py, "_put")),
            (Self::GET_ITEM, intern!(py, "_get")),
            (Self::PUT, intern!(py, "put")),
            (Self::GET, intern!(py, "get")),
        ] {
            if !class.getattr(name)?.is(&base.getattr(name)?) {
                found |= hook.0;
            }
        }
        Ok(Self(found))
    }
}
