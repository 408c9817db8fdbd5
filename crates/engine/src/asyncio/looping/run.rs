//! The turn, and when it polls.
//!
//! A turn runs what was ready at its start; what its callbacks make ready runs in the next. asyncio polls before each turn. That
//! costs a system call (0.3 µs and more) for a turn that may last 0.1 µs. So while something is ready, the loop polls, looks at the clock for
//! timers and hears signals only every [`PERIOD`]: not by looking at the clock each turn, but by counting the entries that it runs,
//! and learning how many fit in a period ([`Pace`]). When nothing is ready it polls at once.
//!
//! How it sleeps is said in [`sleeping`](super::sleeping).

use super::timer_handle::TimerHandle;
use super::{Direction, Due, Entry, LoopCore};
use plait_core::clock::{self, Nanos};
use plait_core::fork;
use plait_reactor::poller::Events;
use pyo3::intern;
use pyo3::prelude::*;
use std::cell::Cell;
use std::os::fd::RawFd;
use std::sync::atomic::Ordering;

/// About how often a busy loop polls.
const PERIOD: Nanos = 50_000;
/// How many entries it runs at most before it looks at the clock: what they may cost if each suddenly takes long.
const MOST: usize = 64;

thread_local! {
    /// The loop that runs in this thread, and in which process: after a fork nothing runs in the child.
    static RUNNING: Cell<(*mut pyo3::ffi::PyObject, u32)> = const { Cell::new((std::ptr::null_mut(), 0)) };
}

