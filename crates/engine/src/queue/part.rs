//! A Python object of ours that a queue owns for life: its mutex, its conditions.

use crate::held::Held;
use crate::hot;
use pyo3::pyclass::boolean_struct::True;
use pyo3::{PyClass, prelude::*};
use std::marker::PhantomData;
use std::ops::Deref;

/// An owned reference to an instance of `T`, which derefs to its Rust value.
#[derive(Debug)]
pub struct Part<T>(Held, PhantomData<fn() -> T>);

impl<T> Part<T> {
    /// Takes over a reference.
    pub fn new(object: Bound<'_, T>) -> Self {
        Self(object.into_any().into(), PhantomData)
    }

    /// The object.
    pub fn held(&self) -> &Held {
        &self.0
    }
}

impl<T: PyClass<Frozen = True> + Sync> Deref for Part<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `new` took an instance of `T`, which lives as long as `self`; queues are used attached only.
        unsafe { hot::this(self.0.as_ptr()) }
    }
}
