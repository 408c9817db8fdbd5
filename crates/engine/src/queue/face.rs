//! `Queue` as Python sees it: construction, attributes, hooks, the collector. (The hot methods: [`super::hot`].)

use super::Kind;
use super::hooks::Hooks;
use super::state::Queue;
use super::tasks::{Get, Join, Next, Put};
use crate::asyncio::await_::Await;
use crate::hot::{self, Args};
use crate::task::TaskWait;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use std::sync::atomic::Ordering;

/// Binds the arguments of `__init__(self, maxsize=0)`.
fn bind_init<'py>(
    args: &Bound<'py, PyTuple>,
    named: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = args.py();
    let mut all: Vec<_> = args.iter().collect();
    let count = all.len();
    let mut names = Vec::new();
    for (name, value) in named.into_iter().flatten() {
        names.push(name);
        all.push(value);
    }
    let pointers: Vec<_> = all.iter().map(Bound::as_ptr).collect();
    let names = PyTuple::new(py, names)?;
    let names = if names.is_empty() {
        std::ptr::null_mut()
    } else {
        names.as_ptr()
    };
    let [maxsize] = Args::new(pointers.as_ptr(), count.cast_signed(), names).bind(
        py,
        "Queue.__init__",
        ["maxsize"],
        0,
    )?;
    // SAFETY: a bound argument is one of `all`.
    match unsafe { Bound::from_borrowed_ptr_or_opt(py, maxsize) } {
        Some(maxsize) => Ok(maxsize),
        None => Ok(0_u8.into_pyobject(py)?.into_any()),
    }
}

