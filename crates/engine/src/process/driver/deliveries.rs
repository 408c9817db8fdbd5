//! What needs Python: callbacks, collectors, prints, log records, starting and burying workers.
//!
//! Three lines, each in order, one at a time. `soon` has what runs no code of the program's that could wait for somebody:
//! whoever is attached works it off. The others have what does, `records` the handlers of log records, `calls` the callbacks: only
//! the reader's threads run them, as the standard library has its own thread do. A thread that came into `result()` with a
//! lock in its hands would wait for itself; and what is in `soon` does not wait for them.

use super::inside::News;
use super::{Driver, Gate};
use crate::door;
use crate::futures::future::FutureCore;
use crate::futures::observer::{self, Ear};
use crate::futures::outcome::Outcome;
use crate::futures::{collector::Collector, face};
use crate::held::Held;
use crate::process::outcome::{self, Opened, Packed};
use plait_core::cell::Few;
use plait_core::clock::{self, Nanos};
use pyo3::intern;
use pyo3::prelude::*;
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// So long at most somebody who has a result waits until what was logged before it has been handled by another thread,
const PATIENCE: Nanos = 100_000_000;
/// at first without a pause, as it takes some microseconds to wake the reader,
const BRIEFLY: Nanos = 200_000;
/// then each so often.
const AGAIN: Duration = Duration::from_micros(50);

thread_local! {
    /// This thread is within [`Driver::serve_records`].
    static HANDLES: Cell<bool> = const { Cell::new(false) };
}

/// How many log records were read from the rings, and how many of them were handled.
///
/// Results are not held up until they are, since a handler may wait for one. Instead, who takes a result waits a little
/// until the reader has handled what was logged before it.
#[derive(Debug, Default)]
pub struct Logs {
    read: AtomicU64,
    handled: AtomicU64,
}

impl Logs {
    /// One more was read; before what follows it in the ring.
    pub fn read(&self) {
        self.read.fetch_add(1, Ordering::Release);
    }

    /// Whether none waits.
    #[inline]
    #[must_use]
    pub fn are_handled(&self) -> bool {
        self.handled.load(Ordering::Acquire) == self.read.load(Ordering::Acquire)
    }
}

/// What waits for its turn, and whether somebody is at it.
#[derive(Debug)]
pub struct Line<T> {
    waiting: VecDeque<T>,
    is_busy: bool,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            is_busy: false,
        }
    }
}

impl<T> Line<T> {
    /// Puts one at the end.
    #[inline]
    pub fn push(&mut self, one: T) {
        self.waiting.push_back(one);
    }

    /// Whether somebody has to come.
    #[inline]
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty() && !self.is_busy
    }

    /// Whether nothing waits, and nobody is at it.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.is_busy
    }

    /// The first, for who says [`end`](Self::end) then; None while somebody else is at it.
    fn begin(&mut self) -> Option<T> {
        if self.is_busy {
            return None;
        }
        let first = self.waiting.pop_front()?;
        self.is_busy = true;
        Some(first)
    }

    const fn end(&mut self) {
        self.is_busy = false;
    }

    /// Takes the first that is such a one out of the line.
    pub fn pull(&mut self, is_such: impl FnMut(&T) -> bool) -> Option<T> {
        let at = self.waiting.iter().position(is_such)?;
        self.waiting.remove(at)
    }
}

/// What anybody who is attached may do.
#[derive(Debug)]
pub enum Soon {
    /// Collectors hear that the future is done, and whether it has failed.
    Sinks(Held, Few<Ear>, bool),
    /// A worker has printed.
    Output(u8, Box<[u8]>),
    /// A result that came behind something that was printed.
    Result(Held, Packed),
}

/// What handlers of log records get.
#[derive(Debug)]
pub enum Record {
    /// A worker has logged: a pickled record.
    Log(Box<[u8]>),
    /// A worker's initializer has failed: form and exception.
    Unfit(u8, Box<[u8]>),
}

/// What callbacks get.
#[derive(Debug)]
pub enum Telling {
    /// All that listen hear that the future is done.
    Ears(Held, Few<Ear>, bool),
    /// A future that lives by the standard library's methods has an outcome.
    Manual(Held, Outcome),
    /// Such a future is cancelled.
    Cancel(Held),
}

