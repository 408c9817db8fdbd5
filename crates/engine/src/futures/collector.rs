//! What `wait` and `as_completed` wait with: the futures that have finished, in that order, and who waits for them.
//!
//! To a future of plait's it is an observer. To one of the standard library's (or one that was taken over) it is a
//! member of `_waiters`, and has the three methods that are called on those.
//!
//! One guard is around both the list and the waiting thread, so no wake-up can be lost.

use super::future::FutureCore;
use super::observer::Ear;
use super::outcome::Outcome;
use super::{face, roster};
use crate::deadlock::Reason;
use crate::door;
use crate::guarded::Guarded;
use crate::held::Held;
use crate::limit::Limit;
use plait_core::cell::{Observe, State};
use plait_core::graph::Wait;
use plait_core::{Batch, Site, Spin, WaitList, Waiter};
use pyo3::exceptions::PyTimeoutError;
use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::types::{PyList, PySet};
use pyo3::{PyTraverseError, PyVisit, intern};
use std::collections::VecDeque;

/// What the waiting thread is woken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Any future that is done.
    First,
    /// Any that has failed; else all.
    Exception,
    /// All.
    All,
}

/// `as_completed` names the futures that it waits for to the watch over waits if there are no more of them: it waits
/// once for each.
const FEW: usize = 64;

#[derive(Debug)]
struct Inside {
    finished: VecDeque<Held>,
    /// How many are awaited still.
    missing: usize,
    /// Whether the wait is over (for [`Until::First`]: whether something is there to be taken).
    ready: bool,
    threads: WaitList,
}

/// The sink of `wait` and `as_completed`.
#[pyclass(frozen, module = "plait._engine")]
#[derive(Debug)]
pub struct Collector {
    until: Until,
    inside: Guarded<Inside>,
    /// The futures that have not been handed out: a set of our own.
    pending: Held,
    total: usize,
    limit: Limit,
}

struct Waiting<'a> {
    collector: &'a Collector,
    object: *mut PyObject,
    /// What is waited for, as far as it is known to the engine.
    futures: Vec<&'a FutureCore>,
}

impl Reason for Waiting<'_> {
    fn object(&self) -> *mut PyObject {
        self.object
    }

    fn action(&self) -> &'static str {
        "wait for the futures of"
    }

    fn resolvers(&self) -> Wait {
        let mut each = self
            .futures
            .iter()
            .filter(|future| !future.cell.state().is_done())
            .map(|future| future.resolvers().resolvers);
        let resolvers = if self.collector.until == Until::First {
            // Any of them ends the wait: all have to be stuck.
            let all: Vec<_> = each.collect();
            if all.iter().any(Vec::is_empty) {
                Vec::new()
            } else {
                all.concat()
            }
        } else {
            // All of them have to end: one that is stuck is enough.
            each.find(|resolvers| !resolvers.is_empty()).unwrap_or_default()
        };
        Wait {
            resolvers,
            only_these: true,
        }
    }
}

impl Collector {
    /// Notes that `future` is done. The threads returned are to be notified.
    pub fn add(&self, future: &Bound<'_, PyAny>, failed: bool) -> Batch {
        let future: Held = future.clone().into();
        let mut inside = self.inside.lock();
        inside.finished.push_back(future);
        inside.missing = inside.missing.saturating_sub(1);
        inside.ready |= match self.until {
            Until::First => true,
            Until::Exception => failed || inside.missing == 0,
            Until::All => inside.missing == 0,
        };
        if inside.ready {
            inside.threads.pop(usize::MAX)
        } else {
            Batch::EMPTY
        }
    }

    /// A list of what is pending.
    fn copy<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        // SAFETY: a set is given, and a new list is returned.
        let list =
            unsafe { Bound::from_owned_ptr_or_err(py, pyo3::ffi::PySequence_List(self.pending.as_ptr()))? };
        Ok(list.cast_into()?)
    }

    /// Stops watching what is still pending.
    fn leave_all(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let pending = slf.get().pending.bind(py);
        for future in pending.cast::<PySet>()?.iter() {
            if let Ok(core) = future.cast::<FutureCore>()
                && !core.get().cell.is_manual()
            {
                let mine = slf.as_ptr();
                drop(core.get().cell.forget(|ear| ear.object().as_ptr() == mine));
                if !core.get().cell.is_manual() {
                    continue;
                }
            }
            face::get(py, intern!(py, "_unwatch"))?.call1((&future, slf))?;
        }
        Ok(())
    }
}

impl Site for Waiting<'_> {
    fn take_or_enqueue(&self, waiter: &Waiter, again: bool) -> bool {
        let mut inside = self.collector.inside.lock();
        if inside.ready {
            return true;
        }
        inside.threads.enqueue(waiter, again);
        false
    }

    fn leave(&self, waiter: &Waiter) -> bool {
        self.collector.inside.lock().threads.remove(waiter)
    }

    fn pass_on(&self) {
        // One thread waits; what it was woken for stays there.
    }

    fn spin(&self) -> &Spin {
        roster::spin(0)
    }
}