#[pymethods]
impl Queue {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=0)")]
    fn new(py: Python<'_>, _args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        Self::make(py, Kind::Fifo)
    }

    #[pyo3(signature = (*args, **kwargs))]
    fn __init__<'py>(
        slf: &Bound<'py, Self>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        let maxsize = bind_init(args, kwargs)?;
        hot::defer_refcount(slf.as_ptr());
        this.capacity.set(maxsize.clone());
        this.unfinished.store(0, Ordering::Relaxed);
        this.shut.store(false, Ordering::Relaxed);
        let hooks = Hooks::overridden_by(&slf.get_type(), this.storage.kind())?;
        this.overridden.store(hooks.0, Ordering::Relaxed);
        if hooks.has(Hooks::INIT) {
            this.set_object(py, None)?;
            slf.call_method1(intern!(py, "_init"), (maxsize,))?;
            return Ok(());
        }
        Self::start(slf, this.storage.kind())
    }

    /// Whether `maxsize` items are there now.
    fn full(slf: &Bound<'_, Self>) -> PyResult<bool> {
        Self::is_full(slf)
    }

    /// Ends the queue: put raises ShutDown from now on, get once the queue is empty; with immediate, the items
    /// are dropped at once. All that wait are woken.
    #[pyo3(signature = (immediate=None), text_signature = "($self, immediate=False)")]
    fn shutdown(slf: &Bound<'_, Self>, immediate: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let immediate = match immediate {
            Some(immediate) => immediate.is_truthy()?,
            None => false,
        };
        Self::shut_down(slf, immediate)
    }

    /// Takes an item in a task: `item = await queue.get_async()`. ShutDown as get().
    fn get_async<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Await>> {
        TaskWait::create(slf.py(), Get::new(slf))
    }

    /// Adds item in a task, waiting for a free place: `await queue.put_async(item)`. ShutDown as put().
    fn put_async<'py>(slf: &Bound<'py, Self>, item: Bound<'py, PyAny>) -> PyResult<Bound<'py, Await>> {
        TaskWait::create(slf.py(), Put::new(slf, item))
    }

    /// Waits in a task until every item that was put is done: `await queue.join_async()`.
    fn join_async<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Await>> {
        TaskWait::create(slf.py(), Join::new(slf))
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// `async for item in queue` takes items until the queue has been shut down and is empty.
    fn __anext__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Await>> {
        TaskWait::create(slf.py(), Next::new(slf))
    }

    fn _init(slf: &Bound<'_, Self>, maxsize: &Bound<'_, PyAny>) -> PyResult<()> {
        let _unused = maxsize;
        Self::start(slf, Kind::Fifo)
    }

    fn _qsize(slf: &Bound<'_, Self>) -> PyResult<usize> {
        Self::count_items(slf)
    }

    fn _put(slf: &Bound<'_, Self>, item: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::push_item(slf, Kind::Fifo, item)
    }

    fn _get<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::pop_item(slf, Kind::Fifo)
    }

    /// The object that holds the items. From the first look on every operation goes through it.
    #[getter]
    fn get_queue<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::show(slf)
    }

    #[setter]
    fn set_queue(slf: &Bound<'_, Self>, queue: Bound<'_, PyAny>) -> PyResult<()> {
        slf.get().set_object(slf.py(), Some(queue))
    }

    /// The lock that is held whenever the queue changes.
    #[getter]
    fn mutex<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.mutex.held().clone_ref(py).into_bound(py)
    }

    /// Notified when an item has been added.
    #[getter]
    fn not_empty<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.not_empty.held().clone_ref(py).into_bound(py)
    }

    /// Notified when an item has been taken.
    #[getter]
    fn not_full<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.not_full.held().clone_ref(py).into_bound(py)
    }

    /// Notified when the last task is done.
    #[getter]
    fn all_tasks_done<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.all_tasks_done.held().clone_ref(py).into_bound(py)
    }

    /// How many items were put and are not done.
    #[getter]
    fn get_unfinished_tasks(&self) -> isize {
        self.unfinished.load(Ordering::Relaxed)
    }

    #[setter]
    fn set_unfinished_tasks(&self, tasks: isize) {
        self.unfinished.store(tasks, Ordering::Relaxed);
    }

    /// How many items there may be; 0 or less: any number.
    #[getter]
    fn get_maxsize<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.capacity.get(py)
    }

    #[setter]
    fn set_maxsize(&self, maxsize: Bound<'_, PyAny>) {
        self.capacity.set(maxsize);
        self.refresh();
    }

    /// Whether shutdown() was called.
    #[getter]
    fn get_is_shutdown(&self) -> bool {
        self.is_shut()
    }

    #[setter]
    fn set_is_shutdown(&self, shut: &Bound<'_, PyAny>) -> PyResult<()> {
        self.set_shut(shut.is_truthy()?);
        Ok(())
    }

    fn __setattr__(
        slf: &Bound<'_, Self>,
        name: &Bound<'_, PyString>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        // SAFETY: plain objects, attached.
        if unsafe { ffi::PyObject_GenericSetAttr(slf.as_ptr(), name.as_ptr(), value.as_ptr()) } != 0 {
            return Err(PyErr::fetch(slf.py()));
        }
        match Hooks::named(name) {
            Hooks::NONE => Ok(()),
            hook => Self::override_hooks(slf, Hooks(slf.get().overridden().0 | hook.0)),
        }
    }

    fn __delattr__(slf: &Bound<'_, Self>, name: &Bound<'_, PyString>) -> PyResult<()> {
        // SAFETY: as above; null deletes.
        if unsafe { ffi::PyObject_GenericSetAttr(slf.as_ptr(), name.as_ptr(), std::ptr::null_mut()) } != 0 {
            return Err(PyErr::fetch(slf.py()));
        }
        match Hooks::named(name) {
            Hooks::NONE => Ok(()),
            hook => {
                let of_class = Hooks::overridden_by(&slf.get_type(), slf.get().storage.kind())?;
                let kept = slf.get().overridden().0 & !hook.0 | of_class.0 & hook.0;
                Self::override_hooks(slf, Hooks(kept))
            }
        }
    }

    #[classmethod]
    fn __class_getitem__<'py>(
        cls: &Bound<'py, PyType>,
        item: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: two live objects, attached; a new reference or null comes back.
        unsafe { Bound::from_owned_ptr_or_err(cls.py(), ffi::Py_GenericAlias(cls.as_ptr(), item.as_ptr())) }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.built {
            return Ok(());
        }
        for part in [
            self.mutex.held(),
            self.not_empty.held(),
            self.not_full.held(),
            self.all_tasks_done.held(),
        ] {
            part.traverse(&visit)?;
        }
        self.capacity.traverse(&visit)?;
        self.storage.traverse(&visit)
    }

    /// Drops the native items. What is in a Python object is that object's to clear; the parts hold no items.
    fn __clear__(&self) {
        drop(self.storage.drain_native());
    }
}
