//! What a worker process runs: it takes calls from the ring, makes them, and sends what came of them.
//!
//! One thread serves, the main one, attached but for its sleep. Others of the process may print and log: the ring upward is
//! behind a latch.
//!
//! | module | what it is |
//! | --- | --- |
//! | `serve` | the loop: records as they come, the wait for more |
//! | `call` | one call: claimed, unpacked, made, answered |
//! | `upward` | the ring to the parent: records, what was printed, room, the bell |
//! | `cost` | what a call took |
//! | `orphan` | a parent that is gone is noticed, whatever runs |
//!
//! **Who ran.** `running` on the board is the task from before its arguments are unpacked until its result is published: a death in
//! between is that call's, whether it was unpickling, the function or the pickling of the result that was fatal.
//!
//! **Interrupts.** The parent writes the task to the board and sends a signal. Python's own handler calls
//! [`ProcessWorker::interrupted`] in the main thread, at a place where an exception may be raised; it raises while the
//! call of that very task is being made, and once for each.
//!
//! **Forks.** A child that a task forks has the rings mapped. It must not write: everything that goes to the parent asks first whether
//! this is still the process that was started.

mod call;
mod cost;
mod orphan;
mod serve;
mod upward;

use super::board::{Board, Doorbell};
use crate::held::HeldSlot;
use plait_core::{Latch, fork};
use plait_proc::Link;
use plait_ring::Consumer;
use plait_ring::memory::Memory;
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use upward::Upward;

/// The end of a ring from which calls come, and its memory.
#[derive(Debug)]
struct Downward {
    ring: Consumer,
    _memory: Memory,
}

/// The worker's side of a pool. Made by `connect`, in the process that the pool has started; one for each process.
#[pyclass(frozen, module = "plait._engine")]
#[derive(Debug)]
pub struct ProcessWorker {
    /// Taken by who serves.
    down: Latch<Option<Downward>>,
    up: Upward,
    board: Board,
    link: Link,
    /// The task whose call is being made: that may be interrupted.
    current: AtomicU64,
    /// The last one that was.
    interrupted: AtomicU64,
    /// Of the process that was started.
    generation: u32,
    hello: HeldSlot,
    hooks: Hooks,
}

/// What is written in Python.
#[derive(Debug, Default)]
struct Hooks {
    /// `loads(data, *, buffers=())`
    loads: HeldSlot,
    /// `failed(where, error, value) -> data`: the pickled exception that the caller gets.
    failed: HeldSlot,
    /// The exception that an interrupt raises.
    stop: HeldSlot,
}

impl Hooks {
    fn all(&self) -> [&HeldSlot; 3] {
        [&self.loads, &self.failed, &self.stop]
    }
}

/// A slot that `use` has filled.
fn filled<'a, 'py>(slot: &'a HeldSlot, py: Python<'py>) -> PyResult<Borrowed<'a, 'py, PyAny>> {
    slot.get(py)
        .ok_or_else(|| PyRuntimeError::new_err("the worker has not been set up"))
}

impl ProcessWorker {
    /// Whether this is a child that a task has forked.
    #[inline]
    fn is_forked(&self) -> bool {
        fork::generation() != self.generation
    }
}

impl ProcessWorker {
    /// The function and its arguments are there, the call is about to be made: from here on it can be interrupted. Not before: an
    /// import that is broken off leaves modules that are half there.
    #[inline]
    fn begin(&self, py: Python<'_>, task: u64) -> PyResult<()> {
        self.current.store(task, Ordering::Relaxed);
        if self.board.interrupt() == task {
            return self.stop_if_told(py);
        }
        Ok(())
    }

    #[cold]
    fn stop_if_told(&self, py: Python<'_>) -> PyResult<()> {
        let task = self.current.load(Ordering::Relaxed);
        if task == 0
            || self.is_forked()
            || self.board.interrupt() != task
            || self.interrupted.swap(task, Ordering::Relaxed) == task
        {
            return Ok(());
        }
        let stop = filled(&self.hooks.stop, py)?;
        Err(PyErr::from_value(stop.call0()?))
    }
}

