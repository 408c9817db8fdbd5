//! The operations in a task: what [`TaskWait`](crate::task::TaskWait) asks, and at which bell it waits.

use super::errors;
use super::state::Queue;
use super::when::When;
use crate::held::Held;
use crate::task::Op;
use plait_core::{Notifier, Site, Waiter};
use pyo3::exceptions::PyStopAsyncIteration;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

/// The queue of an operation.
#[derive(Debug)]
struct Of(Held);

impl Of {
    fn new(queue: &Bound<'_, Queue>) -> Self {
        Self(queue.clone().into_any().into())
    }

    fn bind<'py>(&self, py: Python<'py>) -> Bound<'py, Queue> {
        // SAFETY: `new` took a Queue.
        unsafe { self.0.bind(py).to_owned().cast_into_unchecked() }
    }

    fn get(&self) -> &Queue {
        // SAFETY: `new` took a Queue, which `self` keeps alive; operations are used attached.
        unsafe { crate::hot::this(self.0.as_ptr()) }
    }

    /// The result of one step; a notification that came to an error is handed on.
    fn passing_on<T>(&self, bell: &Notifier, again: bool, step: PyResult<T>) -> PyResult<T> {
        if again && step.is_err() {
            bell.notify(1);
        }
        step
    }
}

fn nothing(py: Python<'_>) -> Held {
    py.None().into_bound(py).into()
}

/// `get_async()`.
#[derive(Debug)]
pub struct Get(Of);

impl Get {
    pub fn new(queue: &Bound<'_, Queue>) -> Self {
        Self(Of::new(queue))
    }

    fn step(&self, py: Python<'_>, waiter: Option<&Waiter>) -> PyResult<Option<Held>> {
        let item = Queue::get_or_enqueue(&self.0.bind(py), &When::EVER, waiter)?;
        Ok(item.map(Held::from))
    }

    fn bell(&self) -> &Notifier {
        &self.0.get().not_empty.bell
    }
}

impl Op for Get {
    fn try_now(&self, py: Python<'_>) -> PyResult<Option<Held>> {
        match self.0.get().get_at_once() {
            Some(item) => Ok(Some(item)),
            None => self.step(py, None),
        }
    }

    fn poll(&self, py: Python<'_>, waiter: &Waiter, again: bool) -> PyResult<Option<Held>> {
        self.0.passing_on(self.bell(), again, self.step(py, Some(waiter)))
    }

    fn leave(&self, waiter: &Waiter) -> bool {
        self.bell().leave(waiter)
    }

    fn pass_on(&self) {
        self.bell().pass_on();
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.0.traverse(visit)
    }
}

/// `__anext__()`: a get that ends the loop where the queue has been shut down.
#[derive(Debug)]
pub struct Next(Get);

impl Next {
    pub fn new(queue: &Bound<'_, Queue>) -> Self {
        Self(Get::new(queue))
    }

    fn or_stop<T>(py: Python<'_>, step: PyResult<T>) -> PyResult<T> {
        step.map_err(|error| {
            let end = errors::shut_down(py);
            if error.get_type(py).is(end.get_type(py)) {
                PyStopAsyncIteration::new_err(())
            } else {
                error
            }
        })
    }
}

impl Op for Next {
    fn try_now(&self, py: Python<'_>) -> PyResult<Option<Held>> {
        Self::or_stop(py, self.0.try_now(py))
    }

    fn poll(&self, py: Python<'_>, waiter: &Waiter, again: bool) -> PyResult<Option<Held>> {
        Self::or_stop(py, self.0.poll(py, waiter, again))
    }

    fn leave(&self, waiter: &Waiter) -> bool {
        self.0.leave(waiter)
    }

    fn pass_on(&self) {
        self.0.pass_on();
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.traverse(visit)
    }
}

/// `put_async(item)`.
#[derive(Debug)]
pub struct Put(Of, Held);

impl Put {
    pub fn new(queue: &Bound<'_, Queue>, item: Bound<'_, PyAny>) -> Self {
        Self(Of::new(queue), item.into())
    }

    fn step(&self, py: Python<'_>, waiter: Option<&Waiter>) -> PyResult<Option<Held>> {
        let done = Queue::put_or_enqueue(&self.0.bind(py), &self.1.bind(py), &When::EVER, waiter)?;
        Ok(done.then(|| nothing(py)))
    }

    fn bell(&self) -> &Notifier {
        &self.0.get().not_full.bell
    }
}

impl Op for Put {
    fn try_now(&self, py: Python<'_>) -> PyResult<Option<Held>> {
        // SAFETY: the operation holds the item, and the token shows the attachment.
        if unsafe { self.0.get().put_at_once(self.1.as_ptr()) } {
            return Ok(Some(nothing(py)));
        }
        self.step(py, None)
    }

    fn poll(&self, py: Python<'_>, waiter: &Waiter, again: bool) -> PyResult<Option<Held>> {
        self.0.passing_on(self.bell(), again, self.step(py, Some(waiter)))
    }

    fn leave(&self, waiter: &Waiter) -> bool {
        self.bell().leave(waiter)
    }

    fn pass_on(&self) {
        self.bell().pass_on();
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.0.traverse(visit)?;
        self.1.traverse(visit)
    }
}

/// `join_async()`.
#[derive(Debug)]
pub struct Join(Of);

impl Join {
    pub fn new(queue: &Bound<'_, Queue>) -> Self {
        Self(Of::new(queue))
    }

    fn step(&self, py: Python<'_>, waiter: Option<&Waiter>) -> PyResult<Option<Held>> {
        let done = Queue::join_or_enqueue(&self.0.bind(py), waiter)?;
        Ok(done.then(|| nothing(py)))
    }
}

impl Op for Join {
    fn try_now(&self, py: Python<'_>) -> PyResult<Option<Held>> {
        self.step(py, None)
    }

    fn poll(&self, py: Python<'_>, waiter: &Waiter, _again: bool) -> PyResult<Option<Held>> {
        self.step(py, Some(waiter))
    }

    fn leave(&self, waiter: &Waiter) -> bool {
        self.0.get().all_tasks_done.bell.leave(waiter)
    }

    fn pass_on(&self) {
        // Everybody was notified.
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.0.traverse(visit)
    }
}
