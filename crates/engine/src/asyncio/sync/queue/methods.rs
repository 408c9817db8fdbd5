//! The queue as Python sees it.

use super::machines::{Get, Join, Put};
use super::store::Kind;
use super::{Event, LifoQueue, PriorityQueue, Queue, wake_next};
use crate::asyncio::await_::Await;
use crate::asyncio::future::stdlib;
use crate::asyncio::sync::line::Line;
use crate::asyncio::sync::waiters;
use crate::held::Held;
use crate::hot::{self, Args};
use pyo3::exceptions::PyValueError;
use pyo3::ffi::PyObject;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyList, PyTuple, PyType};
use std::sync::atomic::Ordering::Relaxed;

unsafe extern "C" fn get(slf: *mut PyObject, _none: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Queue, attached.
    unsafe {
        hot::raw(|py| {
            let queue = Borrowed::from_ptr(py, slf).cast_unchecked::<Queue>();
            Ok(Await::create(py, Get::new(&queue))?.into_ptr())
        })
    }
}

unsafe extern "C" fn put(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Queue, attached, with that many arguments.
    unsafe {
        hot::raw(|py| {
            let queue = Borrowed::from_ptr(py, slf).cast_unchecked::<Queue>();
            let args = Args::new(args, count, names);
            let item = match args.only() {
                Some(item) => item,
                None => args.bind(py, "Queue.put", ["item"], 1)?[0],
            };
            let item = Borrowed::from_ptr(py, item).to_owned();
            Ok(Await::create(py, Put::new(&queue, item))?.into_ptr())
        })
    }
}

/// Puts the raw methods over the class.
///
/// # Errors
/// As [`hot::install`].
pub fn init(py: Python<'_>) -> PyResult<()> {
    hot::install(
        &py.get_type::<Queue>(),
        vec![
            hot::no_args(
                c"get",
                c"get($self, /)\n--\n\nCoroutine that takes an item out, waiting for one; the item is its result.",
                get,
            ),
            hot::fast(
                c"put",
                c"put($self, /, item)\n--\n\nCoroutine that puts an item in, waiting for room.",
                put,
            ),
        ],
    )
}

