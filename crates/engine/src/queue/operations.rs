//! What a queue does, step by step: in a section, with hooks, waiting.
//!
//! [`Queue::put_or_enqueue`], [`Queue::get_or_enqueue`] and [`Queue::join_or_enqueue`] are the steps: each does its
//! work, or leaves the waiter (a thread's or a task's, if there is one) standing in the bell that will ring. Whoever was
//! notified takes the step again.

use super::capacity::Size;
use super::errors;
use super::hooks::Hooks;
use super::section::Section;
use super::state::Queue;
use super::when::When;
use crate::deadlock::Anyone;
use crate::door;
use crate::held::Held;
use plait_core::{Batch, Notifier, Waiter};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use std::sync::atomic::Ordering;

/// Puts `waiter`, if there is one, in the list of `bell`. In a section.
fn stand(bell: &Notifier, waiter: Option<&Waiter>) {
    if let Some(waiter) = waiter {
        bell.enqueue(waiter);
    }
}

impl Queue {
    /// How many items there are, as `_qsize()` says. In a section.
    fn size<'py>(slf: &Bound<'py, Self>) -> PyResult<Size<'py>> {
        let this = slf.get();
        if this.overridden().has(Hooks::QSIZE) {
            let size = slf.call_method0(intern!(slf.py(), "_qsize"))?;
            return Ok(Size::Object(size));
        }
        this.storage.len(slf).map(Size::Number)
    }

    /// In a section.
    fn push(slf: &Bound<'_, Self>, item: &Bound<'_, PyAny>) -> PyResult<()> {
        let this = slf.get();
        if this.overridden().has(Hooks::PUT_ITEM) {
            slf.call_method1(intern!(slf.py(), "_put"), (item,))?;
            return Ok(());
        }
        this.storage.push(slf, this.storage.kind(), item)
    }

    /// In a section.
    fn pop<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let this = slf.get();
        if this.overridden().has(Hooks::GET_ITEM) {
            return slf.call_method0(intern!(slf.py(), "_get"));
        }
        this.storage.pop(slf, this.storage.kind())
    }

    /// Adds `item` and returns true; or, if the queue is full, enqueues `waiter` in `not_full`'s bell and returns false.
    ///
    /// # Errors
    /// `ShutDown`, `Full` where `when` does not wait, what is wrong with `when`, or what a hook raises.
    pub fn put_or_enqueue(
        slf: &Bound<'_, Self>,
        item: &Bound<'_, PyAny>,
        when: &When,
        waiter: Option<&Waiter>,
    ) -> PyResult<bool> {
        let (this, py) = (slf.get(), slf.py());
        let section = Section::new(py, &this.mutex)?;
        if this.is_shut() {
            return Err(errors::shut_down(py));
        }
        if this.capacity.is_bounded(py)? {
            when.check(py)?;
            if this.capacity.is_reached_by(&Self::size(slf)?, py)? {
                if when.is_now() {
                    return Err(errors::full(py));
                }
                when.limit(py)?;
                stand(&this.not_full.bell, waiter);
                return Ok(false);
            }
        }
        Self::push(slf, item)?;
        this.unfinished.fetch_add(1, Ordering::Relaxed);
        let next = this.not_empty.bell.pop(1);
        drop(section);
        next.notify();
        Ok(true)
    }

    /// Takes an item; or, if there is none, enqueues `waiter` in `not_empty`'s bell and returns nothing.
    ///
    /// # Errors
    /// As [`put_or_enqueue`](Self::put_or_enqueue), but `Empty`.
    pub fn get_or_enqueue<'py>(
        slf: &Bound<'py, Self>,
        when: &When,
        waiter: Option<&Waiter>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (this, py) = (slf.get(), slf.py());
        let section = Section::new(py, &this.mutex)?;
        let is_empty = Self::size(slf)?.is_zero()?;
        if is_empty && this.is_shut() {
            return Err(errors::shut_down(py));
        }
        when.check(py)?;
        if is_empty {
            if when.is_now() {
                return Err(errors::empty(py));
            }
            when.limit(py)?;
            stand(&this.not_empty.bell, waiter);
            return Ok(None);
        }
        let item = Self::pop(slf)?;
        let next = this.not_full.bell.pop(1);
        drop(section);
        next.notify();
        Ok(Some(item))
    }

    /// Whether all tasks are done; if not, enqueues `waiter` in `all_tasks_done`'s bell.
    ///
    /// # Errors
    /// What a signal handler raises.
    pub fn join_or_enqueue(slf: &Bound<'_, Self>, waiter: Option<&Waiter>) -> PyResult<bool> {
        let this = slf.get();
        let _section = Section::new(slf.py(), &this.mutex)?;
        if this.unfinished.load(Ordering::Relaxed) == 0 {
            return Ok(true);
        }
        stand(&this.all_tasks_done.bell, waiter);
        Ok(false)
    }

    /// Takes `step` until it is done, waiting in between.
    fn wait<T>(
        slf: &Bound<'_, Self>,
        bell: &Notifier,
        action: &'static str,
        mut when: When,
        mut step: impl FnMut(&When, Option<&Waiter>) -> PyResult<Option<T>>,
    ) -> PyResult<T> {
        let py = slf.py();
        let mut notified = false;
        loop {
            let waiter = Waiter::thread();
            match step(&when, Some(&waiter)) {
                Ok(Some(done)) => return Ok(done),
                Ok(None) => {}
                Err(error) => {
                    if notified {
                        bell.notify(1);
                    }
                    return Err(error);
                }
            }
            let object = slf.as_ptr();
            notified = door::wait_as(py, bell, &waiter, when.limit(py)?, &Anyone { object, action })?;
            if !notified {
                // Time is up: one last look.
                when = When::NOW;
            }
        }
    }

    /// `put(item, block, timeout)`.
    ///
    /// # Errors
    /// As [`put_or_enqueue`](Self::put_or_enqueue), and what a signal handler raises.
    pub fn put(slf: &Bound<'_, Self>, item: &Bound<'_, PyAny>, when: When) -> PyResult<()> {
        Self::wait(slf, &slf.get().not_full.bell, "put to", when, |when, waiter| {
            Ok(Self::put_or_enqueue(slf, item, when, waiter)?.then_some(()))
        })
    }

    /// `get(block, timeout)`.
    ///
    /// # Errors
    /// As [`get_or_enqueue`](Self::get_or_enqueue), and what a signal handler raises.
    pub fn get<'py>(slf: &Bound<'py, Self>, when: When) -> PyResult<Bound<'py, PyAny>> {
        Self::wait(
            slf,
            &slf.get().not_empty.bell,
            "get from",
            when,
            |when, waiter| Self::get_or_enqueue(slf, when, waiter),
        )
    }

    /// `join()`.
    ///
    /// # Errors
    /// What a signal handler raises.
    pub fn join(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::wait(
            slf,
            &slf.get().all_tasks_done.bell,
            "join",
            When::EVER,
            |_, waiter| Ok(Self::join_or_enqueue(slf, waiter)?.then_some(())),
        )
    }

    /// `task_done()`.
    ///
    /// # Errors
    /// `ValueError` if there is no task left, and what a signal handler raises.
    pub fn task_done(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        let section = Section::new(slf.py(), &this.mutex)?;
        let left = this.unfinished.load(Ordering::Relaxed) - 1;
        if left < 0 {
            return Err(PyValueError::new_err("task_done() called too many times"));
        }
        this.unfinished.store(left, Ordering::Relaxed);
        let all = if left == 0 {
            this.all_tasks_done.bell.pop(usize::MAX)
        } else {
            Batch::EMPTY
        };
        drop(section);
        all.notify();
        Ok(())
    }

    /// `qsize()`.
    ///
    /// # Errors
    /// What a hook or a signal handler raises.
    pub fn qsize<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let _section = Section::new(slf.py(), &slf.get().mutex)?;
        Self::size(slf)?.into_object(slf.py())
    }

    /// `empty()`.
    ///
    /// # Errors
    /// As [`qsize`](Self::qsize).
    pub fn empty(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let _section = Section::new(slf.py(), &slf.get().mutex)?;
        Self::size(slf)?.is_zero()
    }

    /// `full()`.
    ///
    /// # Errors
    /// As [`qsize`](Self::qsize).
    pub fn is_full(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let (this, py) = (slf.get(), slf.py());
        let _section = Section::new(py, &this.mutex)?;
        Ok(this.capacity.is_over_zero(py)? && this.capacity.is_reached_by(&Self::size(slf)?, py)?)
    }

    /// `shutdown(immediate)`. What is drained is dropped after the section.
    ///
    /// # Errors
    /// What a hook or a signal handler raises.
    pub fn shut_down(slf: &Bound<'_, Self>, immediate: bool) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        let mut drained: Vec<Held> = Vec::new();
        let section = Section::new(py, &this.mutex)?;
        this.set_shut(true);
        let mut joining = Batch::EMPTY;
        if immediate {
            while !Self::size(slf)?.is_zero()? {
                drained.push(Self::pop(slf)?.into());
                let left = this.unfinished.load(Ordering::Relaxed);
                this.unfinished
                    .store(left - 1.min(left.max(0)), Ordering::Relaxed);
            }
            joining = this.all_tasks_done.bell.pop(usize::MAX);
        }
        let getting = this.not_empty.bell.pop(usize::MAX);
        let putting = this.not_full.bell.pop(usize::MAX);
        drop(section);
        joining.notify();
        getting.notify();
        putting.notify();
        Ok(())
    }
}
