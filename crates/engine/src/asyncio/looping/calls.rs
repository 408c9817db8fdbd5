//! `call_soon`, `call_soon_threadsafe`, `call_later`, `call_at` and `create_task`, as raw methods.
//!
//! Long because all of them read their arguments raw, in the same few ways.

use super::handle::{Call, Handle};
use super::timer_handle::TimerHandle;
use super::{Due, Entry, LoopCore, memory};
use crate::asyncio::task::{Task, wrapper};
use crate::held::Held;
use crate::hot;
use plait_core::clock::{self, Nanos};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::sync::atomic::Ordering;

/// Beyond this many seconds a timer never comes: 292 years.
const MOST_SECONDS: f64 = 9_223_372_036.0;

/// The arguments of a raw method.
#[derive(Clone, Copy)]
struct Given {
    args: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
}

impl Given {
    /// The positional ones.
    ///
    /// # Safety
    /// As the interpreter passed them, during the call.
    #[inline]
    unsafe fn positional<'a>(self) -> &'a [*mut PyObject] {
        if self.count == 0 {
            return &[];
        }
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(self.args, self.count) }
    }

    /// The values of the keywords in `known`; null for those that are missing.
    ///
    /// # Safety
    /// As [`positional`](Self::positional).
    #[inline]
    unsafe fn keywords<const N: usize>(
        self,
        py: Python<'_>,
        method: &str,
        known: [&str; N],
    ) -> PyResult<[*mut PyObject; N]> {
        let mut values = [std::ptr::null_mut(); N];
        if self.names.is_null() {
            return Ok(values);
        }
        // SAFETY: the caller's promise.
        unsafe { self.named(py, method, known, &mut values)? };
        Ok(values)
    }

    #[cold]
    unsafe fn named<const N: usize>(
        self,
        py: Python<'_>,
        method: &str,
        known: [&str; N],
        values: &mut [*mut PyObject; N],
    ) -> PyResult<()> {
        // SAFETY: the caller's promise; `names` is a tuple of str, whose values follow the positional ones.
        unsafe {
            let names = Borrowed::from_ptr(py, self.names).cast_unchecked::<PyTuple>();
            for (at, name) in names.iter_borrowed().enumerate() {
                let name: std::borrow::Cow<'_, str> = name.extract()?;
                let Some(place) = known.iter().position(|known| *known == name) else {
                    return Err(PyTypeError::new_err(format!(
                        "EventLoop.{method}() got an unexpected keyword argument '{name}'"
                    )));
                };
                values[place] = *self.args.add(self.count + at);
            }
        }
        Ok(())
    }

    /// Fewer than `names` by position.
    #[cold]
    fn missing(self, method: &str, names: &[&str]) -> PyErr {
        let names: Vec<_> = names[self.count..]
            .iter()
            .map(|name| format!("'{name}'"))
            .collect();
        PyTypeError::new_err(format!(
            "EventLoop.{method}() missing {} required positional argument{}: {}",
            names.len(),
            if names.len() == 1 { "" } else { "s" },
            names.join(" and ")
        ))
    }
}

/// An argument by position and by name.
#[cold]
fn twice(method: &str, name: &str) -> PyErr {
    PyTypeError::new_err(format!(
        "EventLoop.{method}() got multiple values for argument '{name}'"
    ))
}

/// `context`, or a copy of the current one.
#[inline]
fn context_or_copy(py: Python<'_>, context: *mut PyObject) -> PyResult<Held> {
    // SAFETY: the thread is attached; `context` is null or alive; the copy is a new reference or null.
    unsafe {
        if !context.is_null() && context != ffi::Py_None() {
            return Ok(Held::new(context));
        }
        let copy = ffi::PyContext_CopyCurrent();
        if copy.is_null() {
            return Err(PyErr::fetch(py));
        }
        Ok(Held::from_owned(copy))
    }
}

