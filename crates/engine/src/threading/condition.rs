//! `Condition`, as `threading.Condition`, over any lock; fast over our own.
//!
//! The waiters stand in a [`Notifier`]. A waiter enqueues itself while it owns the lock, releases it, and goes through the door; who
//! notifies owns the lock too, so a notification finds every waiter that began before it. Afterwards the
//! lock is taken again, whatever happened: a signal handler's exception is kept until it is ours.

use crate::deadlock::Anyone;
use crate::door;
use crate::held::HeldSlot;
use crate::hot::{self, Args};
use crate::limit::Limit;
use crate::threading::guard::{Guard, Kind, Saved};
use crate::threading::lock::Lock;
use crate::threading::rlock::RLock;
use plait_core::{Notifier, Waiter};
use pyo3::exceptions::{PyDeprecationWarning, PyRuntimeError};
use pyo3::ffi::PyObject;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyTuple};
use pyo3::{intern, types::PyString};
use std::sync::atomic::{AtomicU8, Ordering};

/// Waits for a state of things that a lock guards. `Condition(lock=None)` makes an RLock of its own; `wait(timeout=None)`,
/// `wait_for(predicate, timeout=None)`, `notify(n=1)`, `notify_all()` are called with the lock held.
#[pyclass(frozen, subclass, dict, weakref, module = "threading")]
#[derive(Debug, Default)]
pub struct Condition {
    lock: HeldSlot,
    kind: AtomicU8,
    /// Those that wait.
    pub bell: Notifier,
}

impl Condition {
    /// A condition over `lock`.
    #[must_use]
    pub fn over(lock: &Bound<'_, PyAny>) -> Self {
        let this = Self::default();
        this.stand_on(lock);
        this
    }

    fn stand_on(&self, lock: &Bound<'_, PyAny>) {
        let kind = if lock.is_exact_instance_of::<RLock>() {
            Kind::RLock
        } else if lock.is_exact_instance_of::<Lock>() {
            Kind::Lock
        } else {
            Kind::Foreign
        };
        self.kind.store(kind as u8, Ordering::Relaxed);
        self.lock.replace(Some(lock.clone().into()));
    }

    #[inline]
    fn guard<'a, 'py>(&'a self, py: Python<'py>) -> PyResult<Guard<'a, 'py>> {
        let lock = self
            .lock
            .get(py)
            .ok_or_else(|| PyRuntimeError::new_err("Condition.__init__() not called"))?;
        // SAFETY: the kind says what exact type the lock has; the slot keeps it alive.
        Ok(unsafe {
            match self.kind.load(Ordering::Relaxed) {
                kind if kind == Kind::RLock as u8 => Guard::RLock(hot::this(lock.as_ptr()), lock.as_ptr()),
                kind if kind == Kind::Lock as u8 => Guard::Lock(hot::this(lock.as_ptr()), lock.as_ptr()),
                _ => Guard::Foreign(lock),
            }
        })
    }

    fn wait_with(&self, py: Python<'_>, object: *mut PyObject, args: Args) -> PyResult<bool> {
        let [timeout] = args.bind(py, "Condition.wait", ["timeout"], 0)?;
        let guard = self.guard(py)?;
        if !guard.is_owned()? {
            return Err(PyRuntimeError::new_err("cannot wait on un-acquired lock"));
        }
        // SAFETY: a bound argument is borrowed from the caller.
        let limit = Limit::from_timeout(unsafe { Bound::from_borrowed_ptr_or_opt(py, timeout) }.as_ref())?;
        let waiter = Waiter::thread();
        self.bell.enqueue(&waiter);
        let saved = match guard.release_save() {
            Ok(saved) => saved,
            Err(error) => {
                if !plait_core::Site::leave(&self.bell, &waiter) {
                    door::settle(&waiter);
                }
                return Err(error);
            }
        };
        let woken = door::wait_as(
            py,
            &self.bell,
            &waiter,
            limit,
            &Anyone {
                object,
                action: "wait for",
            },
        );
        guard.acquire_restore(saved)?;
        woken
    }
}

