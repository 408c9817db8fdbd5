//! Native coroutines: a [`Machine`] says what happens next, and an [`Await`] makes it a coroutine that Python can await.
//!
//! An `Await` starts when it is awaited, not when it is made, as an `async def` function does; it waits for one [`Future`] at a
//! time, and can be thrown into. While a step runs nothing else can enter it (`Phase::Running`); whoever tries gets
//! the error that a coroutine gives. The collector passes over a running one: what it holds then looks as if held from
//! outside.
//!
//! What makes it cheap: its memory is kept ([`free`]), the machine lies inside ([`body`]), it is shown to the collector
//! only once parked, None is returned as no exception at all, and any other value by one that is used again ([`stop`]).

mod body;
mod drive;
mod free;
mod methods;
pub mod stop;

pub use drive::{Drive, Driven};
pub use free::trim;
pub use methods::init;

use super::future::{self, Future};
use crate::held::Held;
use body::Body;
use pyo3::exceptions::{PyGeneratorExit, PyRuntimeError, PyStopIteration, PyValueError};
use pyo3::ffi::{self, PyObject};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU8, Ordering};

/// Why a machine is stepped.
#[derive(Debug)]
pub enum Resume {
    /// The first step, or what it waited for has ended with a result.
    Next,
    /// An exception is thrown in, or is what it waited for ended with.
    Throw(PyErr),
}

/// What a step comes to.
#[derive(Debug)]
pub enum Step {
    /// To be stepped again when this has ended.
    Wait(Py<Future>),
    /// To be stepped again when whoever drives us thinks fit: what an awaitable that the machine drives has yielded.
    Foreign(Py<PyAny>),
    /// To be stepped again in the next turn of the loop.
    Yield,
    /// The value of the `await`.
    Return(Py<PyAny>),
    /// The same with None, for less.
    ReturnNone,
}

/// A coroutine's body, as a state machine.
pub trait Machine: Send + Sync {
    /// `__qualname__` of the coroutine.
    const NAME: &'static str = "wait";

    /// Goes on. After an error, or a return, it is not called again.
    ///
    /// # Errors
    /// What the `await` is to raise: usually what was thrown in.
    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step>;

    /// Whether no step of a new one will run code of the program's: tasks for such may share a context.
    fn is_inert(&self, _py: Python<'_>) -> bool {
        false
    }

    /// What it holds on to, for the collector.
    ///
    /// # Errors
    /// What the visitor returns.
    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError>;
}

/// Where an await is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    New,
    Running,
    Suspended,
    Over,
}

impl Phase {
    const fn of(byte: u8) -> Self {
        match byte {
            0 => Self::New,
            1 => Self::Running,
            2 => Self::Suspended,
            _ => Self::Over,
        }
    }
}

/// What lies behind the phase: whoever has set `Running` may use it.
struct Inside {
    body: Option<Body>,
    /// What it is suspended on; None for a bare yield.
    waiting: Option<Held>,
}

/// A native coroutine.
#[pyclass(frozen, module = "plait.asyncio", name = "coroutine")]
pub struct Await {
    phase: AtomicU8,
    inert: bool,
    name: &'static str,
    inside: UnsafeCell<Inside>,
}

// SAFETY: `inside` is used by the thread that has set `Running` (`enter`), or the collector while no thread is attached or
// this one is in the collector; what is in it may go from thread to thread.
unsafe impl Sync for Await {}

/// What a step comes to, for the interpreter.
enum Outcome {
    Yield(Held),
    YieldNone,
    Return(Py<PyAny>),
    ReturnNone,
}