#[pymethods]
impl Collector {
    /// Will wait for the futures of the set `pending`, which becomes the collector's own.
    #[new]
    fn new(
        pending: Bound<'_, PySet>,
        return_when: &str,
        timeout: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let total = pending.len();
        Ok(Self {
            until: match return_when {
                "FIRST_COMPLETED" => Until::First,
                "FIRST_EXCEPTION" => Until::Exception,
                _ => Until::All,
            },
            inside: Guarded::new(Inside {
                finished: VecDeque::new(),
                missing: total,
                ready: total == 0,
                threads: WaitList::new(),
            }),
            pending: pending.into_any().into(),
            total,
            limit: Limit::from_timeout(timeout.as_ref())?,
        })
    }

    /// Begins to watch all pending futures; those that are done already count at once.
    fn watch(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        // A copy: a foreign future's lock runs Python code, in which the set could change.
        for future in this.copy(py)? {
            if let Ok(core) = future.cast::<FutureCore>() {
                match core.get().cell.observe(Ear::Sink(slf.clone().into_any().into())) {
                    Observe::Added => continue,
                    Observe::Done(_) => {
                        let failed = core.get().cell.value().is_some_and(Outcome::failed);
                        this.add(&future, failed).notify();
                        continue;
                    }
                    Observe::Manual(_) => {}
                }
            }
            face::get(py, intern!(py, "_watch"))?.call1((&future, slf))?;
        }
        Ok(())
    }

    /// Waits until it is over, or the time is. Then stops watching and returns the list of those that are done.
    fn wait<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyList>> {
        let (py, this) = (slf.py(), slf.get());
        // A copy of the set: it holds the futures as long as the wait lasts.
        let pending: Vec<_> = this.pending.bind(py).cast::<PySet>()?.iter().collect();
        let known = pending
            .iter()
            .map(|future| future.cast::<FutureCore>().map(|future| future.get()));
        let waiting = Waiting {
            collector: this,
            object: slf.as_ptr(),
            // With one that is not known nothing can be said of the first to end.
            futures: match known.clone().collect() {
                Ok(all) => all,
                Err(_) if this.until == Until::First => Vec::new(),
                Err(_) => known.flatten().collect(),
            },
        };
        let waited = door::wait(py, &waiting, this.limit, &waiting);
        Self::leave_all(slf)?;
        waited?;
        let finished = std::mem::take(&mut this.inside.lock().finished);
        PyList::new(py, finished.into_iter().map(|future| future.into_bound(py)))
    }

    /// Stops watching.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::leave_all(slf)
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    /// The next future that is done, in that order.
    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (py, this) = (slf.py(), slf.get());
        let pending = this.pending.bind(py);
        let pending = pending.cast::<PySet>()?;
        loop {
            let next = {
                let mut inside = this.inside.lock();
                let next = inside.finished.pop_front();
                inside.ready = next.is_some();
                next
            };
            if let Some(future) = next {
                let future = future.into_bound(py);
                pending.discard(&future)?;
                return Ok(Some(future));
            }
            if pending.is_empty() {
                return Ok(None);
            }
            // A copy: it holds the futures as long as the wait lasts.
            let few: Vec<_> = if pending.len() <= FEW {
                pending.iter().collect()
            } else {
                Vec::new()
            };
            let known = few
                .iter()
                .map(|future| future.cast::<FutureCore>().map(|future| future.get()));
            let waiting = Waiting {
                collector: this,
                object: slf.as_ptr(),
                futures: known.collect::<Result<_, _>>().unwrap_or_default(),
            };
            if !door::wait(py, &waiting, this.limit, &waiting)? {
                return Err(PyTimeoutError::new_err(format!(
                    "{} (of {}) futures unfinished",
                    pending.len(),
                    this.total
                )));
            }
        }
    }

    /// As the standard library's futures call it.
    fn add_result(&self, future: Bound<'_, PyAny>) {
        self.add(&future, false).notify();
    }

    /// As the standard library's futures call it.
    fn add_exception(&self, future: Bound<'_, PyAny>) {
        self.add(&future, true).notify();
    }

    /// As the standard library's futures call it.
    fn add_cancelled(&self, future: Bound<'_, PyAny>) {
        self.add(&future, false).notify();
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.pending.traverse(&visit)?;
        if let Some(inside) = self.inside.try_lock() {
            for future in &inside.finished {
                future.traverse(&visit)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let finished = std::mem::take(&mut self.inside.lock().finished);
        drop(finished);
    }
}

/// Splits off those of `futures` that `wait` calls done, and says whether one of them has failed.
#[pyfunction]
pub fn _done_of<'py>(futures: &Bound<'py, PySet>) -> PyResult<(Bound<'py, PySet>, bool)> {
    let py = futures.py();
    let done = PySet::empty(py)?;
    let mut failed = false;
    for future in PyList::new(py, futures.iter())? {
        let state = match future.cast::<FutureCore>() {
            Ok(core) => {
                let core = core.get();
                failed |= core.cell.value().is_some_and(Outcome::failed);
                if core.cell.is_manual() {
                    None
                } else {
                    Some(core.cell.state())
                }
            }
            Err(_) => None,
        };
        let is_done = match state {
            Some(state) => matches!(state, State::Finished | State::Notified),
            None => {
                let (done, error): (bool, bool) = face::get(py, intern!(py, "_look"))?
                    .call1((&future,))?
                    .extract()?;
                failed |= error;
                done
            }
        };
        if is_done {
            done.add(&future)?;
        }
    }
    Ok((done, failed))
}
