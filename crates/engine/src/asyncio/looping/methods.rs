//! The loop as Python sees it.

use super::handle::{Call, Handle, TimerHandle};
use super::io::{self, Direction, Watcher};
use super::{Due, Entry, LoopCore, ready};
use crate::asyncio::future::Future;
use crate::asyncio::task::Task;
use crate::held::Held;
use crate::hot;
use plait_core::clock::{self, Nanos};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::ffi::{self, PyObject};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyInt, PyTuple, PyType};
use smallvec::SmallVec;
use std::os::fd::RawFd;
use std::sync::atomic::Ordering;

/// Beyond this many seconds a timer never comes: 292 years.
const MOST_SECONDS: f64 = 9_223_372_036.0;

impl LoopCore {
    fn check_closed(&self) -> PyResult<()> {
        if self.is_closed() {
            return Err(PyRuntimeError::new_err("Event loop is closed"));
        }
        Ok(())
    }

    /// What debug mode asks of a call from Python code.
    #[cold]
    fn check_call(
        slf: &Bound<'_, Self>,
        callback: &Bound<'_, PyAny>,
        method: &str,
        thread: bool,
    ) -> PyResult<()> {
        if thread {
            slf.call_method0(intern!(slf.py(), "_check_thread"))?;
        }
        slf.call_method1(intern!(slf.py(), "_check_callback"), (callback, method))?;
        Ok(())
    }

    /// Checks what a call from Python code has to keep to.
    #[inline]
    fn check(slf: &Bound<'_, Self>, callback: &Bound<'_, PyAny>, method: &str, thread: bool) -> PyResult<()> {
        slf.get().check_closed()?;
        if slf.get().is_debug() {
            Self::check_call(slf, callback, method, thread)?;
        }
        Ok(())
    }

    /// A call of `callback(*args)` in `context`, or in a copy of the current one.
    #[inline]
    fn call<'py>(
        callback: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Call> {
        Ok(Call {
            callback: callback.clone().into(),
            args: args.iter_borrowed().map(|arg| arg.to_owned().into()).collect(),
            context: current_context(callback.py(), context)?,
        })
    }

    /// A handle that nobody has queued yet.
    #[inline]
    fn handle<'py>(slf: &Bound<'py, Self>, call: Call) -> PyResult<Bound<'py, Handle>> {
        let handle = Bound::new(slf.py(), Handle::new(slf, call))?;
        if slf.get().is_debug() {
            handle.get().trace(slf.py())?;
        }
        Ok(handle)
    }

    /// When a timer for `when` on the loop's clock is due on ours.
    fn due(slf: &Bound<'_, Self>, when: f64) -> PyResult<Nanos> {
        if slf.get().own_clock {
            return Ok(nanos(when));
        }
        let now: f64 = slf.call_method0(intern!(slf.py(), "time"))?.extract()?;
        Ok(clock::now().saturating_add(nanos(when - now)))
    }

    fn schedule<'py>(slf: &Bound<'py, Self>, when: f64, call: Call) -> PyResult<Bound<'py, TimerHandle>> {
        let due = Self::due(slf, when)?;
        let timer = TimerHandle::create(slf, when, call)?;
        let core = slf.get();
        if core.is_debug() {
            timer.as_super().get().trace(slf.py())?;
        }
        let key = core.timers.lock().add(due, Due::Handle(timer.clone().unbind()));
        *timer.get().key.lock() = Some(key);
        if due <= clock::now() {
            core.hurry.store(true, Ordering::Relaxed);
        }
        Ok(timer)
    }

    fn watch_handle<'py>(
        slf: &Bound<'py, Self>,
        file: &Bound<'py, PyAny>,
        direction: Direction,
        callback: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, Handle>> {
        slf.get().check_closed()?;
        let fd = descriptor(file)?;
        let handle = Self::handle(slf, Self::call(callback, args, None)?)?;
        let watcher = Watcher::Handle(handle.clone().unbind());
        let old = slf.get().set_watcher(slf.py(), fd, direction, Some(watcher))?;
        io::cancel(slf.py(), old)?;
        Ok(handle)
    }

    fn unwatch_object(&self, file: &Bound<'_, PyAny>, direction: Direction) -> PyResult<bool> {
        if self.is_closed() {
            return Ok(false);
        }
        let fd = descriptor(file)?;
        Ok(self.unwatch(file.py(), fd, direction))
    }
}

