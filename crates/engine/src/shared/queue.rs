//! `SharedQueue`: what `Queue`, `JoinableQueue` and `SimpleQueue` between processes stand on.
//!
//! A simple value (see [`crate::process::codec`]) travels as its bytes, and its tag as the record's form; anything else as a pickle,
//! which is made by the caller of `put`, so that is where its errors are raised.

use super::lock::limit_of;
use super::{known_queue, pickling, system, waiting};
use crate::door::detached;
use crate::hot::{self, Args};
use crate::limit::Limit;
use crate::process::codec::{self, Walk};
use crate::queue::errors;
use plait_core::Spin;
use plait_shared::life;
use plait_shared::queue::{AllDone, Item, Queue, Room};
use plait_shared::{How, Patience, Site};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::ffi::PyObject;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// A pickle.
const PICKLE: u8 = 0x80;
/// What is longer is copied detached.
const LONG: usize = 64 << 10;
/// A buffer that has grown beyond this is not kept.
const KEPT: usize = 64 << 10;

/// Items from any process to any other; see the classes of `plait.multiprocessing.queues`.
#[pyclass(frozen, subclass, dict, weakref, module = "plait._engine")]
#[derive(Debug)]
pub struct SharedQueue {
    queue: OnceLock<Arc<Queue>>,
    /// By which process it was closed: a child's own is open.
    closed: AtomicU64,
    used: AtomicBool,
    items: Spin,
    room: Spin,
}

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Runs `f` with an empty buffer that is kept for the next call.
#[inline]
fn with_buffer<R>(f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = SCRATCH.take();
    buffer.clear();
    let result = f(&mut buffer);
    if buffer.capacity() <= KEPT {
        SCRATCH.set(buffer);
    }
    result
}

impl SharedQueue {
    #[inline]
    fn queue(&self) -> PyResult<&Queue> {
        match self.queue.get() {
            Some(queue) => Ok(queue),
            None => Err(PyRuntimeError::new_err("__init__() has not been called")),
        }
    }

    #[inline]
    fn is_closed(&self) -> bool {
        let closed = self.closed.load(Ordering::Relaxed);
        closed != 0 && closed == life::me().word()
    }

    #[inline]
    fn put(slf: &Bound<'_, Self>, object: &Bound<'_, PyAny>, limit: Limit) -> PyResult<()> {
        let this = slf.get();
        if this.is_closed() {
            return Err(refused(slf));
        }
        let queue = this.queue()?;
        this.used.store(true, Ordering::Relaxed);
        with_buffer(|buffer| {
            let mut walk = Walk::asking();
            if codec::encode_with(object, buffer, &mut walk)
                && let Some((tag, bytes)) = buffer.split_first()
            {
                return this.put_bytes(slf.py(), queue, *tag, bytes, limit);
            }
            match pickling::dumps(object, walk.into_told()) {
                Ok(pickle) => this.put_bytes(slf.py(), queue, PICKLE, pickle.as_bytes(), limit),
                Err(error) => not_pickled(slf, object, error),
            }
        })
    }

    #[inline]
    fn put_bytes(&self, py: Python<'_>, queue: &Queue, form: u8, bytes: &[u8], limit: Limit) -> PyResult<()> {
        let mut room = Room { queue, form, bytes };
        if bytes.len() > LONG {
            // The first attempt, too, without the GIL: it copies.
            let how = How {
                patience: Patience::Slice,
                ..How::AT_ONCE
            };
            if let Ok(Some(done)) = detached(py, || room.attempt(how)) {
                return done.map_err(system);
            }
        }
        match waiting::wait(py, &mut room, limit, &self.room)? {
            Some(done) => done.map_err(system),
            None => Err(errors::full(py)),
        }
    }

