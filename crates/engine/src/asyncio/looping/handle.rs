//! `Handle`: what `call_soon` returns. Behaviour as `asyncio.Handle`. (`call_later`'s: `timer_handle`.)
//!
//! Handles are no subclasses of the standard library's (whose slots would cost each handle 64 bytes and a Python constructor), but say so when
//! asked for their `__class__`, so `isinstance` holds. What is only looked at (repr, the traceback of the place where it was made)
//! is the standard library's own code.
//!
//! Long because a handle's call, its rare parts and its face are of no use apart.

use super::LoopCore;
use super::ready::leaves;
use super::timer_handle::TimerHandle;
use crate::deadlock::Anyone;
use crate::door;
use crate::guarded::Guarded;
use crate::held::Held;
use crate::limit::Limit;
use plait_core::EventWord;
use pyo3::ffi::{self, PyObject};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a handle calls.
#[derive(Debug)]
pub struct Call {
    pub callback: Held,
    pub args: SmallVec<[Held; 2]>,
    pub context: Held,
}

impl Call {
    #[inline]
    fn clone_ref(&self, py: Python<'_>) -> Self {
        Self {
            callback: self.callback.clone_ref(py),
            args: self.args.iter().map(|arg| arg.clone_ref(py)).collect(),
            context: self.context.clone_ref(py),
        }
    }

    /// Calls the callback in its context.
    #[inline]
    fn run(&self, py: Python<'_>) -> PyResult<()> {
        // SAFETY: the objects are alive as long as `self`; `Held` is one pointer, so the arguments are an array of them.
        unsafe {
            if ffi::PyContext_Enter(self.context.as_ptr()) != 0 {
                return Err(PyErr::fetch(py));
            }
            let result = ffi::PyObject_Vectorcall(
                self.callback.as_ptr(),
                self.args.as_ptr().cast::<*mut PyObject>(),
                self.args.len(),
                std::ptr::null_mut(),
            );
            let error = if result.is_null() {
                Some(PyErr::fetch(py))
            } else {
                None
            };
            if ffi::PyContext_Exit(self.context.as_ptr()) != 0 {
                let exit = PyErr::fetch(py);
                ffi::Py_XDECREF(result);
                return Err(error.unwrap_or(exit));
            }
            match error {
                Some(error) => Err(error),
                None => {
                    ffi::Py_DECREF(result);
                    Ok(())
                }
            }
        }
    }
}

/// What few handles have.
#[derive(Debug, Default)]
struct Rare {
    /// In debug mode: where it was made.
    source_traceback: Option<Held>,
    /// In debug mode, once it is cancelled: what it looked like before.
    repr: Option<Held>,
    /// While a handle of `call_soon_threadsafe` runs.
    running: Option<Running>,
}

/// Where a handle runs, and who waits for its end.
#[derive(Debug)]
struct Running {
    thread: libc::pthread_t,
    finished: Option<Arc<EventWord>>,
}

/// From 3.14 on, who cancels a handle of `call_soon_threadsafe` from another thread waits for the end of a callback that runs.
const WAITS_FOR_ITS_END: bool = cfg!(Py_3_14);

/// A callback that is to be run, and can be cancelled.
#[pyclass(subclass, frozen, weakref, module = "plait.asyncio")]
#[derive(Debug)]
pub struct Handle {
    /// None once it is cancelled.
    call: Guarded<Option<Call>>,
    cancelled: AtomicBool,
    event_loop: Held,
    rare: Guarded<Option<Box<Rare>>>,
    /// Made by `call_soon_threadsafe`.
    threadsafe: bool,
}

impl Handle {
    /// A handle of `core` that runs `call`.
    #[inline]
    pub fn new(core: &Bound<'_, LoopCore>, call: Call, threadsafe: bool) -> Self {
        Self {
            call: Guarded::new(Some(call)),
            cancelled: AtomicBool::new(false),
            event_loop: core.clone().into_any().into(),
            rare: Guarded::new(None),
            threadsafe,
        }
    }

    /// Remembers where it was made: called in debug mode by whoever makes one for Python code.
    ///
    /// # Errors
    /// What `traceback` raises.
    pub fn trace(&self, py: Python<'_>) -> PyResult<()> {
        let frame = py
            .import(intern!(py, "sys"))?
            .call_method1(intern!(py, "_getframe"), (0,))?;
        let stack = py
            .import(intern!(py, "asyncio.format_helpers"))?
            .call_method1(intern!(py, "extract_stack"), (frame,))?;
        let old = self
            .rare
            .lock()
            .get_or_insert_default()
            .source_traceback
            .replace(stack.into());
        drop(old);
        Ok(())
    }