/// `context`, or a copy of the current one.
#[inline]
fn current_context(py: Python<'_>, context: Option<&Bound<'_, PyAny>>) -> PyResult<Held> {
    if let Some(context) = context.filter(|context| !context.is_none()) {
        return Ok(context.clone().into());
    }
    // SAFETY: the thread is attached; the result is a new reference or null.
    unsafe {
        let copy = ffi::PyContext_CopyCurrent();
        if copy.is_null() {
            return Err(PyErr::fetch(py));
        }
        Ok(Held::from_owned(copy))
    }
}

/// Seconds as nanoseconds; what lies in the past is now, and what lies beyond all time stays there.
fn nanos(seconds: f64) -> Nanos {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in range by the clamp"
    )]
    if seconds >= 0.0 {
        (seconds.min(MOST_SECONDS) * 1e9) as Nanos
    } else {
        0
    }
}

/// The descriptor of a file object or number, as `selectors` sees it.
fn descriptor(file: &Bound<'_, PyAny>) -> PyResult<RawFd> {
    let number = if file.is_instance_of::<PyInt>() {
        file.extract::<RawFd>()?
    } else {
        let number = file
            .call_method0(intern!(file.py(), "fileno"))
            .and_then(|number| number.call_method0("__int__"))
            .and_then(|number| number.extract::<RawFd>());
        match number {
            Ok(number) => number,
            Err(_) => {
                return Err(PyValueError::new_err(format!(
                    "Invalid file object: {}",
                    file.repr()?
                )));
            }
        }
    };
    if number < 0 {
        return Err(PyValueError::new_err(format!(
            "Invalid file descriptor: {number}"
        )));
    }
    Ok(number)
}

/// `call_soon(callback, *args)` as it is called most: no keyword, not debugging.
unsafe extern "C" fn call_soon(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the interpreter passes an instance, `count` arguments and then the keywords' values; the thread is attached.
    unsafe { soon(slf, args, count, names, "call_soon", false) }
}

/// `call_soon_threadsafe(callback, *args)`.
unsafe extern "C" fn call_soon_threadsafe(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: as above.
    unsafe { soon(slf, args, count, names, "call_soon_threadsafe", true) }
}

/// Both of them.
///
/// # Safety
/// As a `METH_FASTCALL | METH_KEYWORDS` method is called.
#[inline]
unsafe fn soon(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
    method: &'static str,
    threadsafe: bool,
) -> *mut PyObject {
    // SAFETY: the caller's promise.
    unsafe {
        hot::slow(|py| {
            let core = Borrowed::from_ptr(py, slf).cast_unchecked::<LoopCore>();
            let given = count.unsigned_abs();
            let mut context = None;
            if !names.is_null() {
                let names = Borrowed::from_ptr(py, names).cast_unchecked::<PyTuple>();
                for (at, name) in names.iter_borrowed().enumerate() {
                    if !name.eq(intern!(py, "context"))? {
                        return Err(PyTypeError::new_err(format!(
                            "LoopCore.{method}() got an unexpected keyword argument '{}'",
                            name.to_owned()
                        )));
                    }
                    context = Some(Borrowed::from_ptr(py, *args.add(given + at)).to_owned());
                }
            }
            if given == 0 {
                return Err(PyTypeError::new_err(format!(
                    "LoopCore.{method}() missing 1 required positional argument: 'callback'"
                )));
            }
            let callback = Borrowed::from_ptr(py, *args);
            LoopCore::check(&core, &callback, method, !threadsafe)?;
            let call = Call {
                callback: Held::new(*args),
                args: (1..given)
                    .map(|at| Held::new(*args.add(at)))
                    .collect::<SmallVec<_>>(),
                context: current_context(py, context.as_ref())?,
            };
            let handle = LoopCore::handle(&core, call)?;
            let entry = Entry::Handle(handle.clone().unbind());
            if threadsafe {
                core.get().push_threadsafe(py, entry);
            } else {
                core.get().push(py, entry);
            }
            Ok(handle.into_ptr())
        })
    }
}

