//! `as_completed`: futures in the order in which they are done.
//!
//! [`AsCompleted`] is a small queue: the futures put themselves in when they tell, each wait takes one out. When the time is over,
//! every wait that is left finds nothing in it and raises `TimeoutError`.

use super::child::{self, Listener, Told};
use super::gather::ByAddress;
use super::{ensure, graph, here};
use crate::asyncio::await_::{Await, Machine, Resume, Step};
use crate::asyncio::future::Future;
use crate::guarded::Guarded;
use pyo3::exceptions::{PyStopAsyncIteration, PyTimeoutError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PySet;
use pyo3::{PyTraverseError, PyVisit};
use std::collections::{HashMap, VecDeque};

/// What changes.
#[derive(Default)]
struct State {
    todo: HashMap<usize, Py<PyAny>, ByAddress>,
    /// None: too late.
    done: VecDeque<Option<Py<PyAny>>>,
    getters: VecDeque<Py<Future>>,
    /// Waits that can still be asked for.
    left: usize,
    timer: Option<Py<PyAny>>,
    listener: Option<Listener>,
    task: Option<Py<PyAny>>,
}

/// Gives futures, or what they end with, as they are done; as the result of `asyncio.as_completed`.
#[pyclass(frozen, module = "plait.asyncio", name = "_AsCompletedIterator")]
pub struct AsCompleted {
    state: Guarded<State>,
}

impl AsCompleted {
    /// One more is there: the first that waits is woken.
    fn wake(&self, py: Python<'_>) -> PyResult<()> {
        loop {
            let getter = self.state.lock().getters.pop_front();
            let Some(getter) = getter else { return Ok(()) };
            let getter = getter.into_bound(py);
            if !getter.get().is_done() {
                return Future::finish(&getter, py.None());
            }
        }
    }

    fn put(&self, py: Python<'_>, future: Option<Py<PyAny>>) -> PyResult<()> {
        self.state.lock().done.push_back(future);
        self.wake(py)
    }

    /// Whether there was one left to ask for.
    fn claim(&self) -> bool {
        let mut state = self.state.lock();
        let any = state.left > 0;
        state.left -= usize::from(any);
        any
    }

    /// The task that asked.
    pub(super) fn task<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.state
            .lock()
            .task
            .as_ref()
            .map(|task| task.clone_ref(py).into_bound(py))
    }
}

fn told(completed: &Bound<'_, PyAny>, future: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = completed.py();
    // SAFETY: the listener was made with one.
    let this = unsafe { completed.cast_unchecked::<AsCompleted>() }.get();
    let mut state = this.state.lock();
    let found = state.todo.remove(&future.as_ptr().addr());
    let timer = if state.todo.is_empty() {
        state.timer.take()
    } else {
        None
    };
    drop(state);
    // None: the time was over before.
    let Some(found) = found else { return Ok(()) };
    graph::discard(future, this.task(py).as_ref())?;
    this.put(py, Some(found))?;
    if let Some(timer) = timer {
        timer.call_method0(py, intern!(py, "cancel"))?;
    }
    Ok(())
}

fn late(completed: &Bound<'_, PyAny>, _: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = completed.py();
    // SAFETY: the timer was made with one.
    let this = unsafe { completed.cast_unchecked::<AsCompleted>() }.get();
    let mut state = this.state.lock();
    let todo = std::mem::take(&mut state.todo);
    let listener = state.listener.take();
    let timer = state.timer.take();
    drop(state);
    drop(timer);
    let task = this.task(py);
    for future in todo.into_values() {
        let future = future.into_bound(py);
        if let Some(listener) = &listener {
            listener.forget(&future)?;
        }
        graph::discard(&future, task.as_ref())?;
        this.put(py, None)?;
    }
    Ok(())
}