/// A call of `given[0](*given[1..])`.
///
/// # Safety
/// The objects are alive and there is at least one.
#[inline]
unsafe fn call_of(py: Python<'_>, given: &[*mut PyObject], context: *mut PyObject) -> PyResult<Call> {
    let context = context_or_copy(py, context)?;
    // SAFETY: the caller's promise.
    unsafe {
        Ok(Call {
            callback: Held::new(given[0]),
            args: given[1..].iter().map(|arg| Held::new(*arg)).collect(),
            context,
        })
    }
}

impl LoopCore {
    pub(super) fn check_closed(&self) -> PyResult<()> {
        if self.is_closed() {
            return Err(PyRuntimeError::new_err("Event loop is closed"));
        }
        Ok(())
    }

    /// Checks what a call from Python code has to keep to.
    #[inline]
    fn check(slf: &Bound<'_, Self>, callback: *mut PyObject, method: &str, thread: bool) -> PyResult<()> {
        slf.get().check_closed()?;
        if slf.get().is_debug() {
            // SAFETY: an argument of the call.
            let callback = unsafe { Borrowed::from_ptr(slf.py(), callback) };
            Self::check_call(slf, &callback, method, thread)?;
        }
        Ok(())
    }

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

    /// A handle that nobody has queued yet.
    #[inline]
    fn handle<'py>(slf: &Bound<'py, Self>, call: Call, threadsafe: bool) -> PyResult<Bound<'py, Handle>> {
        let handle = memory::make(slf.py(), Handle::new(slf, call, threadsafe))?;
        if slf.get().is_debug() {
            handle.get().trace(slf.py())?;
        }
        Ok(handle)
    }

    /// A handle for `callback(*args)` in a copy of the current context.
    pub(super) fn handle_of<'py>(
        slf: &Bound<'py, Self>,
        callback: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, Handle>> {
        let call = Call {
            callback: callback.clone().into(),
            args: args.iter_borrowed().map(|arg| arg.to_owned().into()).collect(),
            context: context_or_copy(slf.py(), std::ptr::null_mut())?,
        };
        Self::handle(slf, call, false)
    }

    /// When a timer for `when` on the loop's clock is due on ours; and now.
    #[inline]
    fn due(slf: &Bound<'_, Self>, when: f64) -> PyResult<(Nanos, Nanos)> {
        let now = clock::now();
        if slf.get().own_clock {
            return Ok((nanos(when), now));
        }
        let theirs: f64 = slf.call_method0(intern!(slf.py(), "time"))?.extract()?;
        Ok((now.saturating_add(nanos(when - theirs)), now))
    }

    #[inline]
    fn schedule<'py>(slf: &Bound<'py, Self>, when: f64, call: Call) -> PyResult<Bound<'py, TimerHandle>> {
        let (due, now) = Self::due(slf, when)?;
        let timer = TimerHandle::create(slf, when, call)?;
        let core = slf.get();
        if core.is_debug() {
            timer.as_super().get().trace(slf.py())?;
        }
        let key = core.timers.lock().add(due, Due::Handle(timer.clone().unbind()));
        *timer.get().key.lock() = Some(key);
        if due <= now {
            core.hurry.store(true, Ordering::Relaxed);
        }
        Ok(timer)
    }
}

/// Seconds as nanoseconds; what lies in the past is now, and what lies beyond all time stays there.
#[inline]
pub(in crate::asyncio) fn nanos(seconds: f64) -> Nanos {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in range by the comparisons"
    )]
    if seconds >= 0.0 {
        (seconds.min(MOST_SECONDS) * 1e9) as Nanos
    } else {
        0
    }
}

/// The loop's clock, in seconds.
#[inline]
pub(super) fn seconds() -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a clock in seconds")]
    let seconds = clock::now() as f64 / 1e9;
    seconds
}

