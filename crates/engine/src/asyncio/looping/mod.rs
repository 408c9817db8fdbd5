//! The event loop's native half: what is ready, what is due, what is watched; and the turn that runs it.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`ready`] | what stands in the ready queue: tasks themselves, handles, native callbacks |
//! | [`handle`], [`timer_handle`] | what `call_soon` and `call_later` return |
//! | [`io`] | what is watched at descriptors |
//! | [`run`] | the turn, and when it polls |
//! | [`calls`] | `call_soon` and the other ways in, as raw methods |
//! | [`methods`] | the rest of the loop as Python sees it |
//! | [`wrapped`] | from a future of threads to one of the loop's: `wrap_future` |
//! | [`threaded`] | `to_thread` |
//! | [`submitted`] | from a coroutine to a future of threads: `run_coroutine_threadsafe` |
//! | `memory` | where the memory of handles waits for the next one |
//!
//! The Python class `plait.asyncio.EventLoop` derives from [`LoopCore`] and then from the standard library's selector loop, of which it
//! inherits what is not hot. See docs/design/loop.md.
//!
//! All state that several threads could touch is `Guarded`. What is taken out under a guard is dropped outside of it.

pub mod calls;
pub mod handle;
pub mod io;
pub(in crate::asyncio) mod memory;
pub mod methods;
pub mod ready;
pub mod run;
mod sleeping;
pub mod submitted;
pub mod threaded;
pub mod timer_handle;
pub mod wrapped;

pub use io::Direction;
pub use ready::{Entry, Native, Run};
pub use run::{attached, running};

use crate::futures::roster::Roster;
use crate::guarded::Guarded;
use crate::held::HeldSlot;
use io::{Registry, Watcher};
use plait_core::clock::{self, Nanos};
use plait_core::{Spin, Waiter, fork};
use plait_reactor::{Interest, Poller, TimerKey, Timers, Waker};
use pyo3::ffi::PyTypeObject;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyType;
use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use timer_handle::TimerHandle;

/// What runs when a timer is due.
#[derive(Debug)]
pub enum Due {
    /// A callback of Python code.
    Handle(Py<TimerHandle>),
    /// A callback of the engine's.
    Native(Native),
}

/// The native half of an event loop.
#[pyclass(subclass, frozen, module = "plait.asyncio", name = "LoopCore")]
#[derive(Debug)]
pub struct LoopCore {
    ready: Guarded<VecDeque<Entry>>,
    timers: Guarded<Timers<Due>>,
    io: Guarded<Registry>,
    poller: Poller,
    waker: Waker,
    /// Notified of what other threads bring, for a loop that spins before it sleeps; and what that has taught it.
    arrival: Waiter,
    spin: Spin,
    /// The same for what comes at descriptors.
    spin_at_poller: Spin,
    /// The process that made the poller: in a forked child it is the parent's, and is left alone.
    generation: u32,
    closed: AtomicBool,
    stopping: AtomicBool,
    debug: AtomicBool,
    /// The thread that runs it, or 0.
    thread: AtomicU64,
    /// The same, for the watch over waits.
    roster: Arc<Roster>,
    /// Which turn it runs: transports cork what is written twice in one.
    turn: AtomicU64,
    /// A timer was added that may be due already: the clock is to be read before the next turn.
    hurry: AtomicBool,
    /// The class has our `call_soon`: whoever has work for us may go past it.
    plain: bool,
    /// The class has our `time`.
    own_clock: bool,
    /// The task factory, if there is one.
    factory: HeldSlot,
    has_factory: AtomicBool,
    /// Callbacks are timed, one by one, for whoever watches for stalls: how many have begun, and when the one that runs began,
    /// or 0.
    timed: AtomicBool,
    begun: AtomicU64,
    since: AtomicU64,
}

/// The class of the first loop with our `call_soon`: that of all, as a rule. Never dropped, so no other class gets its address.
static PLAIN: AtomicPtr<PyTypeObject> = AtomicPtr::new(std::ptr::null_mut());

