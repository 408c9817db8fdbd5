//! `gather`: one future for the results of many.
//!
//! [`Gathering`] is that future, and its own bookkeeping: the children tell it one turn after they are done, and the last one
//! makes the list. The children are let go then, so that their memory can be used again at once.
//!
//! Cancelling it cancels the children; it ends when they have. A child that is cancelled by somebody else counts as one that
//! raised `CancelledError`. What children raise after it has ended is marked as seen.

use super::child::{self, Outcome};
use super::{ensure, graph, here};
use crate::asyncio::await_::Await;
use crate::asyncio::future::{self, Adopted, Future, adopt, object};
use crate::asyncio::task::wrapper;
use crate::guarded::Guarded;
use crate::held::Held;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use pyo3::{PyTraverseError, PyVisit, ffi, intern};
use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The future that `gather` returns.
#[pyclass(extends = Future, frozen, module = "plait.asyncio", name = "_GatheringFuture")]
#[derive(Debug)]
pub struct Gathering {
    children: Guarded<Vec<Held>>,
    /// The task that called `gather`.
    waiter: Guarded<Option<Held>>,
    /// Children that have not told yet.
    left: AtomicUsize,
    return_exceptions: bool,
    cancel_requested: AtomicBool,
    /// The call of `gather` failed half-way: nobody has this future.
    abandoned: AtomicBool,
}

impl Adopted for Gathering {
    fn original() -> &'static OnceLock<ffi::destructor> {
        static ORIGINAL: OnceLock<ffi::destructor> = OnceLock::new();
        &ORIGINAL
    }
}

/// Makes the type one of the native futures.
pub fn init(py: Python<'_>) {
    adopt::<Gathering>(py);
}

impl Gathering {
    fn create<'py>(event_loop: &Bound<'py, PyAny>, return_exceptions: bool) -> PyResult<Bound<'py, Self>> {
        let py = event_loop.py();
        let parts = PyClassInitializer::from(Future::default()).add_subclass(Self {
            children: Guarded::new(Vec::new()),
            waiter: Guarded::new(None),
            left: AtomicUsize::new(0),
            return_exceptions,
            cancel_requested: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
        });
        let outer = Bound::new(py, parts)?;
        outer.as_super().get().attach(py, event_loop)?;
        Ok(outer)
    }

    /// The task that called `gather`.
    pub(super) fn waiter<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let waiter = self.waiter.lock().as_ref().map(|waiter| waiter.clone_ref(py));
        waiter.map(|waiter| waiter.into_bound(py))
    }

    /// Lets go of the children; those that are not done are no longer waited for.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        let children = std::mem::take(&mut *self.children.lock());
        let waiter = self.waiter.lock().take();
        if let Some(waiter) = waiter
            && self.left.load(Ordering::Relaxed) > 0
        {
            let waiter = waiter.into_bound(py);
            for child in &children {
                graph::discard(&child.bind(py), Some(&waiter))?;
            }
        }
        Ok(())
    }

    /// The results, in the order of the arguments.
    fn results<'py>(&self, py: Python<'py>, children: &[Held]) -> PyResult<Bound<'py, PyList>> {
        let mut results = Vec::with_capacity(children.len());
        for child in children {
            let child = child.bind(py);
            results.push(match child::outcome(&child)? {
                Outcome::Value(result) => result,
                Outcome::Error(error) => error,
                Outcome::Cancelled => {
                    let message = child.getattr(intern!(py, "_cancel_message"))?;
                    let class = future::cancelled_error(py)?;
                    let error = if message.is_none() {
                        class.call1(("",))?
                    } else {
                        class.call1((message,))?
                    };
                    error.unbind()
                }
            });
        }
        PyList::new(py, results)
    }
}