/// Our loop that runs in this thread.
#[inline]
pub fn running(py: Python<'_>) -> Option<Bound<'_, LoopCore>> {
    let object = last::of_this_thread().or_else(of_this_thread)?;
    // SAFETY: `Running` stands on the stack of `LoopCore::run` below us, whose caller holds a reference to the loop.
    Some(unsafe { Borrowed::from_ptr(py, object).cast_unchecked::<LoopCore>() }.to_owned())
}

/// The same, from the thread's own memory, which costs a call.
#[cold]
fn of_this_thread() -> Option<*mut pyo3::ffi::PyObject> {
    let (object, generation) = RUNNING.get();
    if object.is_null() || generation != fork::generation() {
        return None;
    }
    last::set(object);
    Some(object)
}

/// Runs `f` as PyO3 wants it, which counts how often a thread is attached. In a thread that runs a loop of ours that has been
/// counted, below us on the stack; three calls for the thread's own memory are spared.
///
/// # Safety
/// The thread is attached.
#[inline]
pub unsafe fn attached<T>(f: impl FnOnce(Python<'_>) -> T) -> T {
    // SAFETY: the caller's promise; attaching nests.
    unsafe {
        if last::of_this_thread().is_some() {
            f(Python::assume_attached())
        } else {
            Python::attach_unchecked(f)
        }
    }
}

/// The loop that was asked for last, and the thread that runs it: a compare instead of a look into the thread's own memory.
#[cfg(not(Py_GIL_DISABLED))]
mod last {
    use plait_core::fork;
    use pyo3::ffi::{self, PyObject, PyThreadState};
    use std::ptr::null_mut;
    use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};

    // Changed by attached threads, all three at once: the GIL is their lock. Cleared before the loop ends that they are of.
    static THREAD: AtomicPtr<PyThreadState> = AtomicPtr::new(null_mut());
    static LOOP: AtomicPtr<PyObject> = AtomicPtr::new(null_mut());
    static GENERATION: AtomicU32 = AtomicU32::new(0);

    fn me() -> *mut PyThreadState {
        // SAFETY: who asks is attached.
        unsafe { ffi::PyThreadState_Get() }
    }

    #[inline]
    pub fn of_this_thread() -> Option<*mut PyObject> {
        let its = THREAD.load(Relaxed) == me() && GENERATION.load(Relaxed) == fork::generation();
        its.then(|| LOOP.load(Relaxed))
    }

    pub fn set(event_loop: *mut PyObject) {
        THREAD.store(me(), Relaxed);
        LOOP.store(event_loop, Relaxed);
        GENERATION.store(fork::generation(), Relaxed);
    }

    /// The loop of this thread is another one from now on, or none.
    pub fn clear() {
        if THREAD.load(Relaxed) == me() {
            THREAD.store(null_mut(), Relaxed);
        }
    }
}

/// Without a GIL nothing would keep the parts together.
#[cfg(Py_GIL_DISABLED)]
mod last {
    use pyo3::ffi::PyObject;

    #[inline]
    pub fn of_this_thread() -> Option<*mut PyObject> {
        None
    }

    pub fn set(_event_loop: *mut PyObject) {}

    pub fn clear() {}
}

/// That a loop runs in this thread, as long as this lives.
struct Running((*mut pyo3::ffi::PyObject, u32));

impl Running {
    fn new(core: &Bound<'_, LoopCore>) -> Self {
        last::clear();
        Self(RUNNING.replace((core.as_ptr(), fork::generation())))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        last::clear();
        RUNNING.set(self.0);
    }
}

/// How many entries run between two looks at the clock.
struct Pace {
    entries: usize,
    left: usize,
    looked: Nanos,
    /// When the poller was last asked.
    polled: Nanos,
}

impl Pace {
    /// Looks before the first turn.
    fn new() -> Self {
        Self {
            entries: 1,
            left: 0,
            looked: 0,
            polled: 0,
        }
    }

    /// The clock has been read: so much time has passed for so many entries.
    fn look(&mut self, now: Nanos) {
        let passed = now.saturating_sub(self.looked);
        self.looked = now;
        if passed < PERIOD / 2 {
            self.entries = (self.entries * 2).min(MOST);
        } else if passed > PERIOD {
            self.entries = (self.entries / 2).max(1);
        }
        self.left = self.entries;
    }
}

impl LoopCore {
    /// Runs turns until `stop()`.
    ///
    /// # Errors
    /// `KeyboardInterrupt`, `SystemExit`, and what signal handlers raise. What has not run stays in the queue.
    pub fn run(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let core = slf.get();
        let _running = Running::new(slf);
        let mut events = Events::default();
        let mut pace = Pace::new();
        loop {
            let mut todo = core.ready.lock().len();
            if todo == 0 || pace.left == 0 || core.hurry.swap(false, Ordering::Relaxed) {
                core.look(py, &mut events, &mut pace, todo > 0)?;
                todo = core.ready.lock().len();
            }
            pace.left = pace.left.saturating_sub(todo);
            core.turn.store(
                core.turn.load(Ordering::Relaxed).wrapping_add(1),
                Ordering::Relaxed,
            );
            if core.is_debug() || core.timed.load(Ordering::Relaxed) {
                Self::timed_turn(slf, todo)?;
            } else {
                for _ in 0..todo {
                    let entry = core.ready.lock().pop_front();
                    let Some(entry) = entry else { break };
                    entry.run(slf)?;
                }
            }
            if core.stopping.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
    }

    /// Polls, sleeping if nothing is ready; then puts what is due in the queue, and hears signals.
    fn look(&self, py: Python<'_>, events: &mut Events, pace: &mut Pace, busy: bool) -> PyResult<()> {
        let next = self.timers.lock().next_due();
        let now = clock::now();
        let timeout = if busy || self.stopping.load(Ordering::Relaxed) {
            Some(0)
        } else {
            next.map(|next| next.saturating_sub(now))
        };
        let asked = self.poll(py, events, timeout, now >= pace.polled + PERIOD)?;
        if asked {
            pace.polled = now;
        }
        let now = if timeout == Some(0) { now } else { clock::now() };
        pace.look(now);
        if next.is_some() {
            self.push_due(py, now);
        }
        py.check_signals()
    }

    /// Polls, and puts what is ready in the queue. A poll that would sleep may be left out if there is work before it begins,
    /// unless it is `overdue`.
    fn poll(
        &self,
        py: Python<'_>,
        events: &mut Events,
        timeout: Option<Nanos>,
        overdue: bool,
    ) -> PyResult<bool> {
        let mut asked = true;
        events.clear();
        if timeout == Some(0) {
            self.poller.wait(events, timeout)?;
        } else {
            asked = self.sleep(py, events, timeout)?;
            if !asked && overdue {
                self.poller.wait(events, Some(0))?;
                asked = true;
            }
        }
        for event in events.iter() {
            if event.fd == self.waker.descriptor() {
                self.waker.drain();
                continue;
            }
            let (read, write) = {
                let io = self.io.lock();
                let watchers = io.get(event.fd);
                let read = watchers
                    .and_then(|watchers| watchers.read.as_ref())
                    .filter(|_| event.read);
                let write = watchers
                    .and_then(|watchers| watchers.write.as_ref())
                    .filter(|_| event.write);
                (
                    read.map(|watcher| watcher.entry(py)),
                    write.map(|watcher| watcher.entry(py)),
                )
            };
            // A handle that was cancelled by itself would be ready for ever.
            let read = read.and_then(|entry| self.unless_cancelled(py, entry, event.fd, Direction::Read));
            let write = write.and_then(|entry| self.unless_cancelled(py, entry, event.fd, Direction::Write));
            let mut ready = self.ready.lock();
            ready.extend(read);
            ready.extend(write);
        }
        Ok(asked)
    }

    #[inline]
    fn unless_cancelled(
        &self,
        py: Python<'_>,
        entry: Entry,
        fd: RawFd,
        direction: Direction,
    ) -> Option<Entry> {
        if matches!(&entry, Entry::Handle(handle) if handle.get().is_cancelled()) {
            self.unwatch(py, fd, direction);
            return None;
        }
        Some(entry)
    }

    /// Puts the timers that are due in the queue.
    fn push_due(&self, py: Python<'_>, now: Nanos) {
        loop {
            let due = self.timers.lock().pop(now);
            let entry = match due {
                None => return,
                Some(Due::Native(native)) => Entry::Native(native),
                Some(Due::Handle(handle)) => {
                    handle.get().key.lock().take();
                    Entry::Handle(upcast(py, handle))
                }
            };
            self.push(py, entry);
        }
    }

    /// A turn in debug mode, or while somebody watches for stalls.
    #[cold]
    fn timed_turn(slf: &Bound<'_, Self>, todo: usize) -> PyResult<()> {
        let (py, core) = (slf.py(), slf.get());
        for _ in 0..todo {
            let entry = core.ready.lock().pop_front();
            let Some(entry) = entry else { break };
            let object = core.is_debug().then(|| entry.object(py));
            let before = clock::now();
            core.begun.fetch_add(1, Ordering::Relaxed);
            core.since.store(before, Ordering::Release);
            let done = entry.run(slf);
            core.since.store(0, Ordering::Release);
            done?;
            let Some(object) = object else { continue };
            let passed = seconds(clock::now() - before);
            if passed
                >= slf
                    .getattr(intern!(py, "slow_callback_duration"))?
                    .extract::<f64>()?
            {
                slf.call_method1(intern!(py, "_callback_was_slow"), (object, passed))?;
            }
        }
        Ok(())
    }

    /// The callback that runs, by number, and for how many seconds; for whoever asked that they are timed.
    pub(super) fn callback_running(&self) -> Option<(u64, f64)> {
        let number = self.begun.load(Ordering::Relaxed);
        match self.since.load(Ordering::Acquire) {
            0 => None,
            since => Some((number, seconds(clock::now().saturating_sub(since)))),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a duration")]
fn seconds(nanos: Nanos) -> f64 {
    nanos as f64 / 1e9
}

/// The timer as the handle that it is.
fn upcast(py: Python<'_>, handle: Py<TimerHandle>) -> Py<super::handle::Handle> {
    handle.into_bound(py).into_super().unbind()
}