#[pymethods]
impl ProcessWorker {
    /// Waits for the parent's first message on the descriptor `link`, which is taken over, and sets up what is shared.
    /// Raises OSError, ValueError.
    #[staticmethod]
    fn connect(py: Python<'_>, link: i32) -> PyResult<Option<Self>> {
        // SAFETY: whoever started this process has given it the descriptor.
        let link = Link::from(unsafe { OwnedFd::from_raw_fd(link) });
        let Some(message) = py.detach(|| link.recv())? else {
            return Ok(None);
        };
        let Ok([down, up, board, bell, event]) = <[OwnedFd; 5]>::try_from(message.fds) else {
            return Err(PyRuntimeError::new_err("not the hello of a pool"));
        };
        let memory = Memory::open(down)?;
        // SAFETY: the parent hands each ring to one worker, which has one of these.
        let ring = unsafe { memory.consumer() };
        let worker = Self {
            down: Latch::new(Some(Downward {
                ring,
                _memory: memory,
            })),
            up: Upward::new(Memory::open(up)?, Doorbell::open(bell)?, event),
            board: Board::open(board)?,
            link,
            current: AtomicU64::new(0),
            interrupted: AtomicU64::new(0),
            generation: fork::generation(),
            hello: HeldSlot::default(),
            hooks: Hooks::default(),
        };
        worker
            .hello
            .fill(PyBytes::new(py, &message.bytes).into_any().into());
        orphan::watch(&worker.link)?;
        Ok(Some(worker))
    }

    /// What the parent said first.
    #[getter]
    fn hello<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(filled(&self.hello, py)?.to_owned())
    }

    /// What is done in Python: loads(data, *, buffers=()); failed(where, error, value) -> data,
    /// `where` being "call", "arguments" or "result"; stop, the exception that an interrupted call gets.
    #[pyo3(name = "use")]
    fn use_(&self, loads: Bound<'_, PyAny>, failed: Bound<'_, PyAny>, stop: Bound<'_, PyAny>) {
        for (slot, hook) in self.hooks.all().into_iter().zip([loads, failed, stop]) {
            slot.replace(Some(hook.into()));
        }
    }

    /// Takes calls and makes them until the parent says that it is enough ("retired"), is gone ("orphaned"), or this turns out
    /// to be a child that a task has forked ("forked"). What a signal's handler raises between two calls is raised here.
    fn serve(&self, py: Python<'_>) -> PyResult<&'static str> {
        let Some(mut down) = self.down.lock().take() else {
            return Err(PyRuntimeError::new_err("somebody serves already"));
        };
        let end = serve::serve(self, py, &mut down);
        *self.down.lock() = Some(down);
        Ok(match end? {
            serve::End::Retired => "retired",
            serve::End::Orphaned => "orphaned",
            serve::End::Forked => "forked",
        })
    }

    /// The handler of the interrupt's signal.
    fn interrupted(&self, py: Python<'_>, _number: i32, _frame: Bound<'_, PyAny>) -> PyResult<()> {
        self.stop_if_told(py)
    }

    /// The initializer has run.
    fn ready(&self, py: Python<'_>) -> PyResult<()> {
        self.up.send(self, py, super::protocol::up::READY, &[])
    }

    /// The initializer has failed, with this exception, pickled.
    fn unfit(&self, py: Python<'_>, error: &[u8]) -> PyResult<()> {
        let form = [super::protocol::form::PICKLE];
        self.up
            .send(self, py, super::protocol::up::UNFIT, &[&form, error])
    }

    /// A log record, pickled. False: this process may not write to the ring.
    fn log(&self, py: Python<'_>, record: &[u8]) -> PyResult<bool> {
        if self.is_forked() {
            return Ok(false);
        }
        self.up.send(self, py, super::protocol::up::LOG, &[record])?;
        Ok(true)
    }

    /// What was written to stream 1 or 2. It is sent when a line ends, when the call does, or by `flush`. False: as `log`.
    fn output(&self, py: Python<'_>, stream: u8, text: &[u8]) -> PyResult<bool> {
        if self.is_forked() {
            return Ok(false);
        }
        self.up.write(self, py, stream, text)?;
        Ok(true)
    }

    /// Sends what was written and is not sent yet.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_forked() {
            return Ok(());
        }
        self.up.flush(self, py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        for slot in self.hooks.all() {
            slot.traverse(&visit)?;
        }
        self.hello.traverse(&visit)
    }

    fn __clear__(&self) {
        for slot in self.hooks.all() {
            slot.replace(None);
        }
        self.hello.replace(None);
    }
}
