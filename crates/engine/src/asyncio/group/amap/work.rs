//! What runs, what is finished and not yet taken, and how it ends.

use super::calls::{fed, open};
use crate::asyncio::future::{Future, stdlib};
use crate::asyncio::group::child;
use crate::asyncio::group::gather::ByAddress;
use crate::asyncio::group::{ensure, here};
use crate::guarded::Guarded;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit, intern};
use std::collections::{HashMap, VecDeque};

/// What changes.
#[derive(Default)]
pub struct State {
    pub event_loop: Option<Py<PyAny>>,
    /// The context of the first step: each call runs in a copy.
    pub(super) context: Option<Py<PyAny>>,
    /// Items that have not been pulled; None when there are no more.
    pub(super) source: Option<Py<PyAny>>,
    /// The task that pulls from an asynchronous source.
    pub(super) feeder: Option<Py<PyAny>>,
    /// What the feeder waits for.
    pub(super) gate: Option<Py<Future>>,
    /// Calls, by the addresses of their futures, with their places.
    pub(super) running: HashMap<usize, (usize, Py<PyAny>), ByAddress>,
    /// Results in order, None where one is missing; the first has the place `taken`.
    pub(super) results: VecDeque<Option<Py<PyAny>>>,
    pub(super) taken: usize,
    /// Results that are there.
    pub(super) finished: usize,
    /// Calls that have been begun.
    pub(super) begun: usize,
    /// What is to be raised when all calls have ended.
    pub(super) error: Option<Py<PyAny>>,
    /// No call is begun any more.
    pub ending: bool,
    /// The last result has been taken, or the error raised.
    pub(super) over: bool,
    /// A pull is going on further out.
    pub(super) pulling: bool,
    pub(super) waiters: VecDeque<Py<Future>>,
}

/// One `amap`, as its calls see it.
#[pyclass(frozen, module = "plait._engine", name = "Work")]
pub struct Work {
    pub(super) function: Py<PyAny>,
    pub(super) limit: usize,
    pub(super) buffer: usize,
    pub(super) ordered: bool,
    pub(super) return_exceptions: bool,
    /// A progress bar.
    bar: Option<Py<PyAny>>,
    pub(super) asynchronous: bool,
    pub state: Guarded<State>,
}

/// What a consumer finds.
pub enum Next {
    Result(Py<PyAny>),
    /// To be asked again when this is done.
    Wait(Py<Future>),
    Error(PyErr),
    End,
}

impl Work {
    /// Not begun yet.
    pub fn new(
        function: Py<PyAny>,
        source: Py<PyAny>,
        asynchronous: bool,
        (limit, buffer): (usize, usize),
        (ordered, return_exceptions): (bool, bool),
        bar: Option<Py<PyAny>>,
    ) -> Self {
        Self {
            function,
            limit,
            buffer,
            ordered,
            return_exceptions,
            bar,
            asynchronous,
            state: Guarded::new(State {
                source: Some(source),
                ..State::default()
            }),
        }
    }

    /// The next result, if there is one.
    ///
    /// # Errors
    /// `RuntimeError` without a running loop.
    pub fn next(slf: &Bound<'_, Self>) -> PyResult<Next> {
        let (py, this) = (slf.py(), slf.get());
        let begun = this.state.lock().event_loop.is_some();
        if !begun {
            Self::begin(slf)?;
        }
        let mut state = this.state.lock();
        if state.over {
            return Ok(Next::End);
        }
        if state.error.is_none()
            && !state.ending
            && let Some(Some(_)) = state.results.front()
        {
            let result = state.results.pop_front().flatten();
            state.finished -= 1;
            state.taken += 1;
            let more = !state.waiters.is_empty() && matches!(state.results.front(), Some(Some(_)));
            drop(state);
            if more {
                this.tell(py, false);
            }
            Self::pull(slf);
            if let Some(result) = result {
                return Ok(Next::Result(result));
            }
            state = this.state.lock();
        }
        let idle = state.running.is_empty() && state.feeder.is_none();
        let ended = state.ending || (state.source.is_none() && state.results.is_empty());
        if idle && ended {
            state.over = true;
            let error = state.error.take();
            drop(state);
            this.tell(py, true);
            this.close_bar(py);
            return Ok(match error {
                Some(error) => Next::Error(PyErr::from_value(error.into_bound(py))),
                None => Next::End,
            });
        }
        let event_loop = state
            .event_loop
            .as_ref()
            .map(|event_loop| event_loop.clone_ref(py));
        drop(state);
        let event_loop = match event_loop {
            Some(event_loop) => event_loop.into_bound(py),
            None => here::needed(py)?,
        };
        let waiter = Future::create(py, &event_loop)?.unbind();
        this.state.lock().waiters.push_back(waiter.clone_ref(py));
        Ok(Next::Wait(waiter))
    }