unsafe extern "C" fn enter(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Condition, attached.
    unsafe {
        let this: &Condition = hot::this(slf);
        if this.kind.load(Ordering::Relaxed) == Kind::RLock as u8
            && let Ok(Guard::RLock(lock, _)) = this.guard(Python::assume_attached())
            && lock.try_acquire(door::ident())
        {
            return hot::truth(true);
        }
        hot::slow(|py| match this.guard(py)? {
            Guard::RLock(lock, object) => lock.acquire(py, object, Limit::Never).map(hot::truth),
            Guard::Lock(lock, object) => lock.acquire(py, object, Limit::Never).map(hot::truth),
            Guard::Foreign(lock) => Ok(lock.call_method0(intern!(py, "__enter__"))?.into_ptr()),
        })
    }
}

unsafe extern "C" fn exit(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Condition, attached.
    unsafe {
        let this: &Condition = hot::this(slf);
        if this.kind.load(Ordering::Relaxed) == Kind::RLock as u8
            && let Ok(Guard::RLock(lock, _)) = this.guard(Python::assume_attached())
            && lock.release(door::ident())
        {
            return hot::none();
        }
        hot::slow(|py| match this.guard(py)? {
            Guard::Foreign(lock) => {
                let exit = lock.getattr(intern!(py, "__exit__"))?;
                Ok(Args::new(args, count, names).forward(&exit)?.into_ptr())
            }
            guard => {
                guard.release_once()?;
                Ok(hot::none())
            }
        })
    }
}

unsafe extern "C" fn notify(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Condition, attached.
    unsafe {
        let this: &Condition = hot::this(slf);
        let args = Args::new(args, count, names);
        if args.none()
            && let Ok(Guard::RLock(lock, _)) = this.guard(Python::assume_attached())
            && lock.is_mine()
        {
            this.bell.notify(1);
            return hot::none();
        }
        hot::slow(|py| {
            let [n] = args.bind(py, "Condition.notify", ["n"], 0)?;
            if !this.guard(py)?.is_owned()? {
                return Err(PyRuntimeError::new_err("cannot notify on un-acquired lock"));
            }
            let n = match Bound::from_borrowed_ptr_or_opt(py, n) {
                None => 1,
                Some(n) if !n.gt(0)? => 0,
                Some(n) => n.extract().unwrap_or(usize::MAX),
            };
            this.bell.notify(n);
            Ok(hot::none())
        })
    }
}

unsafe extern "C" fn notify_all(slf: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Condition, attached.
    unsafe {
        let this: &Condition = hot::this(slf);
        if let Ok(Guard::RLock(lock, _)) = this.guard(Python::assume_attached())
            && lock.is_mine()
        {
            this.bell.notify(usize::MAX);
            return hot::none();
        }
        hot::slow(|py| {
            if !this.guard(py)?.is_owned()? {
                return Err(PyRuntimeError::new_err("cannot notify on un-acquired lock"));
            }
            this.bell.notify(usize::MAX);
            Ok(hot::none())
        })
    }
}

unsafe extern "C" fn wait(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter on a Condition, attached.
    unsafe {
        let this: &Condition = hot::this(slf);
        hot::slow(|py| {
            this.wait_with(py, slf, Args::new(args, count, names))
                .map(hot::truth)
        })
    }
}