/// Puts the raw methods over the class.
///
/// # Errors
/// As [`hot::install`].
pub fn init(py: Python<'_>) -> PyResult<()> {
    hot::install(
        &py.get_type::<LoopCore>(),
        vec![
            hot::fast(
                c"call_soon",
                c"call_soon($self, callback, /, *args, context=None)\n--\n\nRuns callback(*args) in the next turn.",
                call_soon,
            ),
            hot::fast(
                c"call_soon_threadsafe",
                c"call_soon_threadsafe($self, callback, /, *args, context=None)\n--\n\nAs call_soon(), from any thread.",
                call_soon_threadsafe,
            ),
        ],
    )
}

#[pymethods]
impl LoopCore {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(
        class: &Bound<'_, PyType>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        Self::create(class)
    }

    /// The loop's clock: seconds on the monotonic clock.
    #[allow(clippy::unused_self, reason = "a method")]
    #[allow(clippy::cast_precision_loss, reason = "a clock in seconds")]
    fn time(&self) -> f64 {
        clock::now() as f64 / 1e9
    }

    /// Runs callback(*args) after `delay` seconds.
    #[pyo3(signature = (delay, callback, *args, context = None))]
    fn call_later<'py>(
        slf: &Bound<'py, Self>,
        delay: &Bound<'py, PyAny>,
        callback: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, TimerHandle>> {
        if delay.is_none() {
            return Err(PyTypeError::new_err("delay must not be None"));
        }
        let when = if slf.get().own_clock && delay.is_exact_instance_of::<PyFloat>() {
            slf.get().time() + delay.extract::<f64>()?
        } else {
            slf.call_method0(intern!(slf.py(), "time"))?
                .add(delay)?
                .extract()?
        };
        Self::check(slf, callback, "call_later", true)?;
        Self::schedule(slf, when, Self::call(callback, args, context)?)
    }

    /// Runs callback(*args) when the loop's clock says `when`.
    #[pyo3(signature = (when, callback, *args, context = None))]
    fn call_at<'py>(
        slf: &Bound<'py, Self>,
        when: &Bound<'py, PyAny>,
        callback: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, TimerHandle>> {
        if when.is_none() {
            return Err(PyTypeError::new_err("when cannot be None"));
        }
        Self::check(slf, callback, "call_at", true)?;
        Self::schedule(slf, when.extract()?, Self::call(callback, args, context)?)
    }

    /// A future of this loop.
    fn create_future<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Future>> {
        Future::create(slf.py(), slf.as_any())
    }

    #[pyo3(signature = (fd, callback, *args))]
    fn _add_reader<'py>(
        slf: &Bound<'py, Self>,
        fd: &Bound<'py, PyAny>,
        callback: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, Handle>> {
        Self::watch_handle(slf, fd, Direction::Read, callback, args)
    }

    #[pyo3(signature = (fd, callback, *args))]
    fn _add_writer<'py>(
        slf: &Bound<'py, Self>,
        fd: &Bound<'py, PyAny>,
        callback: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, Handle>> {
        Self::watch_handle(slf, fd, Direction::Write, callback, args)
    }

    fn _remove_reader(&self, fd: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.unwatch_object(fd, Direction::Read)
    }

    fn _remove_writer(&self, fd: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.unwatch_object(fd, Direction::Write)
    }