/// Both `call_soon`s.
#[inline]
unsafe fn soon<const THREADSAFE: bool>(
    py: Python<'_>,
    slf: *mut PyObject,
    given: Given,
) -> PyResult<*mut PyObject> {
    let method = if THREADSAFE {
        "call_soon_threadsafe"
    } else {
        "call_soon"
    };
    // SAFETY: called with what the interpreter passed to a method of `LoopCore`.
    unsafe {
        let slf = Borrowed::from_ptr(py, slf).cast_unchecked::<LoopCore>();
        let [context, named] = given.keywords(py, method, ["context", "callback"])?;
        let named = [named];
        let positional = if named[0].is_null() {
            given.positional()
        } else if given.count == 0 {
            &named[..]
        } else {
            return Err(twice(method, "callback"));
        };
        let Some(&callback) = positional.first() else {
            return Err(given.missing(method, &["callback"]));
        };
        LoopCore::check(&slf, callback, method, !THREADSAFE)?;
        if !THREADSAFE && !slf.get().is_debug() {
            // A future of C that wakes a task of ours: the task itself is queued, and C does not look at the result.
            let callback = Borrowed::from_ptr(py, callback);
            if let Some(task) = wrapper::task_of(&callback) {
                slf.get().push(py, Entry::Task(task.to_owned().unbind()));
                return Ok(hot::none());
            }
        }
        let handle = LoopCore::handle(&slf, call_of(py, positional, context)?, THREADSAFE)?;
        let entry = Entry::Handle(handle.clone().unbind());
        if THREADSAFE {
            slf.get().push_threadsafe(py, entry);
        } else {
            slf.get().push(py, entry);
        }
        Ok(handle.into_ptr())
    }
}

/// `call_later` and `call_at`.
unsafe fn later<const AT: bool>(py: Python<'_>, slf: *mut PyObject, given: Given) -> PyResult<*mut PyObject> {
    let (method, name) = if AT {
        ("call_at", "when")
    } else {
        ("call_later", "delay")
    };
    // SAFETY: called with what the interpreter passed to a method of `LoopCore`.
    unsafe {
        let slf = Borrowed::from_ptr(py, slf).cast_unchecked::<LoopCore>();
        let [context, time, callback] = given.keywords(py, method, ["context", name, "callback"])?;
        let mut named = [time, callback];
        let mut positional = given.positional();
        if !named.iter().all(|object| object.is_null()) {
            for (at, &object) in positional.iter().enumerate() {
                match named.get_mut(at) {
                    Some(place) if place.is_null() => *place = object,
                    _ => return Err(twice(method, if at == 0 { name } else { "callback" })),
                }
            }
            if named.iter().any(|object| object.is_null()) {
                return Err(given.missing(method, &[name, "callback"]));
            }
            positional = &named;
        }
        let [time, rest @ ..] = positional else {
            return Err(given.missing(method, &[name, "callback"]));
        };
        let Some(&callback) = rest.first() else {
            return Err(given.missing(method, &[name, "callback"]));
        };
        if *time == ffi::Py_None() {
            return Err(PyTypeError::new_err(if AT {
                "when cannot be None"
            } else {
                "delay must not be None"
            }));
        }
        let time = Borrowed::from_ptr(py, *time);
        let when = if AT {
            time.extract::<f64>()?
        } else if slf.get().own_clock && ffi::PyFloat_CheckExact(time.as_ptr()) != 0 {
            seconds() + ffi::PyFloat_AS_DOUBLE(time.as_ptr())
        } else {
            slf.call_method0(intern!(py, "time"))?.add(time)?.extract()?
        };
        LoopCore::check(&slf, callback, method, true)?;
        let timer = LoopCore::schedule(&slf, when, call_of(py, rest, context)?)?;
        Ok(timer.into_ptr())
    }
}

