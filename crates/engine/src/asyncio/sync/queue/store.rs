//! Where the items of a queue are, and how a class derived in Python puts them elsewhere.
//!
//! A plain queue keeps them in a [`Line`] or a list, reached without a call. A class that has an `_init`, `_get`, `_put`, `qsize`, `empty`,
//! `full`, `get_nowait` or `put_nowait` of its own gets the standard library's containers, and everything calls its methods.

use super::{LifoQueue, PriorityQueue, Queue};
use crate::asyncio::future::stdlib;
use crate::asyncio::sync::line::Line;
use crate::held::HeldSlot;
use pyo3::exceptions::{PyAttributeError, PyIndexError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyList, PyType};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering::Relaxed};

/// The order of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Fifo,
    Lifo,
    Smallest,
}

/// What a class derived in Python can have its own of.
const HOOKS: [&str; 8] = [
    "_init",
    "_get",
    "_put",
    "qsize",
    "empty",
    "full",
    "get_nowait",
    "put_nowait",
];

impl Queue {
    /// One that is not initialised.
    pub fn empty_of(kind: Kind) -> Self {
        Self {
            kind,
            native: AtomicBool::new(false),
            items: HeldSlot::default(),
            limit: AtomicI64::new(0),
            maxsize: HeldSlot::default(),
            getters: Default::default(),
            putters: Default::default(),
            unfinished: AtomicI64::new(0),
            finished: HeldSlot::default(),
            shut: AtomicU8::new(0),
        }
    }

    fn base<'py>(&self, py: Python<'py>) -> Bound<'py, PyType> {
        match self.kind {
            Kind::Fifo => py.get_type::<Self>(),
            Kind::Lifo => py.get_type::<LifoQueue>(),
            Kind::Smallest => py.get_type::<PriorityQueue>(),
        }
    }

    /// Begins, empty.
    ///
    /// # Errors
    /// What `_init` raises.
    pub fn start(slf: &Bound<'_, Self>, maxsize: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        this.set_limit(maxsize)?;
        let (class, base) = (slf.get_type(), this.base(py));
        let mut native = true;
        if !class.is(&base) {
            for name in HOOKS {
                native &= class.getattr(name)?.is(&base.getattr(name)?);
            }
        }
        if native {
            let items = match this.kind {
                Kind::Fifo => Bound::new(py, Line::default())?.into_any(),
                _ => PyList::empty(py).into_any(),
            };
            this.items.replace(Some(items.into()));
            this.native.store(true, Relaxed);
        } else {
            slf.call_method1(intern!(py, "_init"), (maxsize,))?;
        }
        Ok(())
    }

    /// What `full()` goes by.
    pub fn set_limit(&self, maxsize: &Bound<'_, PyAny>) -> PyResult<()> {
        let limit = if let Ok(float) = maxsize.cast::<PyFloat>() {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "saturates, and no queue gets so long"
            )]
            let limit = float.value().ceil() as i64;
            limit
        } else if maxsize.le(0)? {
            0
        } else {
            maxsize.extract().unwrap_or(i64::MAX)
        };
        self.limit.store(limit, Relaxed);
        self.maxsize.replace(Some(maxsize.clone().into()));
        Ok(())
    }

    /// `_queue`.
    pub fn items<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.items
            .get(py)
            .map(|items| items.to_owned())
            .ok_or_else(|| PyAttributeError::new_err("'Queue' object has no attribute '_queue'"))
    }

    /// The container of `_init`, of the standard library's kind.
    pub fn make_items(&self, py: Python<'_>) -> PyResult<()> {
        let items = match self.kind {
            Kind::Fifo => stdlib!(py, "collections", "deque")?.call0()?,
            _ => PyList::empty(py).into_any(),
        };
        self.set_items(items);
        Ok(())
    }

    /// Whatever it is, it is not ours to reach into.
    pub fn set_items(&self, items: Bound<'_, PyAny>) {
        self.native.store(false, Relaxed);
        self.items.replace(Some(items.into()));
    }

    #[inline]
    fn line<'a>(&'a self, py: Python<'_>) -> Option<&'a Line> {
        let items = self.items.get(py)?;
        // SAFETY: a native queue's items are a line (`start`), alive as long as it is.
        unsafe {
            let line: *const Line = items.cast_unchecked::<Line>().get();
            Some(&*line)
        }
    }

    #[inline]
    fn list<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        Ok(self.items(py)?.cast_into::<PyList>()?)
    }

    /// How many items a native queue has.
    #[inline]
    pub fn native_len(&self, py: Python<'_>) -> usize {
        match self.kind {
            Kind::Fifo => self.line(py).map_or(0, Line::len),
            _ => self.list(py).map_or(0, |list| list.len()),
        }
    }

    /// Takes out an item; there is one.
    #[inline]
    pub fn get_item<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let this = slf.get();
        if !this.is_native() {
            return slf.call_method0(intern!(py, "_get"));
        }
        match this.kind {
            Kind::Fifo => this
                .line(py)
                .and_then(Line::pop_front)
                .map(|item| item.into_bound(py))
                .ok_or_else(|| PyIndexError::new_err("pop from an empty deque")),
            _ => this.pop(py, &this.items(py)?),
        }
    }

    /// Puts an item in.
    #[inline]
    pub fn put_item(slf: &Bound<'_, Self>, item: Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if !this.is_native() {
            return slf.call_method1(intern!(py, "_put"), (item,)).map(drop);
        }
        match this.kind {
            Kind::Fifo => {
                if let Some(line) = this.line(py) {
                    line.push(item.into());
                }
                Ok(())
            }
            _ => this.push(py, &this.items(py)?, &item),
        }
    }

    /// `_get`, as the standard library's classes have it.
    pub fn pop<'py>(&self, py: Python<'py>, items: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        match self.kind {
            Kind::Fifo => items.call_method0(intern!(py, "popleft")),
            Kind::Lifo => items.call_method0(intern!(py, "pop")),
            Kind::Smallest => stdlib!(py, "heapq", "heappop")?.call1((items,)),
        }
    }

    /// `_put`, as the standard library's classes have it.
    pub fn push(&self, py: Python<'_>, items: &Bound<'_, PyAny>, item: &Bound<'_, PyAny>) -> PyResult<()> {
        match self.kind {
            Kind::Fifo | Kind::Lifo => items.call_method1(intern!(py, "append"), (item,)),
            Kind::Smallest => stdlib!(py, "heapq", "heappush")?.call1((items, item)),
        }
        .map(drop)
    }
}
