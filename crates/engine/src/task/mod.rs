//! The other side of the door: a task of any running event loop that waits for the same objects as threads do.
//!
//! [`TaskWait`] is the awaitable. At its first step it asks its [`Op`] for what it wants; if that is not to be had, it puts a
//! [`Node`] in the object's waiter list and suspends on a future of the running loop. Whoever pops the node
//! completes that future: at once if it is on the loop's own thread, else by `call_soon_threadsafe`. The task then
//! asks again, from the front of the list.
//!
//! A task that is cancelled leaves the list; if it had been notified, it passes that on. So does a node
//! whose loop has been closed. The list holds one reference to the node ([`Arc`]), which the hook takes over;
//! it is not visible to the collector, and need not be: the awaitable owns all that the node owns.

pub mod ready;

use crate::door;
use crate::held::Held;
use plait_core::{Site, Waiter};
use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::ffi::{self, PyObject};
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
    let py = future.py();
    if !future.call_method0(intern!(py, "done"))?.is_truthy()? {
        future.call_method1(intern!(py, "set_result"), (py.None(),))?;
    }
    Ok(())
}

fn wake(py: Python<'_>, node: &Node) -> PyResult<()> {
    let future = node.future.bind(py);
    if node.thread == door::ident() {
        return complete(&future);
    }
    static COMPLETE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let complete = COMPLETE.get_or_try_init(py, || {
        Ok::<_, PyErr>(wrap_pyfunction!(complete, py)?.into_any().unbind())
    })?;
    let call = intern!(py, "call_soon_threadsafe");
    node.event_loop
        .bind(py)
        .call_method1(call, (complete.bind(py), &*future))
        .map(drop)
}

/// What `await` waits with: a coroutine-like object that starts when it is first stepped.
#[pyclass(module = "plait", name = "TaskWait")]
pub struct TaskWait {
    op: Arc<dyn Op>,
    state: State,
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

/// What a step comes to.
enum Step<'py> {
    /// Suspends on this.
    Yield(Bound<'py, PyAny>),
    /// The wait is over.
    Return(Held),
}

impl<'py> Step<'py> {
    /// As Python's methods have it.
    fn into_result(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Yield(future) => Ok(future),
            Self::Return(result) => Err(PyStopIteration::new_err((result.into_bound(py).unbind(),))),
        }
    }
}

enum State {
    New,
    /// The node, and the iterator of its future.
    Waiting(Arc<Node>, Held),
    Done,
}

impl TaskWait {
    /// An awaitable for `op`.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn create(py: Python<'_>, op: impl Op + 'static) -> PyResult<Bound<'_, Self>> {
        Bound::new(
            py,
            Self {
                op: Arc::new(op),
                state: State::New,
            },
        )
    }

    fn step<'py>(&mut self, py: Python<'py>) -> PyResult<Step<'py>> {
        let mut again = false;
        match &self.state {
            State::Done => return Err(PyRuntimeError::new_err("cannot reuse already awaited wait")),
            State::New => {
                if let Some(result) = self.op.try_now(py)? {
                    self.state = State::Done;
                    return Ok(Step::Return(result));
                }
            }
            State::Waiting(node, steps) => match steps.bind(py).call_method0(intern!(py, "__next__")) {
                Ok(future) => return Ok(Step::Yield(future)),
                Err(error) if error.is_instance_of::<PyStopIteration>(py) => {
                    again = node.waiter.notified().is_some();
                    if !again {
                        // Somebody else completed our future.
                        self.leave();
                    }
                }
                Err(error) => {
                    self.leave();
                    return Err(error);
                }
            },
        }
        self.begin(py, again)
    }

    /// Asks, and suspends if the answer is no.
    fn begin<'py>(&mut self, py: Python<'py>, again: bool) -> PyResult<Step<'py>> {
        static RUNNING_LOOP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let running = RUNNING_LOOP.get_or_try_init(py, || {
            Ok::<_, PyErr>(py.import("asyncio")?.getattr("get_running_loop")?.unbind())
        })?;
        self.state = State::Done;
        let event_loop = running.bind(py).call0()?;
        let future = event_loop.call_method0(intern!(py, "create_future"))?;
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
            return Ok(Step::Return(result));
        }
        let steps = future.call_method0(intern!(py, "__await__"))?;
        self.state = State::Waiting(node, steps.clone().into());
        steps.call_method0(intern!(py, "__next__")).map(Step::Yield)
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

impl Drop for TaskWait {
    fn drop(&mut self) {
        self.leave();
    }
}

#[pymethods]
impl TaskWait {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.step(py)?.into_result(py)
    }

    /// One step, as of a coroutine.
    fn send<'py>(&mut self, py: Python<'py>, _value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.step(py)?.into_result(py)
    }

    /// Ends the wait with an exception, as of a coroutine.
    #[pyo3(signature = (kind, value=None, _traceback=None))]
    fn throw(
        &mut self,
        kind: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        _traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        self.leave();
        self.state = State::Done;
        Err(thrown(kind, value)?)
    }

    /// Ends the wait, as of a coroutine.
    fn close(&mut self) {
        self.leave();
        self.state = State::Done;
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.op.traverse(&visit)?;
        if let State::Waiting(node, steps) = &self.state {
            node.event_loop.traverse(&visit)?;
            node.future.traverse(&visit)?;
            steps.traverse(&visit)?;
        }
        Ok(())
    }

    fn __clear__(&mut self) {
        self.leave();
        self.state = State::Done;
    }
}

/// `tp_iternext`: what `await` calls. Sets StopIteration itself, at half the price of an error made by PyO3.
unsafe extern "C" fn next(slf: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a TaskWait, attached.
    unsafe {
        Python::attach_unchecked(|py| {
            let wait = Borrowed::from_ptr(py, slf).cast_unchecked::<TaskWait>();
            let step = match wait.try_borrow_mut() {
                Ok(mut wait) => wait.step(py),
                Err(error) => Err(error.into()),
            };
            match step {
                Ok(Step::Yield(future)) => return future.into_ptr(),
                Ok(Step::Return(result)) if simple(&result) => {
                    ffi::PyErr_SetObject(ffi::PyExc_StopIteration, result.as_ptr());
                }
                Ok(step) => {
                    if let Err(stop) = step.into_result(py) {
                        stop.restore(py);
                    }
                }
                Err(error) => error.restore(py),
            }
            std::ptr::null_mut()
        })
    }
}

/// Whether the interpreter takes `value` for the only argument of an exception: not if it is a tuple or an exception.
fn simple(value: &Held) -> bool {
    // SAFETY: a held object is alive.
    unsafe { ffi::PyTuple_Check(value.as_ptr()) == 0 && ffi::PyExceptionInstance_Check(value.as_ptr()) == 0 }
}

/// Puts the raw slot into the awaitable's type.
pub fn init(py: Python<'_>) {
    // SAFETY: the type is ours, and has not been used yet; the slot does what PyO3's does.
    unsafe { (*py.get_type::<TaskWait>().as_type_ptr()).tp_iternext = Some(next) };
    ready::init(py);
}
