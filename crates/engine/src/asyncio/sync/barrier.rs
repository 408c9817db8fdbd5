//! `Barrier`, as `asyncio.Barrier`: a state and a count behind a condition.

use super::condition::{self, Condition};
use super::lock;
use super::permit::Permit;
use super::waiters;
use crate::asyncio::await_::{Await, Machine, Resume, Step};
use crate::asyncio::future::stdlib;
use crate::held::{Held, HeldSlot};
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering::Relaxed};

/// What a barrier is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum State {
    Filling,
    Draining,
    Resetting,
    Broken,
}

/// Where a fixed number of tasks wait for each other: `index = await barrier.wait()`.
#[pyclass(frozen, subclass, dict, weakref, module = "asyncio.locks")]
#[derive(Debug, Default)]
pub struct Barrier {
    condition: HeldSlot,
    parties: AtomicI64,
    count: AtomicI64,
    state: AtomicU8,
}

fn broken(py: Python<'_>, text: &'static str) -> PyErr {
    match stdlib!(py, "asyncio.exceptions", "BrokenBarrierError").and_then(|class| class.call1((text,))) {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}

impl Barrier {
    fn state(&self) -> State {
        match self.state.load(Relaxed) {
            0 => State::Filling,
            1 => State::Draining,
            2 => State::Resetting,
            _ => State::Broken,
        }
    }

    fn set(&self, state: State) {
        self.state.store(state as u8, Relaxed);
    }

    fn condition<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Condition>> {
        if self.condition.get(py).is_none() {
            self.condition.fill(Condition::create(py)?.into_any().into());
        }
        // SAFETY: only conditions are put there.
        self.condition
            .get(py)
            .map(|condition| unsafe { condition.to_owned().cast_into_unchecked() })
            .ok_or_else(|| broken(py, "Barrier cleared"))
    }

    fn tell_all(&self, py: Python<'_>) -> PyResult<()> {
        self.condition(py)?.get().tell(py, usize::MAX)
    }

    /// One leaves: the last one lets in who waits for it to drain.
    fn leave(&self, py: Python<'_>) -> PyResult<()> {
        if self.count.fetch_sub(1, Relaxed) > 1 {
            return Ok(());
        }
        if matches!(self.state(), State::Resetting | State::Draining) {
            self.set(State::Filling);
        }
        self.tell_all(py)
    }
}

/// What is done with the lock in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Wait,
    Reset,
    Abort,
}

#[derive(Debug)]
enum At {
    Start,
    Locking(lock::Acquire),
    /// Outside, until the barrier has drained.
    Blocked(condition::Wait),
    /// Inside, with this index.
    Inside(condition::Wait, i64),
}

/// One call of a barrier.
#[derive(Debug)]
struct Call {
    barrier: Held,
    wish: Wish,
    at: At,
}

impl Machine for Call {
    const NAME: &'static str = "Barrier.wait";

    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        let owner = self.barrier.bind(py).to_owned();
        // SAFETY: it was made of a barrier.
        let barrier = unsafe { owner.cast_unchecked::<Barrier>() };
        let this = barrier.get();
        let condition = this.condition(py)?;
        if let At::Start = self.at {
            if let Resume::Throw(error) = resume {
                return Err(error);
            }
            if Condition::take(&condition)? {
                return self.locked(py, this, &condition);
            }
            let own = condition.get().own_lock(py)?;
            let Some(own) = own else {
                return Err(broken(py, "Barrier cleared"));
            };
            self.at = At::Locking(lock::Acquire::new(&own, true));
        }
        let step = match &mut self.at {
            At::Start => return Ok(Step::ReturnNone),
            At::Locking(acquire) => match acquire.step(py, resume)? {
                Step::Return(_) | Step::ReturnNone => return self.locked(py, this, &condition),
                step => return Ok(step),
            },
            At::Blocked(wait) | At::Inside(wait, _) => wait.step(py, resume),
        };
        match step {
            Ok(Step::Return(_) | Step::ReturnNone) => match self.at {
                At::Inside(_, index) => self.look_inside(py, this, &condition, index),
                _ => self.locked(py, this, &condition),
            },
            Ok(step) => Ok(step),
            Err(error) => {
                if let At::Inside(..) = self.at {
                    this.leave(py)?;
                }
                Condition::release(&condition)?;
                Err(error)
            }
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.barrier.traverse(visit)?;
        match &self.at {
            At::Start => Ok(()),
            At::Locking(acquire) => acquire.traverse(visit),
            At::Blocked(wait) | At::Inside(wait, _) => wait.traverse(visit),
        }
    }
}

impl Call {
    /// The lock is held, and the barrier not entered.
    fn locked(&mut self, py: Python<'_>, this: &Barrier, condition: &Bound<'_, Condition>) -> PyResult<Step> {
        match self.wish {
            Wish::Wait => {}
            Wish::Reset | Wish::Abort => {
                if self.wish == Wish::Abort {
                    this.set(State::Broken);
                } else if this.count.load(Relaxed) > 0 {
                    this.set(State::Resetting);
                } else {
                    this.set(State::Filling);
                }
                this.tell_all(py)?;
                Condition::release(condition)?;
                return Ok(Step::ReturnNone);
            }
        }
        match this.state() {
            State::Draining | State::Resetting => {
                let wait = condition::Wait::new(condition);
                self.at = At::Blocked(wait);
                self.begin(py)
            }
            State::Broken => {
                Condition::release(condition)?;
                Err(broken(py, "Barrier aborted"))
            }
            State::Filling => {
                let index = this.count.fetch_add(1, Relaxed);
                if index + 1 == this.parties.load(Relaxed) {
                    this.set(State::Draining);
                    this.tell_all(py)?;
                    return Self::out(py, this, condition, index);
                }
                self.at = At::Inside(condition::Wait::new(condition), index);
                self.begin(py)
            }
        }
    }

