//! What needs Python: callbacks, collectors, prints, log records, starting and burying workers.
//!
//! Two lines. `soon` has what runs no code of the program's that could wait for somebody: whoever is attached works it
//! off, in order (one at a time). `calls` has what does, callbacks above all: only the reader's threads call them, as the
//! standard library has its own thread do; a thread that came out of `result()` with a lock in its hands does not.

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
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// So long at most somebody who has a result waits until what was logged before it has been handled by another thread,
const PATIENCE: Nanos = 100_000_000;
/// looking again each so often.
const AGAIN: Duration = Duration::from_micros(50);

thread_local! {
    /// This thread is within [`Driver::serve_soon`].
    static SERVES: Cell<bool> = const { Cell::new(false) };
}

/// How many log records were read from the rings, and how many of them were handled.
///
/// Results are not held up until they are, since a handler may wait for one. Instead, who takes a result first works off
/// what was logged before it, or waits for who does.
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

/// What anybody who is attached may do.
#[derive(Debug)]
pub enum Soon {
    /// Collectors hear that the future is done, and whether it has failed.
    Sinks(Held, Few<Ear>, bool),
    /// A worker has printed.
    Output(u8, Box<[u8]>),
    /// A worker has logged: a pickled record.
    Log(Box<[u8]>),
    /// A result that came behind something that was printed.
    Result(Held, Packed),
    /// A worker's initializer has failed: form and exception.
    Unfit(u8, Box<[u8]>),
}

/// What the reader's threads do.
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
    /// Does all that needs Python; callbacks only with `calls`.
    pub fn serve(self: &Arc<Self>, py: Python<'_>, calls: bool) {
        self.serve_starts(Some(py));
        self.bury(Some(py));
        self.serve_soon(py);
        if calls {
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

    /// Sees to it that what was logged before now is handled, or waits a little while another thread does: for who takes a result.
    #[inline]
    pub fn hear(self: &Arc<Self>, py: Python<'_>) {
        if !self.logs.are_handled() {
            self.hear_those(py, self.logs.read.load(Ordering::Acquire));
        }
    }

    #[cold]
    fn hear_those(self: &Arc<Self>, py: Python<'_>, all: u64) {
        let is_enough = || self.logs.handled.load(Ordering::Acquire) >= all;
        if SERVES.get() || self.is_foreign() {
            return;
        }
        let until = clock::now() + PATIENCE;
        loop {
            self.serve_soon_until(py, is_enough);
            if is_enough() || clock::now() >= until {
                return;
            }
            door::detached(py, || std::thread::sleep(AGAIN));
        }
    }

    /// Works off what runs no code of the program's that could wait. One thread does at a time.
    pub fn serve_soon(self: &Arc<Self>, py: Python<'_>) {
        self.serve_soon_until(py, || false);
    }

    fn serve_soon_until(self: &Arc<Self>, py: Python<'_>, is_enough: impl Fn() -> bool) {
        while !is_enough() {
            let mut inside = self.inside.lock();
            if inside.soon_is_busy {
                return;
            }
            let Some(one) = inside.soon.pop_front() else {
                return;
            };
            inside.soon_is_busy = true;
            drop(inside);
            let said = matches!(one, Soon::Output(..));
            let logged = matches!(one, Soon::Log(_));
            let around = SERVES.replace(true);
            if let Err(error) = self.see_to(py, one) {
                error.write_unraisable(py, None);
            }
            SERVES.set(around);
            if logged {
                self.logs.handled.fetch_add(1, Ordering::Release);
            }
            let mut inside = self.inside.lock();
            inside.soon_is_busy = false;
            inside.said -= usize::from(said);
        }
    }

    pub(super) fn see_to(self: &Arc<Self>, py: Python<'_>, one: Soon) -> PyResult<()> {
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
            Soon::Log(bytes) => {
                let record = outcome::unpack(py, crate::process::protocol::form::PICKLE, &bytes)?;
                let name = record.getattr("name")?;
                let logger = py.import("logging")?.call_method1("getLogger", (name,))?;
                let level = record.getattr("levelno")?;
                if logger.call_method1("isEnabledFor", (level,))?.extract()? {
                    logger.call_method1("handle", (record,))?;
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
            Soon::Unfit(form, bytes) => {
                let error = outcome::unpack(py, form, &bytes);
                let text = error.and_then(|error| error.repr()).map(|text| text.to_string());
                let why = format!(
                    "A process in the process pool was terminated abruptly while initializing: {}",
                    text.unwrap_or_else(|error| error.to_string())
                );
                let log = py.import("concurrent.futures._base")?.getattr("LOGGER")?;
                log.call_method1("critical", ("Exception in initializer: %s", &why))?;
                self.break_up(why);
                Ok(())
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

    fn serve_calls(self: &Arc<Self>, py: Python<'_>) {
        loop {
            let mut inside = self.inside.lock();
            if inside.calls_are_busy || inside.calls.is_empty() {
                return;
            }
            inside.calls_are_busy = true;
            let all = std::mem::take(&mut inside.calls);
            drop(inside);
            self.hear(py);
            for one in all {
                if let Err(error) = tell(py, one) {
                    let logged = face::get(py, intern!(py, "_worker_failed"))
                        .and_then(|log| log.call1((&error,)).map(drop));
                    if logged.is_err() {
                        error.write_unraisable(py, None);
                    }
                }
            }
            self.inside.lock().calls_are_busy = false;
        }
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
