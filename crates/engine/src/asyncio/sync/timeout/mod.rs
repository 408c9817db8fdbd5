//! `Timeout`, `timeout()` and `timeout_at()`, as `asyncio`'s.
//!
//! When the time comes the task is cancelled; the block that ends so, with no other request to cancel it, raises `TimeoutError`.

mod raw;

pub use raw::{add, init};

use crate::asyncio::await_::{Machine, Resume, Step};
use crate::asyncio::sync::timer::{Timer, keeper, plain_number, time};
use crate::asyncio::sync::waiters::running_loop;
use crate::asyncio::task::{self, Task};
use crate::guarded::Guarded;
use crate::held::{Held, HeldSlot};
use pyo3::exceptions::{PyAssertionError, PyBaseExceptionGroup, PyException, PyRuntimeError, PyTimeoutError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyType};
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering::Relaxed};

/// What a timeout is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum State {
    Created,
    Entered,
    /// The time has come, the block has not ended.
    Expiring,
    Expired,
    Exited,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Entered => "active",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::Exited => "finished",
        }
    }
}

/// Cancels the block `async with timeout:` when its time has come. Made by timeout() and timeout_at().
#[pyclass(frozen, subclass, weakref, module = "asyncio.timeouts")]
#[derive(Debug)]
pub struct Timeout {
    state: AtomicU8,
    when: HeldSlot,
    timer: Guarded<Option<Timer>>,
    task: HeldSlot,
    /// Requests to cancel the task that there were at the beginning.
    cancelling: AtomicI64,
    /// The time lay in the future when this was made: no need to look at the clock again on entering.
    ahead: bool,
}

impl Timeout {
    fn create(when: Option<Bound<'_, PyAny>>, ahead: bool) -> Self {
        let slot = HeldSlot::default();
        slot.replace(when.filter(|when| !when.is_none()).map(Held::from));
        Self {
            state: AtomicU8::new(State::Created as u8),
            when: slot,
            timer: Guarded::new(None),
            task: HeldSlot::default(),
            cancelling: AtomicI64::new(0),
            ahead,
        }
    }

    fn state(&self) -> State {
        match self.state.load(Relaxed) {
            0 => State::Created,
            1 => State::Entered,
            2 => State::Expiring,
            3 => State::Expired,
            _ => State::Exited,
        }
    }

    fn set(&self, state: State) {
        self.state.store(state as u8, Relaxed);
    }

    #[inline]
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        let timer = self.timer.lock().take();
        timer.map_or(Ok(()), |timer| timer.cancel(py))
    }

    /// Sets the timer for `self.when`.
    #[inline]
    fn schedule(slf: &Bound<'_, Self>, ahead: bool) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        this.stop(py)?;
        let Some(when) = this.when.get(py).map(|when| when.to_owned()) else {
            return Ok(());
        };
        let event_loop = running_loop(py)?;
        let timer = match (plain_number(&when), keeper(&event_loop)) {
            (Some(at), Some(core)) if ahead || at > time(&event_loop)? => {
                Timer::native(core, at, expire, slf.as_any(), when.unbind())
            }
            _ => {
                let expire = slf.getattr(intern!(py, "_on_timeout"))?;
                let now = event_loop.call_method0(intern!(py, "time"))?;
                let handle = if when.le(now)? {
                    event_loop.call_method1(intern!(py, "call_soon"), (expire,))?
                } else {
                    event_loop.call_method1(intern!(py, "call_at"), (when, expire))?
                };
                Timer::Handle(handle.into())
            }
        };
        let old = this.timer.lock().replace(timer);
        drop(old);
        Ok(())
    }

    fn enter(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if this.state() != State::Created {
            return Err(PyRuntimeError::new_err("Timeout has already been entered"));
        }
        let Some(task) = task::current(py) else {
            return Err(PyRuntimeError::new_err("Timeout should be used inside a task"));
        };
        let cancelling = match task.cast_exact::<Task>() {
            Ok(task) => i64::try_from(task.get().state.lock().cancels).unwrap_or(i64::MAX),
            Err(_) => task.call_method0(intern!(py, "cancelling"))?.extract()?,
        };
        this.set(State::Entered);
        this.task.replace(Some(task.into()));
        this.cancelling.store(cancelling, Relaxed);
        Self::schedule(slf, this.ahead)
    }

    /// The time has come.
    fn expire(&self, py: Python<'_>) -> PyResult<()> {
        if self.state() != State::Entered {
            return Err(PyAssertionError::new_err(()));
        }
        if let Some(task) = self.task.get(py).map(|task| task.to_owned()) {
            task.call_method0(intern!(py, "cancel"))?;
        }
        self.set(State::Expiring);
        let timer = self.timer.lock().take();
        drop(timer);
        Ok(())
    }

    /// The end of a block whose time had come.
    #[cold]
    fn leave(&self, py: Python<'_>, kind: &Bound<'_, PyAny>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        self.set(State::Expired);
        let Some(task) = self.task.get(py).map(|task| task.to_owned()) else {
            return Ok(());
        };
        let left: i64 = task.call_method0(intern!(py, "uncancel"))?.extract()?;
        if left > self.cancelling.load(Relaxed) || kind.is_none() {
            return Ok(());
        }
        let cancelled = crate::asyncio::future::cancelled_error(py)?;
        if kind.cast::<PyType>()?.is_subclass(cancelled)? {
            let timed_out = PyTimeoutError::new_err(());
            if !error.is_none() {
                timed_out.set_cause(py, Some(PyErr::from_value(error.clone())));
                timed_out.value(py).setattr(intern!(py, "__context__"), error)?;
            }
            return Err(timed_out);
        }
        if !error.is_none() {
            name_the_cause(error)?;
            if error.is_instance_of::<PyBaseExceptionGroup>() && error.is_instance_of::<PyException>() {
                for inner in error.getattr(intern!(py, "exceptions"))?.try_iter()? {
                    name_the_cause(&inner?)?;
                }
            }
        }
        Ok(())
    }
}