#[pymethods]
impl Queue {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=0)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::empty_of(Kind::Fifo)
    }

    #[pyo3(signature = (maxsize=None))]
    fn __init__(slf: &Bound<'_, Self>, maxsize: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        let maxsize = maxsize.unwrap_or_else(|| PyInt::new(slf.py(), 0).into_any());
        Self::start(slf, &maxsize)
    }

    #[classmethod]
    fn __class_getitem__<'py>(
        class: &Bound<'py, PyType>,
        item: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        stdlib!(class.py(), "types", "GenericAlias")?.call1((class, item))
    }

    /// How many items there are.
    fn qsize(&self, py: Python<'_>) -> PyResult<usize> {
        if self.is_native() {
            return Ok(self.native_len(py));
        }
        self.items(py)?.len()
    }

    /// Whether there is no item.
    fn empty(&self, py: Python<'_>) -> PyResult<bool> {
        if self.is_native() {
            return Ok(self.native_len(py) == 0);
        }
        self.items(py)?.is_truthy().map(|some| !some)
    }

    /// Whether there are `maxsize` items.
    fn full(slf: &Bound<'_, Self>) -> PyResult<bool> {
        if slf.get().is_native() {
            return Self::full_now(slf);
        }
        let limit = slf.get().limit.load(Relaxed);
        Ok(limit > 0 && slf.call_method0(intern!(slf.py(), "qsize"))?.ge(limit)?)
    }

    /// How many items there can be; any number if 0 or less.
    #[getter]
    fn maxsize<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.maxsize.get(py).map(|maxsize| maxsize.to_owned())
    }

    /// Put an item in; QueueFull if there is no room.
    fn put_nowait(slf: &Bound<'_, Self>, item: Bound<'_, PyAny>) -> PyResult<()> {
        Self::put_now(slf, item)
    }

    /// Take an item out; QueueEmpty if there is none.
    fn get_nowait<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::take_now(slf)
    }

    /// Say that an item that was taken out has been seen to.
    fn task_done(&self, py: Python<'_>) -> PyResult<()> {
        let unfinished = self.unfinished.load(Relaxed);
        if unfinished <= 0 {
            return Err(PyValueError::new_err("task_done() called too many times"));
        }
        self.unfinished.store(unfinished - 1, Relaxed);
        if unfinished == 1 {
            self.all_done(py)
        } else {
            Ok(())
        }
    }

    /// Coroutine that waits until task_done() was called for all items.
    fn join<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Await>> {
        Await::create(slf.py(), Join::new(slf))
    }

    /// No more items are put in: put() raises QueueShutDown, and so does get() once it is empty, which it is at once if `immediate`.
    #[pyo3(signature = (immediate=false))]
    fn shutdown(slf: &Bound<'_, Self>, immediate: bool) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        this.shut.store(1, Relaxed);
        if immediate {
            while !Self::empty_now(slf)? {
                Self::get_item(slf)?;
                let unfinished = this.unfinished.load(Relaxed);
                if unfinished > 0 {
                    this.unfinished.store(unfinished - 1, Relaxed);
                }
            }
            if this.unfinished.load(Relaxed) == 0 {
                this.all_done(py)?;
            }
        }
        for line in [this.getters.futures.get(py), this.putters.get(py)]
            .into_iter()
            .flatten()
        {
            while let Some(future) = line.pop_front() {
                waiters::wake(&future.into_bound(py), py.None())?;
            }
        }
        Ok(())
    }

    fn _init(&self, py: Python<'_>, _maxsize: &Bound<'_, PyAny>) -> PyResult<()> {
        self.make_items(py)
    }

    fn _get<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.pop(py, &self.items(py)?)
    }

    fn _put(&self, py: Python<'_>, item: &Bound<'_, PyAny>) -> PyResult<()> {
        self.push(py, &self.items(py)?, item)
    }

    fn _wakeup_next(&self, py: Python<'_>, waiters: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Ok(line) = waiters.cast::<Line>() {
            return wake_next(py, line.get());
        }
        while waiters.is_truthy()? {
            let future = waiters.call_method0(intern!(py, "popleft"))?;
            if waiters::wake(&future, py.None())? {
                break;
            }
        }
        Ok(())
    }

    fn _format(slf: &Bound<'_, Self>) -> PyResult<String> {
        let py = slf.py();
        let this = slf.get();
        let mut text = match this.maxsize.get(py) {
            Some(maxsize) => format!("maxsize={}", maxsize.repr()?),
            None => String::new(),
        };
        if let Some(items) = this.items.get(py)
            && items.is_truthy()?
        {
            let list = PyList::empty(py);
            for item in items.try_iter()? {
                list.append(item?)?;
            }
            text += &format!(" _queue={}", list.repr()?);
        }
        for (name, line) in [("getters", &this.getters.futures), ("putters", &this.putters)] {
            if !line.is_empty(py) {
                text += &format!(" _{name}[{}]", line.len(py));
            }
        }
        let unfinished = this.unfinished.load(Relaxed);
        if unfinished != 0 {
            text += &format!(" tasks={unfinished}");
        }
        if this.is_shut_down() {
            text += " shutdown";
        }
        Ok(text)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let format = slf.call_method0(intern!(slf.py(), "_format"))?;
        Ok(format!(
            "<{} at {:p} {format}>",
            slf.get_type().name()?,
            slf.as_ptr()
        ))
    }

    fn __str__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let format = slf.call_method0(intern!(slf.py(), "_format"))?;
        Ok(format!("<{} {format}>", slf.get_type().name()?))
    }

    #[getter]
    fn _queue<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.items(py)
    }

    #[setter(_queue)]
    fn set_queue(&self, items: Bound<'_, PyAny>) {
        self.set_items(items);
    }

    #[getter]
    fn _maxsize<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.maxsize(py)
    }

    #[setter(_maxsize)]
    fn set_maxsize(&self, maxsize: &Bound<'_, PyAny>) -> PyResult<()> {
        self.set_limit(maxsize)
    }

    #[getter]
    fn _getters<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.getters.futures.line(py)?;
        Ok(self.getters.futures.shown(py))
    }

    #[setter(_getters)]
    fn set_getters(&self, getters: &Bound<'_, PyAny>) -> PyResult<()> {
        self.getters.futures.set(getters)
    }

    #[getter]
    fn _putters<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.putters.line(py)?;
        Ok(self.putters.shown(py))
    }

    #[setter(_putters)]
    fn set_putters(&self, putters: &Bound<'_, PyAny>) -> PyResult<()> {
        self.putters.set(putters)
    }

    #[getter]
    fn _unfinished_tasks(&self) -> i64 {
        self.unfinished.load(Relaxed)
    }

    #[setter(_unfinished_tasks)]
    fn set_unfinished_tasks(&self, unfinished: i64) {
        self.unfinished.store(unfinished, Relaxed);
    }

    #[getter]
    fn _finished<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Event>> {
        self.finished(py)
    }

    #[getter]
    fn _is_shutdown(&self) -> bool {
        self.is_shut_down()
    }

    #[setter(_is_shutdown)]
    fn set_is_shutdown(&self, shut: bool) {
        self.shut.store(u8::from(shut), Relaxed);
    }

    #[getter]
    fn _loop<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.getters.event_loop.get(py).map(|own| own.to_owned())
    }

    #[setter(_loop)]
    fn set_loop(&self, event_loop: Option<Bound<'_, PyAny>>) {
        self.getters.event_loop.replace(event_loop.map(Held::from));
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.items.traverse(&visit)?;
        self.maxsize.traverse(&visit)?;
        self.finished.traverse(&visit)?;
        self.getters.traverse(&visit)?;
        self.putters.traverse(&visit)
    }

    fn __clear__(&self) {
        self.native.store(false, Relaxed);
        self.items.replace(None);
        self.maxsize.replace(None);
        self.finished.replace(None);
        self.getters.clear();
        self.putters.clear();
    }
}

#[pymethods]
impl LifoQueue {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=0)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyClassInitializer<Self> {
        PyClassInitializer::from(Queue::empty_of(Kind::Lifo)).add_subclass(Self)
    }
}

#[pymethods]
impl PriorityQueue {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=0)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyClassInitializer<Self> {
        PyClassInitializer::from(Queue::empty_of(Kind::Smallest)).add_subclass(Self)
    }
}
