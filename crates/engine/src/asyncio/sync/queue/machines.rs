//! `get()`, `put()` and `join()`.
//!
//! Whoever is woken looks again: between the wake-up and its step another can have taken the item. Whoever is woken and
//! gives up wakes the next. Both as the standard library has it.

use super::{Queue, is_shut};
use crate::asyncio::await_::{Machine, Resume, Step};
use crate::asyncio::future::Future;
use crate::asyncio::sync::event;
use crate::asyncio::sync::line::Line;
use crate::asyncio::sync::waiters::wake_next;
use crate::held::Held;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use std::sync::atomic::Ordering::Relaxed;

/// Stands in `line` until woken.
fn stand(slf: &Bound<'_, Queue>, line: &Line) -> PyResult<(Step, Held)> {
    let event_loop = slf.get().getters.bind(slf.as_any())?;
    let future = slf.get().getters.future(&event_loop)?;
    let held = Held::from(future.clone().into_any());
    line.push(future.clone().into_any().into());
    Ok((Step::Wait(future.unbind()), held))
}

/// Gives up. `able`: what it was woken for is there, so the next one is to have it.
fn give_up(
    slf: &Bound<'_, Queue>,
    line: &Line,
    future: &Held,
    able: fn(&Bound<'_, Queue>) -> PyResult<bool>,
) -> PyResult<()> {
    let py = slf.py();
    // SAFETY: it was made by `stand`.
    let own = unsafe { future.bind(py).cast_unchecked::<Future>() };
    Future::cancel(&own, None)?;
    line.take(future);
    if !own.get().is_cancelled() && able(slf)? {
        wake_next(py, line)?;
    }
    Ok(())
}

/// `get()`.
pub struct Get {
    queue: Held,
    future: Option<Held>,
}

impl Get {
    /// Of `queue`.
    pub fn new(queue: &Bound<'_, Queue>) -> Self {
        Self {
            queue: queue.clone().into_any().into(),
            future: None,
        }
    }
}

impl Machine for Get {
    const NAME: &'static str = "Queue.get";

    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        let owner = self.queue.bind(py);
        // SAFETY: it was made of a queue.
        let queue = unsafe { owner.cast_unchecked::<Queue>() };
        let this = queue.get();
        let waited = self.future.take();
        if let Resume::Throw(error) = resume {
            if let Some(future) = waited {
                let line = this.getters.futures.line(py)?;
                give_up(&queue, line, &future, |queue| Ok(!Queue::empty_now(queue)?))?;
            }
            return Err(error);
        }
        if let Some(future) = waited {
            this.getters.keep(py, future);
        }
        if Queue::empty_now(&queue)? {
            if this.is_shut_down() && Queue::empty_now(&queue)? {
                return Err(is_shut(py));
            }
            let (step, future) = stand(&queue, this.getters.futures.line(py)?)?;
            self.future = Some(future);
            return Ok(step);
        }
        let item = if this.is_native() {
            Queue::take_now(&queue)?
        } else {
            queue.call_method0(intern!(py, "get_nowait"))?
        };
        Ok(Step::Return(item.unbind()))
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.queue.traverse(visit)?;
        self.future
            .as_ref()
            .map_or(Ok(()), |future| future.traverse(visit))
    }
}

/// `put(item)`.
pub struct Put {
    queue: Held,
    item: Held,
    future: Option<Held>,
}

impl Put {
    /// Into `queue`.
    pub fn new(queue: &Bound<'_, Queue>, item: Bound<'_, PyAny>) -> Self {
        Self {
            queue: queue.clone().into_any().into(),
            item: item.into(),
            future: None,
        }
    }
}

impl Machine for Put {
    const NAME: &'static str = "Queue.put";

    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        let owner = self.queue.bind(py);
        // SAFETY: it was made of a queue.
        let queue = unsafe { owner.cast_unchecked::<Queue>() };
        let this = queue.get();
        let waited = self.future.take();
        if let Resume::Throw(error) = resume {
            if let Some(future) = waited {
                give_up(&queue, this.putters(py)?, &future, |queue| {
                    Ok(!Queue::full_now(queue)?)
                })?;
            }
            return Err(error);
        }
        if let Some(future) = waited {
            this.getters.keep(py, future);
        }
        if Queue::full_now(&queue)? {
            if this.is_shut_down() {
                return Err(is_shut(py));
            }
            let (step, future) = stand(&queue, this.putters(py)?)?;
            self.future = Some(future);
            return Ok(step);
        }
        let item = self.item.bind(py).to_owned();
        if this.is_native() {
            Queue::put_now(&queue, item)?;
            return Ok(Step::ReturnNone);
        }
        let result = queue.call_method1(intern!(py, "put_nowait"), (item,))?;
        Ok(Step::Return(result.unbind()))
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.queue.traverse(visit)?;
        self.item.traverse(visit)?;
        self.future
            .as_ref()
            .map_or(Ok(()), |future| future.traverse(visit))
    }
}

/// `join()`.
pub struct Join {
    queue: Held,
    wait: Option<event::Wait>,
}

impl Join {
    /// Of `queue`.
    pub fn new(queue: &Bound<'_, Queue>) -> Self {
        Self {
            queue: queue.clone().into_any().into(),
            wait: None,
        }
    }
}

impl Machine for Join {
    const NAME: &'static str = "Queue.join";

    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        if let Some(wait) = &mut self.wait {
            return Ok(match wait.step(py, resume)? {
                Step::Return(_) => Step::ReturnNone,
                step => step,
            });
        }
        if let Resume::Throw(error) = resume {
            return Err(error);
        }
        let owner = self.queue.bind(py);
        // SAFETY: it was made of a queue.
        let this = unsafe { owner.cast_unchecked::<Queue>() }.get();
        if this.unfinished.load(Relaxed) <= 0 {
            return Ok(Step::ReturnNone);
        }
        let finished = this.finished(py)?;
        match self
            .wait
            .insert(event::Wait::new(&finished))
            .step(py, Resume::Next)?
        {
            Step::Return(_) => Ok(Step::ReturnNone),
            step => Ok(step),
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.queue.traverse(visit)?;
        self.wait.as_ref().map_or(Ok(()), |wait| wait.traverse(visit))
    }
}