    /// Puts a handle in the ready queue, unless it is cancelled.
    fn _add_callback(&self, handle: &Bound<'_, PyAny>) {
        let py = handle.py();
        let entry = match handle.cast::<Handle>() {
            Ok(own) if own.get().is_cancelled() => return,
            Ok(own) => Entry::Handle(own.clone().unbind()),
            Err(_) => Entry::Native(ready::foreign(py, handle.clone().unbind())),
        };
        self.push_threadsafe(py, entry);
    }

    fn _add_callback_signalsafe(&self, handle: &Bound<'_, PyAny>) {
        self._add_callback(handle);
    }

    /// Ends the loop's sleep.
    fn _write_to_self(&self) {
        self.waker.wake();
    }

    /// What is watched: descriptor -> (reader, writer).
    fn _watched<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let mut all = Vec::new();
        {
            let io = self.io.lock();
            for (fd, watchers) in io.iter() {
                let object = |watcher: &Option<Watcher>| watcher.as_ref().map(|watcher| watcher.object(py));
                all.push((fd, object(&watchers.read), object(&watchers.write)));
            }
        }
        let map = PyDict::new(py);
        for (fd, read, write) in all {
            map.set_item(fd, (read, write))?;
        }
        Ok(map)
    }

    /// Runs until `stop()`.
    fn _run(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::run(slf)
    }

    /// Drops whatever was to be run.
    fn _drop_all(&self) {
        self.clear();
    }

    /// Stops after this turn.
    fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    #[pyo3(name = "is_closed")]
    fn py_is_closed(&self) -> bool {
        self.is_closed()
    }

    fn is_running(&self) -> bool {
        self.thread.load(Ordering::Relaxed) != 0
    }

    fn get_debug(&self) -> bool {
        self.is_debug()
    }

    #[getter]
    fn _debug(&self) -> bool {
        self.is_debug()
    }

    #[setter(_debug)]
    fn put_debug(&self, debug: &Bound<'_, PyAny>) -> PyResult<()> {
        self.debug.store(debug.is_truthy()?, Ordering::Relaxed);
        Ok(())
    }

    #[getter]
    fn _closed(&self) -> bool {
        self.is_closed()
    }

    #[setter(_closed)]
    fn put_closed(&self, closed: bool) {
        self.closed.store(closed, Ordering::Relaxed);
    }

    #[getter]
    fn _stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    #[setter(_stopping)]
    fn put_stopping(&self, stopping: bool) {
        self.stopping.store(stopping, Ordering::Relaxed);
    }

    #[getter]
    fn _thread_id(&self) -> Option<u64> {
        match self.thread.load(Ordering::Relaxed) {
            0 => None,
            thread => Some(thread),
        }
    }

    #[setter(_thread_id)]
    fn put_thread_id(&self, thread: Option<u64>) {
        self.thread.store(thread.unwrap_or(0), Ordering::Relaxed);
    }

    /// How many entries are ready.
    fn _ready_count(&self) -> usize {
        self.ready.lock().len()
    }

    /// How many timers wait.
    fn _timer_count(&self) -> usize {
        self.timers.lock().len()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.traverse(&visit)
    }

    fn __clear__(&self) {
        self.clear();
    }

    /// A task of this loop that runs `coro`; the loop's Python half sees to task factories.
    #[pyo3(signature = (coro, name = None, context = None, eager_start = None))]
    fn _create_task<'py>(
        slf: &Bound<'py, Self>,
        coro: &Bound<'py, PyAny>,
        name: Option<&Bound<'py, PyAny>>,
        context: Option<&Bound<'py, PyAny>>,
        eager_start: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Task>> {
        slf.get().check_closed()?;
        let eager = match eager_start {
            Some(eager) => eager.is_truthy()?,
            None => false,
        };
        Task::create(slf.py(), coro, slf.as_any(), name, context, eager)
    }
}