/// A child tells that it is done.
fn told(outer: &Bound<'_, PyAny>, child: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = outer.py();
    // SAFETY: observers of children are made by `gather` only, with its future.
    let outer = unsafe { outer.cast_unchecked::<Gathering>() };
    let (this, future) = (outer.get(), outer.as_super());
    let left = this.left.fetch_sub(1, Ordering::Relaxed) - 1;
    if cfg!(Py_3_14) && !object::is_native(child) {
        graph::discard(child, this.waiter(py).as_ref())?;
    }
    if this.abandoned.load(Ordering::Relaxed) || future.get().is_done() {
        // Marks an exception as seen.
        return child::seen(child);
    }
    if !this.return_exceptions {
        let failure = match child::failure(child)? {
            None => None,
            Some(Outcome::Error(error)) => Some(PyErr::from_value(error.into_bound(py))),
            Some(_) => Some(child::cancelled_error(child)?),
        };
        if let Some(error) = failure {
            Future::fail(future, error)?;
            return this.release(py);
        }
    }
    if left > 0 {
        return Ok(());
    }
    let children = std::mem::take(&mut *this.children.lock());
    let results = this.results(py, &children);
    // As asyncio: the error of a cancelled gather is that of the last argument.
    let last = children.last().map(|child| child.clone_ref(py));
    drop(children);
    this.release(py)?;
    if this.cancel_requested.load(Ordering::Relaxed) {
        let last = last.map(|last| last.into_bound(py));
        Future::fail(future, child::cancelled_error(last.as_ref().unwrap_or(child))?)
    } else {
        Future::finish(future, results?.into_any().unbind())
    }
}

#[pymethods]
impl Gathering {
    /// Cancels the children; it ends when they have. Whether any could be cancelled.
    #[pyo3(signature = (msg=None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let (py, this) = (slf.py(), slf.get());
        if slf.as_super().get().is_done() {
            return Ok(false);
        }
        let children: Vec<_> = this
            .children
            .lock()
            .iter()
            .map(|child| child.clone_ref(py))
            .collect();
        let mut any = false;
        for child in children {
            any |= child::cancel(&child.into_bound(py), msg)?;
        }
        if any {
            this.cancel_requested.store(true, Ordering::Relaxed);
        }
        Ok(any)
    }

    #[getter]
    fn _cancel_requested(&self) -> bool {
        self.cancel_requested.load(Ordering::Relaxed)
    }

    #[getter]
    fn _children<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let children: Vec<_> = self
            .children
            .lock()
            .iter()
            .map(|child| child.clone_ref(py))
            .collect();
        PyList::new(py, children.into_iter().map(|child| child.into_bound(py)))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(children) = self.children.try_lock() {
            for child in children.iter() {
                child.traverse(&visit)?;
            }
        }
        if let Some(waiter) = self.waiter.try_lock()
            && let Some(waiter) = waiter.as_ref()
        {
            waiter.traverse(&visit)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let children = std::mem::take(&mut *self.children.lock());
        let waiter = self.waiter.lock().take();
        drop((children, waiter));
    }
}

/// Runs coroutines and futures together; awaiting it gives their results as a list, in the order of the arguments.
///
/// Coroutines become tasks. The first exception is raised at once and the others run on; with `return_exceptions=True`
/// exceptions are results like any other. Cancelling the `gather` cancels what has not finished. As `asyncio.gather`.
#[pyfunction]
#[pyo3(signature = (*coros_or_futures, return_exceptions=None), text_signature = "(*coros_or_futures, return_exceptions=False)")]
pub fn gather<'py>(
    coros_or_futures: &Bound<'py, PyTuple>,
    return_exceptions: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = coros_or_futures.py();
    if coros_or_futures.is_empty() {
        let outer = here::event_loop(py)?.call_method0(intern!(py, "create_future"))?;
        outer.call_method1(intern!(py, "set_result"), (PyList::empty(py),))?;
        return Ok(outer);
    }
    let return_exceptions = match return_exceptions {
        Some(given) => given.is_truthy()?,
        None => false,
    };
    let mut outer = None;
    match begin(coros_or_futures, return_exceptions, &mut outer) {
        Ok(()) => {}
        Err(error) => {
            if let Some(outer) = &outer {
                outer.get().abandoned.store(true, Ordering::Relaxed);
                outer.get().release(py)?;
            }
            return Err(error);
        }
    }
    match outer {
        Some(outer) => Ok(outer.into_any()),
        None => Ok(py.None().into_bound(py)),
    }
}