/// `create_task(coro, *, name, context, eager_start)`.
unsafe fn new_task(py: Python<'_>, slf: *mut PyObject, given: Given) -> PyResult<*mut PyObject> {
    // SAFETY: called with what the interpreter passed to a method of `LoopCore`.
    unsafe {
        let slf = Borrowed::from_ptr(py, slf).cast_unchecked::<LoopCore>();
        let core = slf.get();
        core.check_closed()?;
        if core.has_factory.load(Ordering::Relaxed) || given.count != 1 {
            return by_factory(&slf, given);
        }
        let [name, context, eager] = given.keywords(py, "create_task", ["name", "context", "eager_start"])?;
        if !eager.is_null() && cfg!(not(Py_3_13)) {
            return Err(PyTypeError::new_err(
                "EventLoop.create_task() got an unexpected keyword argument 'eager_start'",
            ));
        }
        let object = |given: *mut PyObject| {
            Borrowed::from_ptr_or_opt(py, given)
                .filter(|object| !object.is_none())
                .map(|object| object.to_owned())
        };
        let eager = match object(eager) {
            Some(eager) => eager.is_truthy()?,
            None => false,
        };
        let coro = Borrowed::from_ptr(py, given.positional()[0]);
        let (name, context) = (object(name), object(context));
        let task = Task::create(py, &coro, slf.as_any(), name.as_ref(), context.as_ref(), eager)?;
        Ok(task.into_ptr())
    }
}

/// A factory makes it, or the arguments are wrong: both are the standard library's business.
#[cold]
unsafe fn by_factory(slf: &Bound<'_, LoopCore>, given: Given) -> PyResult<*mut PyObject> {
    let py = slf.py();
    // SAFETY: the caller's promise, which is ours.
    unsafe {
        let positional = given.positional().iter().map(|arg| Borrowed::from_ptr(py, *arg));
        let args = PyTuple::new(py, positional.collect::<Vec<_>>())?;
        let keywords = PyDict::new(py);
        if !given.names.is_null() {
            let names = Borrowed::from_ptr(py, given.names).cast_unchecked::<PyTuple>();
            for (at, name) in names.iter_borrowed().enumerate() {
                keywords.set_item(name, Borrowed::from_ptr(py, *given.args.add(given.count + at)))?;
            }
        }
        let method = slf.getattr(intern!(py, "_create_task_by_factory"))?;
        Ok(method.call(args, Some(&keywords))?.into_ptr())
    }
}

/// A raw method around one of the above: errors become the interpreter's, the rest is inlined.
macro_rules! raw {
    ($name:ident, $inner:expr) => {
        unsafe extern "C" fn $name(
            slf: *mut PyObject,
            args: *const *mut PyObject,
            count: isize,
            names: *mut PyObject,
        ) -> *mut PyObject {
            // SAFETY: the interpreter calls methods attached, with an instance, `count` arguments and the keywords' values.
            unsafe {
                let py = Python::assume_attached();
                let given = Given {
                    args,
                    count: count.unsigned_abs(),
                    names,
                };
                match $inner(py, slf, given) {
                    Ok(object) => object,
                    Err(error) => {
                        error.restore(py);
                        std::ptr::null_mut()
                    }
                }
            }
        }
    };
}

raw!(call_soon, soon::<false>);
raw!(call_soon_threadsafe, soon::<true>);
raw!(call_later, later::<false>);
raw!(call_at, later::<true>);
raw!(create_task, new_task);

unsafe extern "C" fn time(_slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: the thread is attached.
    unsafe { ffi::PyFloat_FromDouble(seconds()) }
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
                c"call_soon($self, callback, *args, context=None)\n--\n\nRuns callback(*args) in the next turn.",
                call_soon,
            ),
            hot::fast(
                c"call_soon_threadsafe",
                c"call_soon_threadsafe($self, callback, *args, context=None)\n--\n\nAs call_soon(), from any thread.",
                call_soon_threadsafe,
            ),
            hot::fast(
                c"call_later",
                c"call_later($self, delay, callback, *args, context=None)\n--\n\nRuns callback(*args) after delay seconds.",
                call_later,
            ),
            hot::fast(
                c"call_at",
                c"call_at($self, when, callback, *args, context=None)\n--\n\nRuns callback(*args) when time() is when.",
                call_at,
            ),
            hot::fast(
                c"create_task",
                c"create_task($self, coro, /, **kwargs)\n--\n\nA task of this loop that runs coro.",
                create_task,
            ),
            hot::no_args(
                c"time",
                c"time($self, /)\n--\n\nThe loop's clock: seconds on the monotonic clock.",
                time,
            ),
        ],
    )
}
