//! The event loop's native half. (A stub: signatures only.)

use super::task::Task;
use pyo3::prelude::*;

/// A native callback: `run(object, argument)`.
pub type Run = fn(&Bound<'_, PyAny>, &Bound<'_, PyAny>) -> PyResult<()>;

/// A native callback with its arguments.
#[derive(Debug)]
pub struct Native {
    pub run: Run,
    pub object: Py<PyAny>,
    pub argument: Py<PyAny>,
}

/// What can be ready.
#[derive(Debug)]
pub enum Entry {
    Task(Py<Task>),
    Native(Native),
}

/// The native half of an event loop.
#[pyclass(subclass, frozen, module = "plait.asyncio", name = "LoopCore")]
#[derive(Debug)]
pub struct LoopCore;

impl LoopCore {
    /// From the loop's own thread: to the end of the ready queue.
    pub fn push(&self, _py: Python<'_>, _entry: Entry) {}

    /// Whether debug mode is on.
    pub fn is_debug(&self) -> bool {
        false
    }
}

/// The loop that runs in this thread, if it is one of ours.
pub fn running(_py: Python<'_>) -> Option<Bound<'_, LoopCore>> {
    None
}

/// The object as a loop of ours whose `call_soon` is not overridden.
pub fn of<'a, 'py>(object: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, LoopCore>> {
    object.cast::<LoopCore>().ok()
}