impl Driver {
    /// Does all that needs Python; what only the reader's threads do, with `reads`.
    pub fn serve(self: &Arc<Self>, py: Python<'_>, reads: bool) {
        self.serve_starts(Some(py));
        self.bury(Some(py));
        self.serve_soon(py);
        if reads {
            self.serve_records(py);
            self.serve_calls(py);
        }
        self.drop_spent(py);
        self.wake_if_over();
    }

    /// Has the reader see that this was the last that was to be done.
    pub fn wake_if_over(&self) {
        if self.inside.lock().is_over() {
            self.wake_reader();
        }
    }

    /// Lets go of the futures that nobody needs here.
    #[cold]
    pub fn drop_spent(&self, _py: Python<'_>) {
        let mut inside = self.inside.lock();
        let spent = std::mem::take(&mut inside.spent);
        inside.spent_is_large = false;
        let forgotten = std::mem::take(&mut inside.forgotten);
        let remains = std::mem::take(&mut inside.remains);
        drop(inside);
        drop((spent, forgotten, remains));
    }

    /// Waits a little until the reader has handled what was logged before now: for who takes a result.
    #[inline]
    pub fn hear(&self, py: Python<'_>) {
        if !self.logs.are_handled() {
            self.hear_those(py, self.logs.read.load(Ordering::Acquire));
        }
    }

    #[cold]
    fn hear_those(&self, py: Python<'_>, all: u64) {
        if HANDLES.get() || self.is_foreign() {
            return;
        }
        self.wake_reader();
        door::detached(py, || {
            let start = clock::now();
            let mut now = start;
            while self.logs.handled.load(Ordering::Acquire) < all && now < start + PATIENCE {
                if now < start + BRIEFLY {
                    std::thread::yield_now();
                } else {
                    std::thread::sleep(AGAIN);
                }
                now = clock::now();
            }
        });
    }

    /// Works off what anybody may do.
    fn serve_soon(self: &Arc<Self>, py: Python<'_>) {
        loop {
            let Some(one) = self.inside.lock().soon.begin() else {
                return;
            };
            let said = matches!(one, Soon::Output(..));
            if let Err(error) = self.see_to(py, one) {
                error.write_unraisable(py, None);
            }
            let mut inside = self.inside.lock();
            inside.soon.end();
            inside.said -= usize::from(said);
        }
    }

    fn serve_records(self: &Arc<Self>, py: Python<'_>) {
        loop {
            let Some(one) = self.inside.lock().records.begin() else {
                return;
            };
            let logged = matches!(one, Record::Log(_));
            let around = HANDLES.replace(true);
            if let Err(error) = self.handle(py, one) {
                error.write_unraisable(py, None);
            }
            HANDLES.set(around);
            if logged {
                self.logs.handled.fetch_add(1, Ordering::Release);
            }
            self.inside.lock().records.end();
        }
    }

    fn serve_calls(self: &Arc<Self>, py: Python<'_>) {
        loop {
            let Some(one) = self.inside.lock().calls.begin() else {
                return;
            };
            if !self.logs.are_handled() {
                self.serve_records(py);
                self.hear(py);
            }
            if let Err(error) = tell(py, one) {
                let logged = face::get(py, intern!(py, "_worker_failed"))
                    .and_then(|log| log.call1((&error,)).map(drop));
                if logged.is_err() {
                    error.write_unraisable(py, None);
                }
            }
            self.inside.lock().calls.end();
        }
    }

    fn see_to(self: &Arc<Self>, py: Python<'_>, one: Soon) -> PyResult<()> {
        match one {
            Soon::Sinks(future, ears, failed) => {
                tell_sinks(&future.into_bound(py), &ears, failed);
                Ok(())
            }
            Soon::Output(stream, text) => {
                let name = if stream == 1 { "stdout" } else { "stderr" };
                let to = py.import("sys")?.getattr(name)?;
                if !to.is_none() {
                    to.call_method1("write", (String::from_utf8_lossy(&text),))?;
                    to.call_method0("flush")?;
                }
                Ok(())
            }
            Soon::Result(future, packed) => {
                let mut news = News::default();
                let mut inside = self.inside.lock();
                inside.complete(future, packed, &mut news);
                inside.publish(&mut news);
                drop(inside);
                let _: News = self.after(news);
                Ok(())
            }
        }
    }