/// Puts a TimeoutError between `error` and the CancelledError in the chain of its contexts.
fn name_the_cause(error: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = error.py();
    let name = intern!(py, "__context__");
    let cancelled = crate::asyncio::future::cancelled_error(py)?;
    let mut error = error.clone();
    loop {
        let context = error.getattr(name)?;
        if context.is_none() {
            return Ok(());
        }
        if context.is_instance(cancelled)? {
            let timed_out = PyTimeoutError::new_err(()).into_value(py).into_bound(py);
            timed_out.setattr(name, &context)?;
            timed_out.setattr(intern!(py, "__cause__"), &context)?;
            return error.setattr(name, timed_out);
        }
        error = context;
    }
}

/// What a native timer runs. It may have been due, and so out of the timer's reach, when the block ended or was given
/// another deadline in the same turn of the loop: then it is not for this any more.
fn expire(timeout: &Bound<'_, PyAny>, when: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = timeout.py();
    let this = timeout.cast::<Timeout>()?.get();
    let due = this.when.get(py).is_some_and(|its| its.is(when));
    if !due || this.state() != State::Entered {
        return Ok(());
    }
    this.expire(py)
}

/// Enters a timeout.
struct Enter(Held);

impl Machine for Enter {
    const NAME: &'static str = "Timeout.__aenter__";

    #[inline]
    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        if let Resume::Throw(error) = resume {
            return Err(error);
        }
        let timeout = self.0.bind(py);
        // SAFETY: it was made of a timeout.
        Timeout::enter(&*unsafe { timeout.cast_unchecked::<Timeout>() })?;
        Ok(Step::Return(timeout.to_owned().unbind()))
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.traverse(visit)
    }
}

#[pymethods]
impl Timeout {
    #[new]
    fn new(when: Option<Bound<'_, PyAny>>) -> Self {
        Self::create(when, false)
    }

    /// The deadline on the loop's clock; None if there is none.
    fn when<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.when.get(py).map(|when| when.to_owned())
    }

    /// Move the deadline.
    fn reschedule(slf: &Bound<'_, Self>, when: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        let this = slf.get();
        match this.state() {
            State::Entered => {}
            State::Created => return Err(PyRuntimeError::new_err("Timeout has not been entered")),
            state => {
                return Err(PyRuntimeError::new_err(format!(
                    "Cannot change state of {} Timeout",
                    state.name()
                )));
            }
        }
        this.when
            .replace(when.filter(|when| !when.is_none()).map(Held::from));
        Self::schedule(slf, false)
    }

    /// Whether the time has come before the block ended.
    fn expired(&self) -> bool {
        matches!(self.state(), State::Expiring | State::Expired)
    }

    fn _on_timeout(&self, py: Python<'_>) -> PyResult<()> {
        self.expire(py)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let state = self.state();
        let mut when = String::new();
        if state == State::Entered {
            when = match self.when.get(py) {
                None => " when=None".to_owned(),
                Some(when) => format!(" when={}", when.call_method1(intern!(py, "__round__"), (3,))?),
            };
        }
        Ok(format!("<Timeout [{}]{when}>", state.name()))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.when.traverse(&visit)?;
        self.task.traverse(&visit)?;
        let Some(timer) = self.timer.try_lock() else {
            return Ok(());
        };
        timer.as_ref().map_or(Ok(()), |timer| timer.traverse(&visit))
    }

    fn __clear__(&self) {
        self.when.replace(None);
        self.task.replace(None);
        let timer = self.timer.lock().take();
        drop(timer);
    }
}

/// `timeout(delay)`.
fn after<'py>(py: Python<'py>, delay: Bound<'py, PyAny>) -> PyResult<Bound<'py, Timeout>> {
    let event_loop = running_loop(py)?;
    if delay.is_none() {
        return raw::make(py, Timeout::create(None, false));
    }
    if let (Some(delay), Some(_)) = (plain_number(&delay), keeper(&event_loop)) {
        let when = PyFloat::new(py, time(&event_loop)? + delay).into_any();
        return raw::make(py, Timeout::create(Some(when), delay > 0.0));
    }
    let when = event_loop.call_method0(intern!(py, "time"))?.add(delay)?;
    raw::make(py, Timeout::create(Some(when), false))
}

/// As timeout(), with a time of the loop's clock.
#[pyfunction]
pub fn timeout_at<'py>(py: Python<'py>, when: Option<Bound<'py, PyAny>>) -> PyResult<Bound<'py, Timeout>> {
    Bound::new(py, Timeout::create(when, false))
}