/// Starts and watches the children. What has been made stays in `made`, whatever happens.
fn begin<'py>(
    given: &Bound<'py, PyTuple>,
    return_exceptions: bool,
    made: &mut Option<Bound<'py, Gathering>>,
) -> PyResult<()> {
    let py = given.py();
    let mut event_loop = if cfg!(Py_3_14) { here::running(py)? } else { None };
    let waiter = match &event_loop {
        Some(event_loop) => here::current_task(event_loop)?,
        None => None,
    };
    let mut plain = event_loop.as_ref().is_some_and(ensure::is_plain);
    let mut seen: HashMap<usize, usize, ByAddress> = HashMap::with_hasher(ByAddress);
    let mut children: Vec<Bound<'py, PyAny>> = Vec::with_capacity(given.len());
    let mut done = Vec::new();
    let mut context = None;
    for (index, argument) in given.iter_borrowed().enumerate() {
        // What `given` alone holds, and holds once, is not given again: a set of a million is slow.
        // SAFETY: it is alive.
        let alone = cfg!(not(Py_GIL_DISABLED)) && unsafe { ffi::Py_REFCNT(argument.as_ptr()) } == 1;
        if !alone && let Some(first) = seen.insert(argument.as_ptr().addr(), index) {
            let again = children[first].clone();
            children.push(again);
            seen.insert(argument.as_ptr().addr(), first);
            continue;
        }
        let child = match &event_loop {
            Some(event_loop) if plain && ensure::is_async(&argument) => {
                let shared = if Await::is_inert(&argument) {
                    // No code of the program's runs between here and the next one: one copy is as good as many.
                    if context.is_none() {
                        context = Some(wrapper::copy_context(py)?);
                    }
                    context.as_ref()
                } else {
                    None
                };
                ensure::create_plain(event_loop, &argument, shared)?
            }
            known => {
                context = None;
                ensure::ensure(&argument, known.as_ref())?
            }
        };
        if event_loop.is_none() {
            let its = child::event_loop(&child)?;
            plain = ensure::is_plain(&its);
            event_loop = Some(its);
        }
        let outer = match (&*made, &event_loop) {
            (Some(outer), _) => outer,
            (None, Some(event_loop)) => made.insert(Gathering::create(event_loop, return_exceptions)?),
            (None, None) => continue,
        };
        if !child.is(&*argument) {
            // Nobody else has the task, so nobody is told that it was destroyed.
            child::never_mind(&child)?;
        }
        outer.get().left.fetch_add(1, Ordering::Relaxed);
        // Since 3.12 children that were done before (eager tasks) are counted at once.
        if cfg!(Py_3_12) && child::is_done(&child)? {
            done.push(child.clone());
        } else {
            graph::add(&child, waiter.as_ref())?;
            child::observe_any(&child, told, outer)?;
        }
        children.push(child);
    }
    let Some(outer) = made else { return Ok(()) };
    let children = children.into_iter().map(Held::from).collect();
    let old = std::mem::replace(&mut *outer.get().children.lock(), children);
    drop(old);
    let old = std::mem::replace(&mut *outer.get().waiter.lock(), waiter.map(Held::from));
    drop(old);
    for child in done {
        told(outer, &child)?;
    }
    Ok(())
}

/// Objects are told apart by their addresses.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByAddress;

impl std::hash::BuildHasher for ByAddress {
    type Hasher = Address;
    fn build_hasher(&self) -> Address {
        Address(0)
    }
}

/// Spreads an address over a word.
#[derive(Debug)]
pub struct Address(u64);

impl std::hash::Hasher for Address {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }
    fn write_usize(&mut self, address: usize) {
        let address = address as u64;
        self.0 = (self.0 ^ (address >> 4)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 ^= self.0 >> 32;
    }
}