#[pymethods]
impl Condition {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(lock=None)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyAny>>) -> Self {
        Self::default()
    }

    #[pyo3(signature = (lock=None))]
    fn __init__(slf: &Bound<'_, Self>, lock: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        hot::defer_refcount(slf.as_ptr());
        match lock {
            Some(lock) => slf.get().stand_on(lock),
            None => slf
                .get()
                .stand_on(Bound::new(slf.py(), RLock::default())?.as_any()),
        }
        Ok(())
    }

    /// The lock that it stands on.
    #[getter]
    fn _lock<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.lock.get(py).map(|lock| lock.to_owned())
    }

    /// The lock's acquire().
    #[getter]
    fn acquire<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.of_lock(py, intern!(py, "acquire"))
    }

    /// The lock's release().
    #[getter]
    fn release<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.of_lock(py, intern!(py, "release"))
    }

    /// The lock's locked().
    #[getter]
    fn locked<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.of_lock(py, intern!(py, "locked"))
    }

    fn _is_owned(&self, py: Python<'_>) -> PyResult<bool> {
        self.guard(py)?.is_owned()
    }

    fn _release_save(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match self.guard(py)?.release_save()? {
            Saved::Lock | Saved::Foreign(None) => Ok(None),
            Saved::RLock(count) => Ok(Some(
                (count, door::ident()).into_pyobject(py)?.into_any().unbind(),
            )),
            Saved::Foreign(Some(state)) => Ok(Some(state.into_bound(py).unbind())),
        }
    }

    #[pyo3(signature = (state=None))]
    fn _acquire_restore(&self, py: Python<'_>, state: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        let guard = self.guard(py)?;
        let saved = match (&guard, state) {
            (Guard::Lock(..), _) | (Guard::Foreign(_), None) => Saved::Lock,
            (Guard::RLock(..), state) => Saved::RLock(
                state
                    .map_or(Ok((1, 0)), |state| state.extract::<(usize, usize)>())?
                    .0,
            ),
            (Guard::Foreign(_), Some(state)) => Saved::Foreign(Some(state.into())),
        };
        guard.acquire_restore(saved)
    }

    /// Forgets those that waited, and frees the lock, in a child after a fork.
    fn _at_fork_reinit(&self, py: Python<'_>) -> PyResult<()> {
        self.of_lock(py, intern!(py, "_at_fork_reinit"))?.call0()?;
        self.bell.reset();
        Ok(())
    }

    /// Waits until `predicate()` is true, for `timeout` seconds at most; returns what it returned last.
    #[pyo3(signature = (predicate, timeout=None))]
    fn wait_for<'py>(
        slf: &Bound<'py, Self>,
        predicate: &Bound<'py, PyAny>,
        timeout: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let monotonic = || {
            py.import(intern!(py, "time"))?
                .getattr(intern!(py, "monotonic"))?
                .call0()
        };
        let mut left = timeout;
        let mut end: Option<Bound<'py, PyAny>> = None;
        let mut result = predicate.call0()?;
        while !result.is_truthy()? {
            if let Some(timeout) = &left {
                match &end {
                    None => end = Some(monotonic()?.add(timeout)?),
                    Some(end) => {
                        let seconds = end.sub(monotonic()?)?;
                        if seconds.le(PyFloat::new(py, 0.0))? {
                            break;
                        }
                        left = Some(seconds);
                    }
                }
            }
            slf.call_method1(intern!(py, "wait"), (&left,))?;
            result = predicate.call0()?;
        }
        Ok(result)
    }

    /// The old name of notify_all().
    #[expect(non_snake_case, reason = "the standard library's name")]
    fn notifyAll(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let category = py.get_type::<PyDeprecationWarning>();
        PyErr::warn(
            py,
            &category,
            c"notifyAll() is deprecated, use notify_all() instead",
            1,
        )?;
        slf.call_method0(intern!(py, "notify_all")).map(drop)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let lock = self
            .lock
            .get(py)
            .map_or_else(|| Ok(PyString::new(py, "None")), |lock| lock.repr())?;
        Ok(format!("<Condition({lock}, {})>", self.bell.count()))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.lock.traverse(&visit)
    }

    fn __clear__(&self) {
        self.kind.store(Kind::Foreign as u8, Ordering::Relaxed);
        self.lock.replace(None);
    }
}

impl Condition {
    fn of_lock<'py>(&self, py: Python<'py>, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        let lock = self
            .lock
            .get(py)
            .ok_or_else(|| PyRuntimeError::new_err("Condition.__init__() not called"))?;
        lock.getattr(name)
    }
}

/// Puts the raw methods over the class.
///
/// # Errors
/// As [`hot::install`].
pub fn init(py: Python<'_>) -> PyResult<()> {
    hot::install(
        &py.get_type::<Condition>(),
        vec![
            hot::no_args(c"__enter__", c"__enter__($self, /)\n--\n\nTakes the lock.", enter),
            hot::fast(c"__exit__", c"__exit__($self, /, *exc_info)\n--\n\nFrees the lock.", exit),
            hot::fast(
                c"wait",
                c"wait($self, /, timeout=None)\n--\n\nFrees the lock, waits to be notified, for timeout seconds at most, takes the lock again. Whether notified.",
                wait,
            ),
            hot::fast(c"notify", c"notify($self, /, n=1)\n--\n\nWakes up to n that wait.", notify),
            hot::no_args(c"notify_all", c"notify_all($self, /)\n--\n\nWakes all that wait.", notify_all),
        ],
    )
}