    /// The first step: takes note of where it is, and begins the first calls.
    fn begin(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let event_loop = here::needed(py)?;
        let context = stdlib!(py, "contextvars", "copy_context")?.call0()?;
        let mut state = this.state.lock();
        state.event_loop = Some(event_loop.clone().unbind());
        state.context = Some(context.unbind());
        if !this.asynchronous {
            drop(state);
            Self::pull(slf);
            return Ok(());
        }
        let source = state.source.take();
        drop(state);
        let feed = stdlib!(py, "plait.asyncio._awaiting", "feed")?.call1((slf, source))?;
        let feeder = ensure::create_task(&event_loop, &feed)?;
        this.state.lock().feeder = Some(feeder.clone().unbind());
        child::observe_any(&feeder, fed, slf)
    }

    /// The first error ends it: what runs is cancelled.
    pub(super) fn fail(&self, py: Python<'_>, error: PyErr) {
        let error = error.into_value(py).into_any();
        let mut state = self.state.lock();
        let late = if state.error.is_none() && !state.ending {
            state.error = Some(error);
            None
        } else {
            Some(error)
        };
        drop(state);
        drop(late);
        self.end(py);
    }

    /// No more calls: those that run are cancelled, results that nobody has taken are dropped.
    pub fn end(&self, py: Python<'_>) {
        let mut state = self.state.lock();
        state.ending = true;
        let source = state.source.take();
        let results = std::mem::take(&mut state.results);
        state.finished = 0;
        let mut calls: Vec<_> = state
            .running
            .values()
            .map(|(place, future)| (*place, future.clone_ref(py)))
            .collect();
        let feeder = state.feeder.as_ref().map(|feeder| feeder.clone_ref(py));
        drop(state);
        drop((source, results));
        calls.sort_unstable_by_key(|(place, _)| *place);
        for future in calls.into_iter().map(|(_, future)| future).chain(feeder) {
            if let Err(error) = child::cancel(future.bind(py), None) {
                error.write_unraisable(py, Some(future.bind(py)));
            }
        }
        self.tell(py, true);
    }

    /// Wakes consumers: one for a result, all at the end.
    pub(super) fn tell(&self, py: Python<'_>, all: bool) {
        loop {
            let waiter = self.state.lock().waiters.pop_front();
            let Some(waiter) = waiter else { return };
            let waiting = !waiter.get().is_done();
            open(py, waiter);
            if waiting && !all {
                return;
            }
        }
    }

    /// A consumer that had been woken is not there any more: wakes another.
    pub fn pass_on(&self, py: Python<'_>) {
        self.tell(py, false);
    }

    /// Whether nothing runs.
    pub fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.running.is_empty() && state.feeder.is_none()
    }

    pub(super) fn advance_bar(&self, py: Python<'_>) {
        if let Some(bar) = &self.bar
            && let Err(error) = bar.call_method1(py, intern!(py, "update"), (1,))
        {
            error.write_unraisable(py, Some(bar.bind(py)));
        }
    }

    /// Leaves the progress bar as it is.
    pub fn close_bar(&self, py: Python<'_>) {
        if let Some(bar) = &self.bar
            && let Err(error) = bar.call_method0(py, intern!(py, "close"))
        {
            error.write_unraisable(py, Some(bar.bind(py)));
        }
    }
}

#[pymethods]
impl Work {
    /// For the feeder: what to wait for until there is room, or None.
    fn _gate(slf: &Bound<'_, Self>) -> PyResult<Option<Py<Future>>> {
        let (py, this) = (slf.py(), slf.get());
        let state = this.state.lock();
        if this.has_room(&state) {
            return Ok(None);
        }
        drop(state);
        let gate = Future::create(py, &here::needed(py)?)?.unbind();
        let old = this.state.lock().gate.replace(gate.clone_ref(py));
        drop(old);
        Ok(Some(gate))
    }

    /// For the feeder: begins the call for an item.
    fn _start(slf: &Bound<'_, Self>, item: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::start(slf, item)
    }

    /// Ends it, from the loop.
    fn _end(&self, py: Python<'_>) {
        self.end(py);
        self.close_bar(py);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.function)?;
        visit.call(&self.bar)?;
        let Some(state) = self.state.try_lock() else {
            return Ok(());
        };
        for held in [
            &state.event_loop,
            &state.context,
            &state.source,
            &state.feeder,
            &state.error,
        ] {
            visit.call(held)?;
        }
        visit.call(&state.gate)?;
        for (_, future) in state.running.values() {
            visit.call(future)?;
        }
        for result in state.results.iter().flatten() {
            visit.call(result)?;
        }
        for waiter in &state.waiters {
            visit.call(waiter)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let old = std::mem::take(&mut *self.state.lock());
        drop(old);
    }
}