    /// The first step of a wait.
    fn begin(&mut self, py: Python<'_>) -> PyResult<Step> {
        match &mut self.at {
            At::Blocked(wait) | At::Inside(wait, _) => wait.step(py, Resume::Next),
            At::Start | At::Locking(_) => Ok(Step::ReturnNone),
        }
    }

    /// It was notified inside: what for?
    fn look_inside(
        &mut self,
        py: Python<'_>,
        this: &Barrier,
        condition: &Bound<'_, Condition>,
        index: i64,
    ) -> PyResult<Step> {
        match this.state() {
            State::Filling => {
                self.at = At::Inside(condition::Wait::new(condition), index);
                self.begin(py)
            }
            State::Draining => Self::out(py, this, condition, index),
            State::Resetting | State::Broken => {
                this.leave(py)?;
                Condition::release(condition)?;
                Err(broken(py, "Abort or reset of barrier"))
            }
        }
    }

    fn out(py: Python<'_>, this: &Barrier, condition: &Bound<'_, Condition>, index: i64) -> PyResult<Step> {
        this.leave(py)?;
        Condition::release(condition)?;
        Ok(Step::Return(index.into_pyobject(py)?.into_any().unbind()))
    }
}

impl Barrier {
    fn call<'py>(slf: &Bound<'py, Self>, wish: Wish) -> PyResult<Bound<'py, Await>> {
        let call = Call {
            barrier: slf.clone().into_any().into(),
            wish,
            at: At::Start,
        };
        Await::create(slf.py(), call)
    }
}

#[pymethods]
impl Barrier {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(parties)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::default()
    }

    fn __init__(&self, parties: &Bound<'_, PyAny>) -> PyResult<()> {
        if parties.lt(1)? {
            return Err(PyValueError::new_err(if cfg!(Py_3_14) {
                "parties must be >= 1"
            } else {
                "parties must be > 0"
            }));
        }
        self.parties.store(parties.extract()?, Relaxed);
        Ok(())
    }

    /// Coroutine that waits until all parties do; its result is an index from 0 to parties-1, another one for each.
    fn wait<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Await>> {
        Self::call(slf, Wish::Wait)
    }

    /// Coroutine that puts it back to its initial state: those that wait get BrokenBarrierError.
    fn reset<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Await>> {
        Self::call(slf, Wish::Reset)
    }

    /// Coroutine that breaks it: those that wait, or will, get BrokenBarrierError.
    fn abort<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Await>> {
        Self::call(slf, Wish::Abort)
    }

    fn __aenter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        if slf.is_exact_instance_of::<Self>() {
            return Ok(Self::call(slf, Wish::Wait)?.into_any());
        }
        slf.call_method0(intern!(slf.py(), "wait"))
    }

    #[pyo3(signature = (*_exc_info))]
    fn __aexit__<'py>(slf: &Bound<'py, Self>, _exc_info: &Bound<'_, PyTuple>) -> Bound<'py, PyAny> {
        // SAFETY: attached; it returns a new reference.
        unsafe { Bound::from_owned_ptr(slf.py(), crate::task::ready::ready()) }
    }

    /// How many tasks it takes.
    #[getter]
    fn parties(&self) -> i64 {
        self.parties.load(Relaxed)
    }

    /// How many wait.
    #[getter]
    fn n_waiting(&self) -> i64 {
        match self.state() {
            State::Filling => self.count.load(Relaxed),
            _ => 0,
        }
    }

    /// Whether it was aborted.
    #[getter]
    fn broken(&self) -> bool {
        self.state() == State::Broken
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let this = slf.get();
        let state = this.state();
        let mut extra = match state {
            State::Filling => "filling",
            State::Draining => "draining",
            State::Resetting => "resetting",
            State::Broken => "broken",
        }
        .to_owned();
        if state != State::Broken {
            extra += &format!(", waiters:{}/{}", this.n_waiting(), this.parties());
        }
        waiters::repr(slf.as_any(), &extra, 0)
    }

    #[getter]
    fn _parties(&self) -> i64 {
        self.parties()
    }

    #[getter]
    fn _count(&self) -> i64 {
        self.count.load(Relaxed)
    }

    #[getter]
    fn _state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let name = match self.state() {
            State::Filling => "FILLING",
            State::Draining => "DRAINING",
            State::Resetting => "RESETTING",
            State::Broken => "BROKEN",
        };
        stdlib!(py, "asyncio.locks", "_BarrierState")?.getattr(name)
    }

    #[getter]
    fn _cond<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Condition>> {
        self.condition(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.condition.traverse(&visit)
    }

    fn __clear__(&self) {
        self.condition.replace(None);
    }
}