    /// Whether it is cancelled.
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Calls the callback, unless it is cancelled.
    ///
    /// # Errors
    /// `KeyboardInterrupt` and `SystemExit`; the loop's exception handler gets the rest.
    #[inline]
    pub fn run(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let shared = !is_alone(slf);
        let _running = (WAITS_FOR_ITS_END && this.threadsafe && shared).then(|| Runs::new(this));
        // Nobody else has it, so nobody can cancel it or look at it: the call is used up. Else a copy of it runs, since
        // the callback may cancel its own handle.
        let call = if shared {
            this.call.lock().as_ref().map(|call| call.clone_ref(py))
        } else {
            this.call.lock().take()
        };
        let Some(call) = call else { return Ok(()) };
        match call.run(py) {
            Ok(()) => Ok(()),
            Err(error) => {
                // The report shows the callback.
                if !this.is_cancelled() {
                    let old = this.call.lock().replace(call);
                    drop(old);
                }
                failed(slf, error)
            }
        }
    }

    /// Cancels it; false if it was already.
    ///
    /// # Errors
    /// In debug mode, what its representation raises.
    pub fn cancel(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let this = slf.get();
        Self::wait_for_end(slf)?;
        if this.cancelled.swap(true, Ordering::AcqRel) {
            return Ok(false);
        }
        let debugging = this.core(slf.py()).is_some_and(|core| core.get().is_debug());
        if debugging {
            // The callback's representation might be expensive, or gone, when somebody asks after it.
            this.cancelled.store(false, Ordering::Relaxed);
            let text = slf.repr()?;
            this.cancelled.store(true, Ordering::Relaxed);
            let old = this
                .rare
                .lock()
                .get_or_insert_default()
                .repr
                .replace(text.into_any().into());
            drop(old);
        }
        let call = this.call.lock().take();
        drop(call);
        // Without a GIL it may have begun meanwhile: who runs it says so before it looks at the call.
        Self::wait_for_end(slf)?;
        Ok(true)
    }

    /// Waits until a callback that runs in another thread has ended.
    fn wait_for_end(slf: &Bound<'_, Self>) -> PyResult<()> {
        if !(WAITS_FOR_ITS_END && slf.get().threadsafe) {
            return Ok(());
        }
        let finished = {
            let mut rare = slf.get().rare.lock();
            let running = rare.as_mut().and_then(|rare| rare.running.as_mut());
            running
                .filter(|running| running.thread != this_thread())
                .map(|running| running.finished.get_or_insert_default().clone())
        };
        if let Some(finished) = finished {
            let reason = Anyone {
                object: slf.as_ptr(),
                action: "wait for",
            };
            door::wait(slf.py(), &*finished, Limit::Never, &reason)?;
        }
        Ok(())
    }

    pub(super) fn core<'py>(&self, py: Python<'py>) -> Option<Bound<'py, LoopCore>> {
        self.event_loop
            .bind(py)
            .cast::<LoopCore>()
            .ok()
            .map(|core| (*core).clone())
    }

    pub(super) fn args<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let args: Option<SmallVec<[Held; 2]>> = self
            .call
            .lock()
            .as_ref()
            .map(|call| call.args.iter().map(|arg| arg.clone_ref(py)).collect());
        args.map(|args| PyTuple::new(py, args.into_iter().map(|arg| arg.into_bound(py))))
            .transpose()
    }
}

fn this_thread() -> libc::pthread_t {
    // SAFETY: it is always there.
    unsafe { libc::pthread_self() }
}

/// That a handle runs, as long as this lives.
struct Runs<'a>(&'a Handle);

impl<'a> Runs<'a> {
    pub(super) fn new(handle: &'a Handle) -> Self {
        handle.rare.lock().get_or_insert_default().running = Some(Running {
            thread: this_thread(),
            finished: None,
        });
        Self(handle)
    }
}

impl Drop for Runs<'_> {
    fn drop(&mut self) {
        let running = self.0.rare.lock().as_mut().and_then(|rare| rare.running.take());
        if let Some(finished) = running.and_then(|running| running.finished) {
            finished.set();
        }
    }
}

