//! The limit of a group: who runs, and who waits for room.
//!
//! Two kinds wait, in one line, first come, first served: tasks that `create_task` has made while the group was full, and callers of
//! `spawn`, which makes its task only when there is room. Each waits for a future, its *gate*. A task that is done tells the
//! group, which opens the next gate that nobody has given up.
//!
//! A waiting task is a task like any other: it can be awaited, named and cancelled. It has just not begun: it waits for its gate before
//! its first step. Cancelled, it ends without having run, and its gate is passed over.

use super::state::{TaskGroup, make};
use crate::asyncio::await_::{Machine, Resume, Step};
use crate::asyncio::future::{Future, stdlib};
use crate::asyncio::group::ensure;
use crate::asyncio::looping;
use crate::asyncio::task::{Options, Task};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit};
use std::collections::VecDeque;

/// Whether a task may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// There is no limit.
    Free,
    /// It has one of the places.
    Taken,
    /// All are taken.
    None,
}

/// Somebody who waits for a place.
#[derive(Debug)]
pub struct Waiting {
    pub gate: Py<Future>,
    /// The address of the task that it is for; none if it is a caller of `spawn`.
    pub task: Option<usize>,
}

/// The places of a limited group.
#[derive(Debug)]
pub struct Line {
    pub limit: usize,
    pub taken: usize,
    pub waiting: VecDeque<Waiting>,
}

impl Line {
    /// So many places, all empty.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            taken: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Takes a place if one is empty. (Nobody waits then: places that fall empty are handed on at once.)
    pub fn place(&mut self) -> Place {
        if self.taken < self.limit {
            self.taken += 1;
            Place::Taken
        } else {
            Place::None
        }
    }

    /// To the end of the line.
    pub fn wait(&mut self, gate: Py<Future>, task: Option<usize>) {
        self.waiting.push_back(Waiting { gate, task });
    }
}

impl TaskGroup {
    /// A place has fallen empty: the next has it.
    pub(super) fn leave_place(&self, py: Python<'_>) -> PyResult<()> {
        loop {
            let mut state = self.state.lock();
            let Some(line) = &mut state.line else {
                return Ok(());
            };
            let Some(next) = line.waiting.pop_front() else {
                line.taken -= 1;
                return Ok(());
            };
            let gate = next.gate.into_bound(py);
            if gate.get().is_done() {
                // Given up.
                drop(state);
                continue;
            }
            if let Some(member) = next.task.and_then(|task| state.tasks.get_mut(&task)) {
                member.placed = true;
            }
            drop(state);
            return Future::finish(&gate, true.into_pyobject(py)?.to_owned().into_any().unbind());
        }
    }

    /// The group shuts down: callers of `spawn` need not wait. (The tasks in the line have been cancelled.)
    pub(super) fn turn_away(&self, py: Python<'_>) -> PyResult<()> {
        let mut state = self.state.lock();
        let Some(line) = &mut state.line else {
            return Ok(());
        };
        let waiting = std::mem::take(&mut line.waiting);
        drop(state);
        for next in waiting {
            let gate = next.gate.into_bound(py);
            if next.task.is_none() && !gate.get().is_done() {
                Future::finish(&gate, false.into_pyobject(py)?.to_owned().into_any().unbind())?;
            }
        }
        Ok(())
    }
}

/// A task that begins when `gate` is open.
///
/// # Errors
/// What the loop's `create_task` raises.
pub fn make_later<'py>(
    event_loop: &Bound<'py, PyAny>,
    coro: &Bound<'py, PyAny>,
    named: Option<&Bound<'py, PyDict>>,
    gate: &Bound<'py, Future>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = event_loop.py();
    let plain =
        ensure::is_plain(event_loop) && looping::of(event_loop).is_some_and(|core| !core.get().has_factory());
    if plain && let Some(task) = native(event_loop, coro, named, gate)? {
        return Ok(task.into_any());
    }
    // A task of somebody else: it begins with the gate.
    let wrap = stdlib!(py, "plait.asyncio._awaiting", "when_open")?;
    let wrapped = wrap.call1((gate, coro))?;
    make(event_loop, &wrapped, named)
}

/// A task of ours, unless it is asked for with a keyword that is not known here.
fn native<'py>(
    event_loop: &Bound<'py, PyAny>,
    coro: &Bound<'py, PyAny>,
    named: Option<&Bound<'py, PyDict>>,
    gate: &Bound<'py, Future>,
) -> PyResult<Option<Bound<'py, Task>>> {
    let (mut name, mut context) = (None, None);
    for (key, value) in named.into_iter().flatten() {
        let value = (!value.is_none()).then_some(value);
        match key.extract::<&str>()? {
            "name" => name = value,
            "context" => context = value,
            // It cannot begin at once.
            "eager_start" => {}
            _ => return Ok(None),
        }
    }
    event_loop.call_method0(intern!(event_loop.py(), "_check_closed"))?;
    let options = Options {
        name: name.as_ref(),
        context: context.as_ref(),
        after: Some(gate),
        ..Options::default()
    };
    Task::create_with(coro, event_loop, options).map(Some)
}

/// One call of `spawn`.
pub struct Spawn {
    pub group: Py<TaskGroup>,
    pub coro: Py<PyAny>,
    pub named: Option<Py<PyDict>>,
    pub gate: Option<Py<Future>>,
}

impl Spawn {
    /// Whether the gate was opened with a place behind it.
    fn has_place(&self, py: Python<'_>) -> bool {
        self.gate.as_ref().is_some_and(|gate| {
            let gate = gate.bind(py);
            gate.get().is_done()
                && !gate.get().is_cancelled()
                && Future::result(gate).is_ok_and(|opened| opened.is_truthy(py).unwrap_or(false))
        })
    }
}

impl Machine for Spawn {
    const NAME: &'static str = "TaskGroup.spawn";

    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        let group = self.group.bind(py).clone();
        let this = group.get();
        if let Resume::Throw(error) = resume {
            if self.has_place(py) {
                this.leave_place(py)?;
            } else if let Some(gate) = &self.gate {
                Future::cancel(gate.bind(py), None)?;
            }
            self.coro.call_method0(py, intern!(py, "close"))?;
            return Err(error);
        }
        let has_place = self.has_place(py);
        if self.gate.is_none() {
            let mut state = this.state.lock();
            let full = state.entered
                && !state.aborting
                && state.line.as_ref().is_some_and(|line| line.taken >= line.limit);
            let event_loop = state
                .event_loop
                .as_ref()
                .map(|event_loop| event_loop.clone_ref(py));
            drop(state);
            if full && let Some(event_loop) = event_loop {
                let gate = Future::create(py, event_loop.bind(py))?.unbind();
                self.gate = Some(gate.clone_ref(py));
                state = this.state.lock();
                if let Some(line) = &mut state.line {
                    line.wait(gate.clone_ref(py), None);
                }
                drop(state);
                return Ok(Step::Wait(gate));
            }
        }
        let named = self.named.as_ref().map(|named| named.bind(py));
        match TaskGroup::add(&group, self.coro.bind(py), named, has_place) {
            Ok(task) => Ok(Step::Return(task.unbind())),
            Err(error) => {
                if has_place {
                    this.leave_place(py)?;
                }
                self.coro.call_method0(py, intern!(py, "close"))?;
                Err(error)
            }
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.group)?;
        visit.call(&self.coro)?;
        visit.call(&self.named)?;
        visit.call(&self.gate)
    }
}