    pub(super) fn handle(self: &Arc<Self>, py: Python<'_>, one: Record) -> PyResult<()> {
        match one {
            Record::Log(bytes) => {
                let record = outcome::unpack(py, crate::process::protocol::form::PICKLE, &bytes)?;
                let name = record.getattr("name")?;
                let logger = py.import("logging")?.call_method1("getLogger", (name,))?;
                let level = record.getattr("levelno")?;
                if logger.call_method1("isEnabledFor", (level,))?.extract()? {
                    logger.call_method1("handle", (record,))?;
                }
                Ok(())
            }
            Record::Unfit(form, bytes) => {
                let error = outcome::unpack(py, form, &bytes);
                let text = error.and_then(|error| error.repr()).map(|text| text.to_string());
                let why = format!(
                    "A process in the process pool was terminated abruptly while initializing: {}",
                    text.unwrap_or_else(|error| error.to_string())
                );
                let logged = py
                    .import("concurrent.futures._base")
                    .and_then(|base| base.getattr("LOGGER"))
                    .and_then(|log| log.call_method1("critical", ("Exception in initializer: %s", &why)));
                self.break_up(why);
                logged.map(drop)
            }
        }
    }

    /// No worker can be had: what waits is told why, and nothing more is taken.
    pub fn break_up(&self, why: String) {
        let mut news = News::default();
        let mut guard = self.inside.lock();
        let inside = &mut *guard;
        if inside.why.is_empty() {
            inside.why = why;
        }
        inside.gate = Gate::Broken;
        inside.policy.break_up(&mut inside.out);
        inside.carry_out(clock::now(), &mut news);
        inside.publish(&mut news);
        drop(guard);
        let _: News = self.after(news);
    }
}

fn tell_sinks(future: &Bound<'_, PyAny>, ears: &[Ear], failed: bool) {
    for ear in ears {
        if let Ear::Sink(sink) = ear
            && let Ok(sink) = sink.bind(future.py()).cast::<Collector>()
        {
            sink.get().add(future, failed).notify();
        }
    }
}

fn tell(py: Python<'_>, one: Telling) -> PyResult<()> {
    match one {
        Telling::Ears(future, ears, failed) => {
            let future = future.into_bound(py);
            tell_sinks(&future, &ears, failed);
            observer::call_back(&future, ears)
        }
        Telling::Manual(future, outcome) => finish_manual(&future.into_bound(py), &outcome),
        Telling::Cancel(future) => {
            let future = future.into_bound(py);
            let core = future.cast::<FutureCore>()?.get();
            FutureCore::cancel(&future, core)?;
            if core.is_cancelled() {
                FutureCore::start(&future, core)?;
            }
            Ok(())
        }
    }
}

/// Completes a future whose cell was taken over, by the standard library's methods.
fn finish_manual(future: &Bound<'_, PyAny>, outcome: &Outcome) -> PyResult<()> {
    let py = future.py();
    let (name, object) = match outcome.open(py) {
        Opened::Value(object) => ("set_result", object),
        Opened::Error(object) => ("set_exception", object),
    };
    // SAFETY: borrowed from the outcome, which is alive.
    let object = unsafe { Bound::from_borrowed_ptr(py, object) };
    if future.call_method0("cancelled")?.extract()? {
        return Ok(());
    }
    face::call_stdlib(future, name, Some(&object)).map(drop)
}

/// Completes the future of a call that could not be sent.
///
/// # Errors
/// What a callback raises, if it is no `Exception`.
pub fn finish_unsent(future: &Bound<'_, PyAny>, core: &FutureCore, error: PyErr) -> PyResult<()> {
    let py = future.py();
    let error: Held = error.into_value(py).into_bound(py).into_any().into();
    FutureCore::finish(future, core, Outcome::Error(error))
}