impl Await {
    /// A coroutine around `machine`.
    ///
    /// # Errors
    /// `MemoryError`.
    #[inline]
    pub fn create<M: Machine + 'static>(py: Python<'_>, machine: M) -> PyResult<Bound<'_, Self>> {
        free::make(
            py,
            Self {
                phase: AtomicU8::new(Phase::New as u8),
                inert: machine.is_inert(py),
                name: M::NAME,
                inside: UnsafeCell::new(Inside {
                    body: Some(Body::new(machine)),
                    waiting: None,
                }),
            },
        )
    }

    /// Whether `object` is one.
    #[inline]
    pub fn is(object: &Bound<'_, PyAny>) -> bool {
        object.get_type_ptr() == free::class()
    }

    /// As [`Machine::is_inert`], of an `object` that is one and has not begun.
    #[inline]
    pub fn is_inert(object: &Bound<'_, PyAny>) -> bool {
        if !Self::is(object) {
            return false;
        }
        // SAFETY: just checked.
        let this = unsafe { object.cast_unchecked::<Self>() }.get();
        this.inert && this.phase() == Phase::New
    }

    /// Whether it is over and holds nothing.
    #[inline]
    fn is_empty(&mut self) -> bool {
        let inside = self.inside.get_mut();
        *self.phase.get_mut() == Phase::Over as u8 && inside.body.is_none() && inside.waiting.is_none()
    }

    /// One that is over.
    const fn over() -> Self {
        Self {
            phase: AtomicU8::new(Phase::Over as u8),
            inert: false,
            name: "coroutine",
            inside: UnsafeCell::new(Inside {
                body: None,
                waiting: None,
            }),
        }
    }

    fn phase(&self) -> Phase {
        Phase::of(self.phase.load(Ordering::Relaxed))
    }

    /// Sets `Running`; the phase that was. Of a running one nothing is changed.
    #[inline]
    fn enter(&self) -> Phase {
        if cfg!(Py_GIL_DISABLED) {
            let was = self.phase.swap(Phase::Running as u8, Ordering::Acquire);
            Phase::of(was)
        } else {
            let was = self.phase();
            self.phase.store(Phase::Running as u8, Ordering::Relaxed);
            was
        }
    }

    #[inline]
    fn exit(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// The error of one that cannot be stepped now. It is left as it was.
    #[cold]
    fn refuse(&self, was: Phase) -> PyErr {
        if was == Phase::Running {
            PyValueError::new_err("coroutine already executing")
        } else {
            self.exit(Phase::Over);
            PyRuntimeError::new_err("cannot reuse already awaited coroutine")
        }
    }

    /// One step, as of `send(None)`.
    #[inline]
    fn resume(&self, py: Python<'_>) -> PyResult<Outcome> {
        let was = self.enter();
        // SAFETY: we have just set `Running`.
        let inside = unsafe { &mut *self.inside.get() };
        match was {
            Phase::New => self.go(py, inside, Resume::Next),
            Phase::Suspended => {
                let Some(waiting) = inside.waiting.take() else {
                    return self.go(py, inside, Resume::Next);
                };
                // SAFETY: only futures are put there.
                let future = unsafe { waiting.bind(py).cast_unchecked::<Future>().to_owned() };
                let well = {
                    let mut state = future.get().state.lock();
                    if state.phase == future::Phase::Pending {
                        // Whoever stepped us does not wait for what we have given him: he gets it again.
                        state.blocking = true;
                        drop(state);
                        inside.waiting = Some(waiting);
                        self.exit(Phase::Suspended);
                        return Ok(Outcome::Yield(future.into_any().into()));
                    }
                    state.phase == future::Phase::Finished && !state.failed
                };
                let resume = if well {
                    Resume::Next
                } else {
                    Future::result(&future).map_or_else(Resume::Throw, |_| Resume::Next)
                };
                drop(future);
                drop(waiting);
                self.go(py, inside, resume)
            }
            was => Err(self.refuse(was)),
        }
    }

    /// Throws `error` in.
    fn throw_in(&self, py: Python<'_>, error: PyErr) -> PyResult<Outcome> {
        let was = self.enter();
        // SAFETY: we have just set `Running`, or do not use it.
        let inside = unsafe { &mut *self.inside.get() };
        match was {
            Phase::New => {
                let body = inside.body.take();
                self.exit(Phase::Over);
                drop(body);
                Err(error)
            }
            Phase::Suspended => {
                drop(inside.waiting.take());
                self.go(py, inside, Resume::Throw(error))
            }
            was => Err(self.refuse(was)),
        }
    }

    /// Steps the machine. `Running` is set.
    #[inline]
    fn go(&self, py: Python<'_>, inside: &mut Inside, resume: Resume) -> PyResult<Outcome> {
        let Some(body) = inside.body.as_mut() else {
            return Err(self.refuse(Phase::Over));
        };
        let step = body.step(py, resume);
        match step {
            Ok(Step::Wait(future)) => {
                let held = Held::from(future.into_bound(py).into_any());
                // SAFETY: it has just been a future.
                unsafe {
                    let future = held.bind(py);
                    future.cast_unchecked::<Future>().get().state.lock().blocking = true;
                }
                inside.waiting = Some(held.clone_ref(py));
                self.park();
                Ok(Outcome::Yield(held))
            }
            Ok(Step::Foreign(yielded)) => {
                self.park();
                Ok(Outcome::Yield(yielded.into_bound(py).into()))
            }
            Ok(Step::Yield) => {
                self.park();
                Ok(Outcome::YieldNone)
            }
            ended => {
                let body = inside.body.take();
                self.exit(Phase::Over);
                drop(body);
                ended.map(|step| match step {
                    Step::Return(value) => Outcome::Return(value),
                    _ => Outcome::ReturnNone,
                })
            }
        }
    }

    /// Suspends it, and from here on shows it to the collector.
    #[inline]
    fn park(&self) {
        self.exit(Phase::Suspended);
        let object = std::ptr::from_ref(self)
            .cast::<u8>()
            .wrapping_sub(free::offset())
            .cast_mut()
            .cast::<PyObject>();
        // SAFETY: every await lies in an object of its class, at that offset; whoever steps it has a reference to it.
        unsafe {
            if ffi::PyObject_GC_IsTracked(object) == 0 {
                ffi::PyObject_GC_Track(object.cast());
            }
        }
    }

    /// Ends it, as `close()` of a coroutine.
    fn end(&self, py: Python<'_>) -> PyResult<()> {
        match self.enter() {
            Phase::Over => {
                self.exit(Phase::Over);
                Ok(())
            }
            Phase::Running => Err(self.refuse(Phase::Running)),
            Phase::New => {
                // SAFETY: we have just set `Running`.
                let body = unsafe { (*self.inside.get()).body.take() };
                self.exit(Phase::Over);
                drop(body);
                Ok(())
            }
            Phase::Suspended => {
                // SAFETY: as above.
                let inside = unsafe { &mut *self.inside.get() };
                drop(inside.waiting.take());
                let leave = PyGeneratorExit::new_err(());
                match self.go(py, inside, Resume::Throw(leave)) {
                    Ok(Outcome::Yield(_) | Outcome::YieldNone) => {
                        Err(PyRuntimeError::new_err("coroutine ignored GeneratorExit"))
                    }
                    Ok(_) => Ok(()),
                    Err(error)
                        if error.is_instance_of::<PyGeneratorExit>(py)
                            || error.is_instance_of::<PyStopIteration>(py) =>
                    {
                        Ok(())
                    }
                    Err(error) => Err(error),
                }
            }
        }
    }
}

impl Drop for Await {
    fn drop(&mut self) {
        let phase = Phase::of(*self.phase.get_mut());
        if phase == Phase::Over {
            return;
        }
        // SAFETY: objects are dropped by attached threads.
        let py = unsafe { Python::assume_attached() };
        let pending = PyErr::take(py);
        if phase == Phase::New {
            self.warn(py);
        } else if let Err(error) = self.end(py) {
            error.write_unraisable(py, None);
        }
        if let Some(pending) = pending {
            pending.restore(py);
        }
    }
}