/// Whether the caller's reference is the only one.
#[inline]
fn is_alone(handle: &Bound<'_, Handle>) -> bool {
    // SAFETY: a live object. Where there is no GIL, others may have references that are not counted here.
    cfg!(not(Py_GIL_DISABLED)) && unsafe { pyo3::ffi::Py_REFCNT(handle.as_ptr()) } == 1
}

#[cold]
fn failed(handle: &Bound<'_, Handle>, error: PyErr) -> PyResult<()> {
    let py = handle.py();
    if leaves(py, &error) {
        return Err(error);
    }
    let event_loop = handle.get().event_loop.bind(py);
    event_loop.call_method1(intern!(py, "_callback_failed"), (handle, error.into_value(py)))?;
    Ok(())
}

/// The standard library's class of this name in `asyncio.events`.
macro_rules! standard {
    ($py:expr, $name:literal) => {{
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        CLASS.import($py, "asyncio.events", $name)
    }};
}

#[pymethods]
impl Handle {
    /// Does not run the callback; without effect if it has run.
    #[pyo3(name = "cancel")]
    fn py_cancel(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::cancel(slf).map(|_| ())
    }

    /// Whether it was cancelled.
    fn cancelled(slf: &Bound<'_, Self>) -> PyResult<bool> {
        Self::wait_for_end(slf)?;
        Ok(slf.get().is_cancelled())
    }

    /// Calls the callback.
    #[pyo3(name = "_run")]
    fn py_run(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::run(slf)
    }

    #[getter]
    fn _cancelled(&self) -> bool {
        self.is_cancelled()
    }

    #[getter]
    pub(super) fn _callback(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let callback = self.call.lock().as_ref().map(|call| call.callback.clone_ref(py));
        callback.map(|callback| callback.into_bound(py).unbind())
    }

    #[getter]
    fn _args<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        self.args(py)
    }

    #[getter]
    fn _context(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let context = self.call.lock().as_ref().map(|call| call.context.clone_ref(py));
        context.map(|context| context.into_bound(py).unbind())
    }

    /// The context in which the callback runs.
    #[cfg(Py_3_12)]
    fn get_context(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self._context(py)
    }

    #[getter]
    fn _loop(&self, py: Python<'_>) -> Py<PyAny> {
        self.event_loop.bind(py).to_owned().unbind()
    }

    #[getter]
    fn _source_traceback(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let rare = self.rare.lock();
        let stack = rare.as_ref()?.source_traceback.as_ref()?.clone_ref(py);
        drop(rare);
        Some(stack.into_bound(py).unbind())
    }

    #[getter]
    fn _repr(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let rare = self.rare.lock();
        let text = rare.as_ref()?.repr.as_ref()?.clone_ref(py);
        drop(rare);
        Some(text.into_bound(py).unbind())
    }

    pub(super) fn _repr_info<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        standard!(slf.py(), "Handle")?.call_method1(intern!(slf.py(), "_repr_info"), (slf,))
    }

    fn __repr__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        standard!(slf.py(), "Handle")?.call_method1(intern!(slf.py(), "__repr__"), (slf,))
    }

    #[getter(__class__)]
    fn class(slf: &Bound<'_, Self>) -> PyResult<Py<PyType>> {
        if !slf.is_exact_instance_of::<Self>() && !slf.is_exact_instance_of::<TimerHandle>() {
            return Ok(slf.get_type().unbind());
        }
        let class = if slf.is_exact_instance_of::<TimerHandle>() {
            standard!(slf.py(), "TimerHandle")?
        } else if WAITS_FOR_ITS_END && slf.get().threadsafe {
            standard!(slf.py(), "_ThreadSafeHandle")?
        } else {
            standard!(slf.py(), "Handle")?
        };
        Ok(class.clone().unbind())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.event_loop.traverse(&visit)?;
        if let Some(call) = self.call.try_lock()
            && let Some(call) = call.as_ref()
        {
            call.callback.traverse(&visit)?;
            call.context.traverse(&visit)?;
            for arg in &call.args {
                arg.traverse(&visit)?;
            }
        }
        if let Some(rare) = self.rare.try_lock()
            && let Some(stack) = rare.as_ref().and_then(|rare| rare.source_traceback.as_ref())
        {
            stack.traverse(&visit)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let call = self.call.lock().take();
        let rare = self.rare.lock().take();
        drop((call, rare));
    }
}