/// `object` as one of our loops whose `call_soon` is not overridden.
#[inline]
pub fn of<'a, 'py>(object: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, LoopCore>> {
    if object.get_type_ptr() == PLAIN.load(Ordering::Relaxed) {
        // SAFETY: the class derives from `LoopCore`: one of its loops was made by `create`.
        return Some(unsafe { object.cast_unchecked() });
    }
    object.cast::<LoopCore>().ok().filter(|core| core.get().plain)
}

impl LoopCore {
    /// Of an instance of `class`.
    fn create(class: &Bound<'_, PyType>) -> PyResult<Self> {
        let base = class.py().get_type::<Self>();
        let same = |name: &str| -> PyResult<bool> { Ok(class.getattr(name)?.is(&base.getattr(name)?)) };
        let plain = same("call_soon")?;
        let nothing = std::ptr::null_mut();
        if plain
            && PLAIN
                .compare_exchange(nothing, class.as_type_ptr(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            std::mem::forget(class.clone());
        }
        let poller = Poller::new()?;
        let waker = Waker::new()?;
        let read = Interest {
            read: true,
            write: false,
        };
        poller.set(waker.descriptor(), Interest::NONE, read)?;
        Ok(Self {
            ready: Guarded::new(VecDeque::new()),
            timers: Guarded::new(Timers::default()),
            io: Guarded::new(Registry::default()),
            poller,
            waker,
            arrival: Waiter::thread(),
            spin: Spin::new(),
            spin_at_poller: Spin::new(),
            generation: fork::generation(),
            closed: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            debug: AtomicBool::new(false),
            thread: AtomicU64::new(0),
            roster: Roster::new(1),
            turn: AtomicU64::new(0),
            hurry: AtomicBool::new(false),
            plain,
            own_clock: same("time")?,
            factory: HeldSlot::default(),
            has_factory: AtomicBool::new(false),
            timed: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            since: AtomicU64::new(0),
        })
    }

    /// Puts `entry` at the end of the ready queue. From the loop's own thread, or before it runs.
    #[inline]
    pub fn push(&self, _py: Python<'_>, entry: Entry) {
        self.ready.lock().push_back(entry);
    }

    /// As [`push`](Self::push), from any attached thread: ends the loop's sleep.
    #[inline]
    pub fn push_threadsafe(&self, py: Python<'_>, entry: Entry) {
        self.push(py, entry);
        self.wake();
    }

    /// Ends the loop's sleep, or its spin before it. Called after work was put in the queue.
    #[inline]
    pub fn wake(&self) {
        self.arrival.mark_notified();
        self.waker.wake();
    }

    /// The time that native timers go by.
    #[inline]
    pub fn native_time() -> Nanos {
        clock::now()
    }

    /// Whether its clock is ours and its `call_soon` not overridden: a timer may go past Python then.
    #[inline]
    pub fn keeps_time(&self) -> bool {
        self.plain && self.own_clock
    }

    /// Whether debug mode is on.
    #[inline]
    pub fn is_debug(&self) -> bool {
        self.debug.load(Ordering::Relaxed)
    }

    /// A number that no other turn has; None while it does not run.
    #[inline]
    pub fn turn(&self) -> Option<u64> {
        (self.thread.load(Ordering::Relaxed) != 0).then(|| self.turn.load(Ordering::Relaxed))
    }

    /// Whether it has been closed.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Whether a task factory has been set.
    #[inline]
    pub fn has_factory(&self) -> bool {
        self.has_factory.load(Ordering::Relaxed)
    }

    /// Runs `native` once, at `when`.
    #[inline]
    pub fn timer(&self, _py: Python<'_>, when: Nanos, native: Native) -> TimerKey {
        self.timers.lock().add(when, Due::Native(native))
    }

    /// Takes a timer away, if it has not run.
    #[inline]
    pub fn cancel_timer(&self, _py: Python<'_>, key: TimerKey) {
        let due = self.timers.lock().cancel(key);
        drop(due);
    }

    /// Runs `native` whenever `fd` is ready in that direction (level-triggered), in place of what was there.
    ///
    /// # Errors
    /// `OSError`, as `epoll_ctl(2)` reports it.
    pub fn watch(&self, py: Python<'_>, fd: RawFd, direction: Direction, native: Native) -> PyResult<()> {
        let old = self.set_watcher(py, fd, direction, Some(Watcher::Native(native)))?;
        io::cancel(py, old).map(|_| ())
    }

    /// Ends that. Whether there was anything.
    pub fn unwatch(&self, py: Python<'_>, fd: RawFd, direction: Direction) -> bool {
        let old = self.set_watcher(py, fd, direction, None).unwrap_or(None);
        io::cancel(py, old).unwrap_or(true)
    }

    /// As [`unwatch`](Self::unwatch), if what is watched for is a native callback of `object`.
    pub fn unwatch_own(
        &self,
        py: Python<'_>,
        fd: RawFd,
        direction: Direction,
        object: &Bound<'_, PyAny>,
    ) -> bool {
        let own = self.io.lock().get(fd).is_some_and(|watchers| {
            let watcher = watchers.of(direction);
            matches!(watcher, Some(Watcher::Native(native)) if native.object.is(object))
        });
        own && self.unwatch(py, fd, direction)
    }

    /// Whether anything is watched for.
    pub fn watches(&self, fd: RawFd, direction: Direction) -> bool {
        self.io
            .lock()
            .get(fd)
            .is_some_and(|watchers| watchers.of(direction).is_some())
    }

    fn set_watcher(
        &self,
        _py: Python<'_>,
        fd: RawFd,
        direction: Direction,
        watcher: Option<Watcher>,
    ) -> PyResult<Option<Watcher>> {
        let poller = (self.generation == fork::generation()).then_some(&self.poller);
        let done = self.io.lock().set(poller, fd, direction, watcher);
        match done {
            Ok(old) => Ok(old),
            Err((error, refused)) => {
                drop(refused);
                Err(error.into())
            }
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.factory.traverse(visit)?;
        if let Some(ready) = self.ready.try_lock() {
            for entry in ready.iter() {
                entry.traverse(visit)?;
            }
        }
        if let Some(timers) = self.timers.try_lock() {
            for due in timers.iter() {
                match due {
                    Due::Handle(handle) => visit.call(handle)?,
                    Due::Native(native) => native.traverse(visit)?,
                }
            }
        }
        self.io.try_lock().map_or(Ok(()), |io| io.traverse(visit))
    }

    /// Drops whatever was to be run.
    fn clear(&self) {
        let ready = std::mem::take(&mut *self.ready.lock());
        let timers = self.timers.lock().clear();
        let io = std::mem::take(&mut *self.io.lock());
        for due in &timers {
            if let Due::Handle(handle) = due {
                handle.get().key.lock().take();
            }
        }
        drop((ready, timers, io));
    }
}

/// Puts the raw methods over the class, and the free lists under the handles.
///
/// # Errors
/// As [`crate::hot::install`].
pub fn init(py: Python<'_>) -> PyResult<()> {
    memory::init(py);
    calls::init(py)
}