#[pymethods]
impl AsCompleted {
    /// Watches all that `aws` gives; coroutines become tasks.
    #[new]
    fn new<'py>(aws: &Bound<'py, PyAny>, timeout: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, Self>> {
        let py = aws.py();
        let event_loop = here::event_loop(py)?;
        let task = if cfg!(Py_3_14) {
            here::current_task(&here::needed(py)?)?
        } else {
            None
        };
        let given = PySet::empty(py)?;
        for awaitable in aws.try_iter()? {
            given.add(awaitable?)?;
        }
        let slf = Bound::new(
            py,
            Self {
                state: Guarded::new(State::default()),
            },
        )?;
        let mut listener = Listener::new(told, slf.clone().into_any().unbind());
        let mut todo = HashMap::with_capacity_and_hasher(given.len(), ByAddress);
        let mut futures = Vec::with_capacity(given.len());
        for awaitable in &given {
            let future = ensure::ensure(&awaitable, Some(&event_loop))?;
            let known = todo.insert(future.as_ptr().addr(), future.clone().unbind());
            if known.is_none() {
                futures.push(future);
            }
        }
        for future in &futures {
            listener.observe(future)?;
            graph::add(future, task.as_ref())?;
        }
        let timer = match timeout {
            Some(timeout) if !futures.is_empty() => {
                Some(Told::after(&event_loop, timeout, late, &slf)?.unbind())
            }
            _ => None,
        };
        let new = State {
            left: todo.len(),
            todo,
            timer,
            listener: Some(listener),
            task: task.map(Bound::unbind),
            ..State::default()
        };
        let old = std::mem::replace(&mut *slf.get().state.lock(), new);
        drop(old);
        Ok(slf)
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// A coroutine that gives the next result.
    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, Await>>> {
        if !slf.get().claim() {
            return Ok(None);
        }
        one(slf, true).map(Some)
    }

    /// The next future that is done.
    fn __anext__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Await>> {
        one(slf, false)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(state) = self.state.try_lock() else {
            return Ok(());
        };
        for future in state.todo.values() {
            visit.call(future)?;
        }
        for future in state.done.iter().flatten() {
            visit.call(future)?;
        }
        for getter in &state.getters {
            visit.call(getter)?;
        }
        visit.call(&state.timer)?;
        visit.call(&state.task)?;
        match &state.listener {
            Some(listener) => listener.traverse(&visit),
            None => Ok(()),
        }
    }

    fn __clear__(&self) {
        let old = std::mem::take(&mut *self.state.lock());
        drop(old);
    }
}

/// The wait for one.
struct One {
    of: Py<AsCompleted>,
    /// The result is wanted, not the future; and it has been claimed.
    resolve: bool,
    begun: bool,
    getter: Option<Py<Future>>,
}

fn one<'py>(of: &Bound<'py, AsCompleted>, resolve: bool) -> PyResult<Bound<'py, Await>> {
    Await::create(
        of.py(),
        One {
            of: of.clone().unbind(),
            resolve,
            begun: false,
            getter: None,
        },
    )
}

impl Machine for One {
    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        let of = self.of.bind(py).clone();
        let this = of.get();
        let getter = self.getter.take();
        if let Resume::Throw(error) = resume {
            if let Some(getter) = getter {
                let getter = getter.into_bound(py);
                let woken = getter.get().is_done() && !getter.get().is_cancelled();
                Future::cancel(&getter, None)?;
                let mut state = this.state.lock();
                let at = state.getters.iter().position(|other| other.is(&getter));
                let taken = at.and_then(|at| state.getters.remove(at));
                let pass_on = woken && !state.done.is_empty();
                drop(state);
                drop(taken);
                if pass_on {
                    this.wake(py)?;
                }
            }
            return Err(error);
        }
        drop(getter);
        if !self.resolve && !self.begun && !this.claim() {
            return Err(PyStopAsyncIteration::new_err(()));
        }
        self.begun = true;
        let next = this.state.lock().done.pop_front();
        match next {
            None => {
                let getter = Future::create(py, &here::needed(py)?)?.unbind();
                self.getter = Some(getter.clone_ref(py));
                this.state.lock().getters.push_back(getter.clone_ref(py));
                Ok(Step::Wait(getter))
            }
            Some(None) => Err(PyTimeoutError::new_err(())),
            Some(Some(future)) if self.resolve => child::result(future.bind(py)).map(Step::Return),
            Some(Some(future)) => Ok(Step::Return(future)),
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.of)?;
        visit.call(&self.getter)
    }
}