    #[inline]
    fn get<'py>(slf: &Bound<'py, Self>, limit: Limit) -> PyResult<Bound<'py, PyAny>> {
        let this = slf.get();
        let py = slf.py();
        if this.is_closed() {
            return Err(refused(slf));
        }
        let queue = this.queue()?;
        with_buffer(|buffer| {
            // Room for the tag, which is not part of the record's bytes.
            buffer.push(0);
            let mut item = Item { queue, to: buffer };
            let Some(form) = waiting::wait(py, &mut item, limit, &this.items)? else {
                return Err(errors::empty(py));
            };
            let form = form.map_err(system)?;
            if form != PICKLE {
                if let Some(tag) = buffer.first_mut() {
                    *tag = form;
                }
                return codec::decode(py, buffer);
            }
            pickling::loads_behind_tag(py, buffer)
        })
    }
}

/// Why a closed queue is not used.
#[cold]
fn refused(slf: &Bound<'_, SharedQueue>) -> PyErr {
    match slf.call_method0(intern!(slf.py(), "_refusal")) {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}

/// A hook that the program has put over the standard library's may take the error; else it is raised.
#[cold]
fn not_pickled(slf: &Bound<'_, SharedQueue>, object: &Bound<'_, PyAny>, error: PyErr) -> PyResult<()> {
    let py = slf.py();
    if let Some(hook) = slf.getattr_opt(intern!(py, "_not_pickled"))?
        && hook.call1((error.value(py), object))?.is_truthy()?
    {
        return Ok(());
    }
    Err(error)
}

/// The fast path of `put`: whether a simple value has been put.
///
/// # Safety
/// Attached; `object` is alive.
#[inline]
unsafe fn put_at_once(this: &SharedQueue, object: *mut PyObject) -> bool {
    let Some(queue) = this.queue.get() else {
        return false;
    };
    if this.is_closed() {
        return false;
    }
    with_buffer(|buffer| {
        // SAFETY: the caller's promise.
        let object = unsafe { Borrowed::from_ptr(Python::assume_attached(), object) };
        if !codec::encode(&object, buffer) || buffer.len() > LONG {
            return false;
        }
        let Some((tag, bytes)) = buffer.split_first() else {
            return false;
        };
        this.used.store(true, Ordering::Relaxed);
        matches!(queue.put(*tag, bytes, How::AT_ONCE), Ok(true))
    })
}

/// The fast path of `get`: the value, if a simple one was there. What it takes and cannot make is an error.
///
/// # Safety
/// Attached.
#[inline]
unsafe fn get_at_once(this: &SharedQueue) -> Option<*mut PyObject> {
    let queue = this.queue.get()?;
    if this.is_closed() || queue.is_empty() {
        return None;
    }
    with_buffer(|buffer| {
        buffer.push(0);
        let Ok(Some(form)) = queue.get(buffer, How::AT_ONCE) else {
            return None;
        };
        if form == PICKLE {
            // SAFETY: the caller is attached.
            return Some(unsafe {
                hot::slow(|py| pickling::loads_behind_tag(py, buffer).map(Bound::into_ptr))
            });
        }
        if let Some(tag) = buffer.first_mut() {
            *tag = form;
        }
        // SAFETY: as above.
        let value = codec::decode(unsafe { Python::assume_attached() }, buffer);
        Some(match value {
            Ok(value) => value.into_ptr(),
            // SAFETY: as above.
            Err(error) => unsafe { hot::slow(|_| Err(error)) },
        })
    })
}

unsafe extern "C" fn put(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a SharedQueue, attached.
    unsafe {
        let args = Args::new(args, count, names);
        if let Some(object) = args.only()
            && put_at_once(hot::this(slf), object)
        {
            return hot::none();
        }
        hot::slow(|py| {
            let queue = Bound::from_borrowed_ptr(py, slf).cast_into_unchecked::<SharedQueue>();
            if let Some(object) = args.only() {
                SharedQueue::put(&queue, &Bound::from_borrowed_ptr(py, object), Limit::Never)?;
                return Ok(hot::none());
            }
            let [object, block, timeout] = args.bind(py, "put", ["obj", "block", "timeout"], 1)?;
            let limit = limit_of(
                Bound::from_borrowed_ptr_or_opt(py, block).as_ref(),
                Bound::from_borrowed_ptr_or_opt(py, timeout).as_ref(),
            )?;
            SharedQueue::put(&queue, &Bound::from_borrowed_ptr(py, object), limit)?;
            Ok(hot::none())
        })
    }
}

unsafe extern "C" fn get(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a SharedQueue, attached.
    unsafe {
        let args = Args::new(args, count, names);
        if args.none()
            && let Some(value) = get_at_once(hot::this(slf))
        {
            return value;
        }
        hot::slow(|py| {
            let queue = Bound::from_borrowed_ptr(py, slf).cast_into_unchecked::<SharedQueue>();
            if args.none() {
                return Ok(SharedQueue::get(&queue, Limit::Never)?.into_ptr());
            }
            let [block, timeout] = args.bind(py, "get", ["block", "timeout"], 0)?;
            let limit = limit_of(
                Bound::from_borrowed_ptr_or_opt(py, block).as_ref(),
                Bound::from_borrowed_ptr_or_opt(py, timeout).as_ref(),
            )?;
            Ok(SharedQueue::get(&queue, limit)?.into_ptr())
        })
    }
}

#[pymethods]
impl SharedQueue {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "()")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyAny>>) -> Self {
        Self {
            queue: OnceLock::new(),
            closed: AtomicU64::new(0),
            used: AtomicBool::new(false),
            items: Spin::new(),
            room: Spin::new(),
        }
    }

    /// Makes a new one of at most `most` items; 0: of any number.
    fn _create(&self, most: u32) -> PyResult<()> {
        self.set(Arc::new(Queue::new(most).map_err(system)?))
    }

    /// The one behind a descriptor of another process.
    fn _attach(&self, descriptor: RawFd) -> PyResult<()> {
        self.set(known_queue(descriptor)?)
    }

    /// Its descriptor.
    fn _location(&self) -> PyResult<RawFd> {
        Ok(self.queue()?.as_fd().as_raw_fd())
    }

    /// From now on, in this process, put and get raise what `_refusal()` returns.
    fn _close(&self) {
        self.closed.store(life::me().word(), Ordering::Relaxed);
    }

    #[getter]
    fn _is_closed(&self) -> bool {
        self.is_closed()
    }

    /// Whether something was put by this process.
    #[getter]
    fn _is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// How many items are in it.
    fn qsize(&self) -> PyResult<u32> {
        Ok(self.queue()?.len())
    }

    /// Whether it has as many items as it may have.
    fn full(&self) -> PyResult<bool> {
        Ok(!self.queue()?.has_room())
    }

    fn _is_empty(&self) -> PyResult<bool> {
        Ok(self.queue()?.is_empty())
    }

    /// One of the items that were taken is done with.
    fn _task_done(&self) -> PyResult<()> {
        if self.queue()?.task_done() {
            Ok(())
        } else {
            Err(PyValueError::new_err("task_done() called too many times"))
        }
    }

    /// Waits until all items are done with.
    fn _join(&self, py: Python<'_>) -> PyResult<()> {
        let mut done = AllDone::of(self.queue()?);
        waiting::wait(py, &mut done, Limit::Never, &self.items)?;
        Ok(())
    }
}

impl SharedQueue {
    fn set(&self, queue: Arc<Queue>) -> PyResult<()> {
        self.queue
            .set(queue)
            .map_err(|_| PyRuntimeError::new_err("already initialized"))
    }
}

/// Puts the raw methods over the class.
///
/// # Errors
/// As [`hot::install`].
pub fn init(py: Python<'_>) -> PyResult<()> {
    hot::install(
        &py.get_type::<SharedQueue>(),
        vec![
            hot::fast(
                c"put",
                c"put($self, /, obj, block=True, timeout=None)\n--\n\nPuts an item, as multiprocessing.Queue.put; timeout in seconds.",
                put,
            ),
            hot::fast(
                c"get",
                c"get($self, /, block=True, timeout=None)\n--\n\nTakes an item, as multiprocessing.Queue.get; timeout in seconds.",
                get,
            ),
        ],
    )
}
