//! The loop as Python sees it.

use super::handle::Handle;
use super::io::{self, Direction, Watcher};
use super::{Entry, LoopCore, ready};
use crate::asyncio::await_;
use crate::asyncio::future::Future;
use crate::asyncio::future::object;
use crate::held::Held;
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyTuple, PyType};
use std::os::fd::{IntoRawFd, RawFd};
use std::sync::atomic::Ordering;

impl LoopCore {
    fn watch_handle<'py>(
        slf: &Bound<'py, Self>,
        file: &Bound<'py, PyAny>,
        direction: Direction,
        callback: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, Handle>> {
        slf.get().check_closed()?;
        let fd = descriptor(file)?;
        let handle = Self::handle_of(slf, callback, args)?;
        let watcher = Watcher::Handle(handle.clone().unbind());
        let old = slf.get().set_watcher(slf.py(), fd, direction, Some(watcher))?;
        io::cancel(slf.py(), old)?;
        Ok(handle)
    }

    fn unwatch_object(&self, file: &Bound<'_, PyAny>, direction: Direction) -> PyResult<bool> {
        if self.is_closed() {
            return Ok(false);
        }
        let fd = descriptor(file)?;
        Ok(self.unwatch(file.py(), fd, direction))
    }
}

/// The descriptor of a file object or number, as `selectors` sees it.
fn descriptor(file: &Bound<'_, PyAny>) -> PyResult<RawFd> {
    let number = if file.is_instance_of::<PyInt>() {
        file.extract::<RawFd>()?
    } else {
        let number = file
            .call_method0(intern!(file.py(), "fileno"))
            .and_then(|number| number.call_method0("__int__"))
            .and_then(|number| number.extract::<RawFd>());
        match number {
            Ok(number) => number,
            Err(_) => {
                return Err(PyValueError::new_err(format!(
                    "Invalid file object: {}",
                    file.repr()?
                )));
            }
        }
    };
    if number < 0 {
        return Err(PyValueError::new_err(format!(
            "Invalid file descriptor: {number}"
        )));
    }
    Ok(number)
}

#[pymethods]
impl LoopCore {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(
        class: &Bound<'_, PyType>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        Self::create(class)
    }

    /// A future of this loop.
    fn create_future<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Future>> {
        Future::create(slf.py(), slf.as_any())
    }

    /// A descriptor that is readable once the process has ended: as `os.pidfd_open`, which not every build has.
    #[staticmethod]
    fn _pidfd_open(pid: i32) -> PyResult<RawFd> {
        Ok(plait_reactor::poller::process(pid)?.into_raw_fd())
    }

    #[pyo3(signature = (fd, callback, *args))]
    fn _add_reader<'py>(
        slf: &Bound<'py, Self>,
        fd: &Bound<'py, PyAny>,
        callback: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, Handle>> {
        Self::watch_handle(slf, fd, Direction::Read, callback, args)
    }

    #[pyo3(signature = (fd, callback, *args))]
    fn _add_writer<'py>(
        slf: &Bound<'py, Self>,
        fd: &Bound<'py, PyAny>,
        callback: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, Handle>> {
        Self::watch_handle(slf, fd, Direction::Write, callback, args)
    }

    fn _remove_reader(&self, fd: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.unwatch_object(fd, Direction::Read)
    }

    fn _remove_writer(&self, fd: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.unwatch_object(fd, Direction::Write)
    }

    /// Puts a handle in the ready queue, unless it is cancelled.
    fn _add_callback(&self, handle: &Bound<'_, PyAny>) {
        let py = handle.py();
        let entry = match handle.cast::<Handle>() {
            Ok(own) if own.get().is_cancelled() => return,
            Ok(own) => Entry::Handle(own.clone().unbind()),
            Err(_) => Entry::Native(ready::foreign(py, handle.clone().unbind())),
        };
        self.push_threadsafe(py, entry);
    }

    fn _add_callback_signalsafe(&self, handle: &Bound<'_, PyAny>) {
        self._add_callback(handle);
    }

    /// Ends the loop's sleep.
    fn _write_to_self(&self) {
        self.wake();
    }

    /// What is watched: descriptor -> (reader, writer).
    fn _watched<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let mut all = Vec::new();
        {
            let io = self.io.lock();
            for (fd, watchers) in io.iter() {
                let object = |watcher: &Option<Watcher>| watcher.as_ref().map(|watcher| watcher.object(py));
                all.push((fd, object(&watchers.read), object(&watchers.write)));
            }
        }
        let map = PyDict::new(py);
        for (fd, read, write) in all {
            map.set_item(fd, (read, write))?;
        }
        Ok(map)
    }

    /// Runs until `stop()`.
    fn _run(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::run(slf)
    }

    /// Drops whatever was to be run.
    fn _drop_all(&self) {
        self.clear();
    }

    /// Stops after this turn.
    fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    #[pyo3(name = "is_closed")]
    fn py_is_closed(&self) -> bool {
        self.is_closed()
    }

    fn is_running(&self) -> bool {
        self.thread.load(Ordering::Relaxed) != 0
    }

    fn get_debug(&self) -> bool {
        self.is_debug()
    }

    #[getter]
    fn _debug(&self) -> bool {
        self.is_debug()
    }

    #[setter(_debug)]
    fn put_debug(&self, debug: &Bound<'_, PyAny>) -> PyResult<()> {
        self.debug.store(debug.is_truthy()?, Ordering::Relaxed);
        Ok(())
    }

    #[getter]
    fn _task_factory(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.factory.get(py).map(|factory| factory.to_owned().unbind())
    }

    #[setter(_task_factory)]
    fn put_task_factory(&self, factory: &Bound<'_, PyAny>) {
        let factory = Some(factory.clone()).filter(|factory| !factory.is_none());
        self.has_factory.store(factory.is_some(), Ordering::Relaxed);
        self.factory.replace(factory.map(Held::from));
    }

    #[getter]
    fn _closed(&self) -> bool {
        self.is_closed()
    }

    #[setter(_closed)]
    fn put_closed(&self, closed: bool) {
        self.closed.store(closed, Ordering::Relaxed);
        if closed {
            // What a burst of tasks has left behind is for the next burst in this loop.
            await_::trim();
            object::trim();
        }
    }

    #[getter]
    fn _stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    #[setter(_stopping)]
    fn put_stopping(&self, stopping: bool) {
        self.stopping.store(stopping, Ordering::Relaxed);
    }

    #[getter]
    fn _thread_id(&self) -> Option<u64> {
        match self.thread.load(Ordering::Relaxed) {
            0 => None,
            thread => Some(thread),
        }
    }

    #[setter(_thread_id)]
    fn put_thread_id(&self, thread: Option<u64>) {
        self.thread.store(thread.unwrap_or(0), Ordering::Relaxed);
        self.roster.clear();
        if let Some(ident) = thread.and_then(|thread| usize::try_from(thread).ok()) {
            self.roster.enter(ident);
        }
    }

    /// Whether callbacks are timed one by one outside of debug mode, too.
    fn _time_callbacks(&self, on: bool) {
        self.timed.store(on, Ordering::Relaxed);
    }

    /// The number of the callback that runs, and for how many seconds it has; if they are timed.
    fn _callback_running(&self) -> Option<(u64, f64)> {
        self.callback_running()
    }

    /// How many entries are ready.
    fn _ready_count(&self) -> usize {
        self.ready.lock().len()
    }

    /// How many timers wait.
    fn _timer_count(&self) -> usize {
        self.timers.lock().len()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.traverse(&visit)
    }

    fn __clear__(&self) {
        self.factory.replace(None);
        self.clear();
    }
}
