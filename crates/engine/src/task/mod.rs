//! The other side of the door: a task of any running event loop that waits for the same objects as threads do.
//!
//! [`TaskWait`] is the coroutine. At its first step it asks its [`Op`] for what it wants; if that is not to be had, it puts a
//! [`Node`] in the object's waiter list and suspends on a future of the running loop. Whoever pops the node
//! completes that future: at once if it is on the loop's own thread, else through the loop's ready queue (of a loop that is not
//! ours, by `call_soon_threadsafe`). The task then asks again, from the front of the list.
//!
//! A task that is cancelled leaves the list; if it had been notified, it passes that on. So does a node
//! whose loop has been closed. The list holds one reference to the node ([`Arc`]), which the hook takes over;
//! it is not visible to the collector, and need not be: the awaitable owns all that the node owns.

pub mod ready;

use crate::asyncio::await_::{Await, Drive, Driven, Machine, Resume, Step};
use crate::asyncio::future::Future;
use crate::asyncio::looping::{self, Entry, Native};
use crate::asyncio::sync::waiters::{running_loop, wake as wake_future};
use crate::door;
use crate::held::Held;
use plait_core::{Site, Waiter};
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi::PyObject;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyType};
use std::ptr::NonNull;
use std::sync::Arc;

/// What a task wants of an object.
pub trait Op: Send + Sync {
    /// Takes it if it is there: the first step's fast path, for which no future has to be made.
    ///
    /// # Errors
    /// What the `await` is to raise.
    fn try_now(&self, py: Python<'_>) -> PyResult<Option<Held>>;

    /// Takes it and returns the result of the `await`, or puts `waiter` in the list and returns None.
    ///
    /// # Errors
    /// What the `await` is to raise; the waiter is then in no list.
    fn poll(&self, py: Python<'_>, waiter: &Waiter, again: bool) -> PyResult<Option<Held>>;

    /// As [`Site::leave`].
    fn leave(&self, waiter: &Waiter) -> bool;

    /// As [`Site::pass_on`].
    fn pass_on(&self);

    /// What it holds on to, for the collector.
    ///
    /// # Errors
    /// What the visitor returns.
    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError>;
}

/// An [`Op`] that waits at a [`Site`] inside `object`, and has `True` as its result.
#[derive(Debug)]
pub struct SiteOp<F> {
    /// The object that holds the site.
    pub object: Held,
    /// Takes what the site has to give, if it is there.
    pub try_now: fn(*mut PyObject) -> bool,
    /// Finds the site in the object.
    pub site: F,
}

impl<F, S> Op for SiteOp<F>
where
    S: Site,
    F: Fn(*mut PyObject) -> S + Send + Sync,
{
    fn try_now(&self, py: Python<'_>) -> PyResult<Option<Held>> {
        Ok((self.try_now)(self.object.as_ptr()).then(|| truth(py)))
    }

    fn poll(&self, py: Python<'_>, waiter: &Waiter, again: bool) -> PyResult<Option<Held>> {
        let taken = (self.site)(self.object.as_ptr()).take_or_enqueue(waiter, again);
        Ok(taken.then(|| truth(py)))
    }

    fn leave(&self, waiter: &Waiter) -> bool {
        (self.site)(self.object.as_ptr()).leave(waiter)
    }

    fn pass_on(&self) {
        (self.site)(self.object.as_ptr()).pass_on();
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.object.traverse(visit)
    }
}

fn truth(py: Python<'_>) -> Held {
    PyBool::new(py, true).to_owned().into_any().into()
}

/// A waiter that is a task. The waiter comes first, so that a pointer to it is a pointer to the node.
#[repr(C)]
struct Node {
    waiter: Waiter,
    /// The loop, and the thread that it runs in.
    event_loop: Held,
    thread: usize,
    /// A native one in a loop of ours, else the loop's own.
    future: Held,
    op: Arc<dyn Op>,
}

/// Resumes the task. Called with the list's reference, attached.
unsafe fn resume(waiter: NonNull<Waiter>) {
    // SAFETY: task waiters are the first field of a node, and the list held a reference to it.
    let node = unsafe { Arc::from_raw(waiter.as_ptr().cast::<Node>().cast_const()) };
    node.waiter.mark_notified();
    // SAFETY: notifiers are attached, so attaching nests.
    unsafe {
        Python::attach_unchecked(|py| {
            if wake(py, &node).is_err() {
                // The loop is closed: nobody will come.
                node.op.pass_on();
            }
            drop(node);
        });
    }
}

/// Completes the future of a task, unless it is done (cancelled) already.
#[pyfunction]
fn complete(future: &Bound<'_, PyAny>) -> PyResult<()> {
    wake_future(future, future.py().None()).map(drop)
}

/// The same, out of the ready queue of a loop of ours.
fn complete_in_loop(future: &Bound<'_, PyAny>, _: &Bound<'_, PyAny>) -> PyResult<()> {
    complete(future)
}

fn wake(py: Python<'_>, node: &Node) -> PyResult<()> {
    let future = node.future.bind(py);
    let event_loop = node.event_loop.bind(py);
    let here = node.thread == door::ident();
    if let Some(core) = looping::of(&event_loop) {
        let core = core.get();
        if core.is_closed() {
            return Err(PyRuntimeError::new_err("Event loop is closed"));
        }
        if !here {
            let native = Native {
                run: complete_in_loop,
                object: future.to_owned().unbind(),
                argument: py.None(),
            };
            core.push_threadsafe(py, Entry::Native(native));
            return Ok(());
        }
    }
    if here {
        return complete(&future);
    }
    static COMPLETE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let complete = COMPLETE.get_or_try_init(py, || {
        Ok::<_, PyErr>(wrap_pyfunction!(complete, py)?.into_any().unbind())
    })?;
    let call = intern!(py, "call_soon_threadsafe");
    event_loop
        .call_method1(call, (complete.bind(py), &*future))
        .map(drop)
}

/// The error that `throw(kind, value)` of a coroutine means.
pub(crate) fn thrown(kind: Bound<'_, PyAny>, value: Option<Bound<'_, PyAny>>) -> PyResult<PyErr> {
    let value = value.filter(|value| !value.is_none());
    let error = match value {
        Some(value) if kind.is_instance_of::<PyType>() && !value.is_instance(&kind)? => {
            kind.call1((value,))?
        }
        Some(value) => value,
        None if kind.is_instance_of::<PyType>() => kind.call0()?,
        None => kind,
    };
    Ok(PyErr::from_value(error))
}

/// What `await` waits with: the coroutine of an [`Op`].
pub struct TaskWait {
    op: Arc<dyn Op>,
    state: State,
}

enum State {
    New,
    /// The node; and the steps of its future, where that is not ours.
    Waiting(Arc<Node>, Option<Drive>),
    Done,
}

impl TaskWait {
    /// A coroutine for `op`.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn create(py: Python<'_>, op: impl Op + 'static) -> PyResult<Bound<'_, Await>> {
        let wait = Self {
            op: Arc::new(op),
            state: State::New,
        };
        Await::create(py, wait)
    }

    /// Asks, and suspends if the answer is no.
    fn begin(&mut self, py: Python<'_>, again: bool) -> PyResult<Step> {
        self.state = State::Done;
        let event_loop = running_loop(py)?;
        let ours = looping::of(&event_loop).is_some();
        let future = if ours {
            Future::create(py, &event_loop)?.into_any()
        } else {
            event_loop.call_method0(intern!(py, "create_future"))?
        };
        let node = Arc::new(Node {
            waiter: Waiter::task(resume),
            event_loop: event_loop.into(),
            thread: door::ident(),
            future: future.clone().into(),
            op: Arc::clone(&self.op),
        });
        // The list's reference, in case.
        let listed = Arc::into_raw(Arc::clone(&node));
        let polled = self.op.poll(py, &node.waiter, again);
        if !matches!(polled, Ok(None)) {
            // SAFETY: the node is in no list, so the reference is ours.
            drop(unsafe { Arc::from_raw(listed) });
        }
        if let Some(result) = polled? {
            return Ok(Step::Return(result.into_bound(py).unbind()));
        }
        if ours {
            self.state = State::Waiting(node, None);
            return Ok(Step::Wait(future.cast_into::<Future>()?.unbind()));
        }
        let steps = Drive::new(&future);
        self.state = State::Waiting(node, None);
        self.drive(py, steps?)
    }

    /// The next step of a future that is not ours.
    fn drive(&mut self, py: Python<'_>, steps: Drive) -> PyResult<Step> {
        match steps.step(py, Resume::Next) {
            Ok(Driven::Suspends(step)) => {
                if let State::Waiting(_, place) = &mut self.state {
                    *place = Some(steps);
                }
                Ok(step)
            }
            Ok(Driven::Returned(_)) => self.look_again(py),
            Err(error) => {
                self.leave();
                Err(error)
            }
        }
    }

    /// The future is done.
    fn look_again(&mut self, py: Python<'_>) -> PyResult<Step> {
        let notified = matches!(&self.state, State::Waiting(node, _) if node.waiter.notified().is_some());
        if !notified {
            // Somebody else completed our future.
            self.leave();
        }
        self.begin(py, notified)
    }

    /// Gives up.
    fn leave(&mut self) {
        if let State::Waiting(node, _steps) = std::mem::replace(&mut self.state, State::Done) {
            if self.op.leave(&node.waiter) {
                // SAFETY: the list held this reference, and the node is out of it.
                drop(unsafe { Arc::from_raw(Arc::as_ptr(&node)) });
            } else {
                self.op.pass_on();
            }
        }
    }
}

impl Machine for TaskWait {
    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        if let Resume::Throw(error) = resume {
            self.leave();
            return Err(error);
        }
        match &mut self.state {
            State::New => match self.op.try_now(py)? {
                Some(result) => {
                    self.state = State::Done;
                    Ok(Step::Return(result.into_bound(py).unbind()))
                }
                None => self.begin(py, false),
            },
            State::Waiting(_, steps) => match steps.take() {
                Some(steps) => self.drive(py, steps),
                None => self.look_again(py),
            },
            State::Done => Ok(Step::ReturnNone),
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.op.traverse(visit)?;
        if let State::Waiting(node, steps) = &self.state {
            node.event_loop.traverse(visit)?;
            node.future.traverse(visit)?;
            steps.as_ref().map_or(Ok(()), |steps| steps.traverse(visit))?;
        }
        Ok(())
    }
}

impl Drop for TaskWait {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Puts the raw slots into the types of the awaits that are over at once.
pub fn init(py: Python<'_>) {
    ready::init(py);
}
