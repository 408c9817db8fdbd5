//! What Python sees of a reader: the methods of `StreamReader`, and the attributes that the standard library's code uses.

use super::buffer::Buffer;
use super::face::Kind;
use super::read::{Read, Want};
use super::reader::{DEFAULT_LIMIT, HOOKS, State, StreamReaderCore, limit_of};
use crate::asyncio::await_::Await;
use crate::guarded::Guarded;
use pyo3::exceptions::{PyAssertionError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyDict, PyTuple};
use pyo3::{PyTypeInfo, intern};
use std::sync::atomic::{AtomicBool, Ordering};

#[pymethods]
impl StreamReaderCore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            state: Guarded::new(State::default()),
            plain: AtomicBool::new(true),
            feeds: AtomicBool::new(true),
            built: true,
        }
    }

    #[pyo3(signature = (limit=None, r#loop=None))]
    fn __init__(
        slf: &Bound<'_, Self>,
        limit: Option<&Bound<'_, PyAny>>,
        r#loop: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        let limit = limit.map_or(Ok(DEFAULT_LIMIT), limit_of)?;
        if limit == 0 {
            return Err(PyValueError::new_err("Limit cannot be <= 0"));
        }
        let event_loop = match r#loop {
            Some(event_loop) => event_loop,
            None => super::current_loop(py)?,
        };
        let core = Self::type_object(py);
        let plain = !Kind::Reader.overrides(slf.as_any(), &core, &HOOKS)?;
        let feeds = !Kind::Reader.overrides(slf.as_any(), &core, &["feed_data"])?;
        this.plain.store(plain, Ordering::Relaxed);
        this.feeds.store(feeds, Ordering::Relaxed);
        let new = State {
            limit,
            event_loop: Some(event_loop.clone().into()),
            ..State::default()
        };
        let old = std::mem::replace(&mut *this.state.lock(), new);
        drop(old);
        if super::in_debug(&event_loop)? {
            slf.setattr(intern!(py, "_source_traceback"), super::source_traceback(py)?)?;
        }
        Ok(())
    }

    /// Returns the exception that was set, if any.
    fn exception<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.error(py)
    }

    /// Makes every later read raise exc, and the one that waits.
    fn set_exception(&self, py: Python<'_>, exc: Bound<'_, PyAny>) -> PyResult<()> {
        self.set(Some(exc.clone()), |state| &mut state.exception);
        let waiter = self.state.lock().waiter.take();
        if let Some(waiter) = waiter {
            let waiter = waiter.into_bound(py);
            if !waiter.call_method0(intern!(py, "cancelled"))?.is_truthy()? {
                waiter.call_method1(intern!(py, "set_exception"), (exc,))?;
            }
        }
        Ok(())
    }

    fn _wakeup_waiter(&self, py: Python<'_>) -> PyResult<()> {
        self.wake(py)
    }

    /// Names the transport that is paused and resumed.
    fn set_transport(&self, py: Python<'_>, transport: Bound<'_, PyAny>) -> PyResult<()> {
        if self.get(py, |state| &mut state.transport).is_some() {
            return Err(PyAssertionError::new_err("Transport already set"));
        }
        self.set(Some(transport), |state| &mut state.transport);
        Ok(())
    }

    fn _replace_transport(&self, py: Python<'_>, transport: Bound<'_, PyAny>) -> PyResult<()> {
        if self.get(py, |state| &mut state.transport).is_none() {
            return Err(PyAssertionError::new_err("Transport not set"));
        }
        self.set(Some(transport), |state| &mut state.transport);
        Ok(())
    }

    fn _maybe_resume_transport(&self, py: Python<'_>) -> PyResult<()> {
        self.maybe_resume(py)
    }

    /// Says that no more will come.
    fn feed_eof(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().state.lock().eof = true;
        if slf.get().is_plain() {
            return slf.get().wake(slf.py());
        }
        slf.call_method0(intern!(slf.py(), "_wakeup_waiter")).map(drop)
    }

    /// Whether feed_eof() was called and everything has been read.
    fn at_eof(&self) -> bool {
        let state = self.state.lock();
        state.eof && state.buffer.is_empty()
    }

    /// Adds data.
    fn feed_data(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::feed(slf, data)
    }

    fn _wait_for_data<'py>(slf: &Bound<'py, Self>, func_name: String) -> PyResult<Bound<'py, PyAny>> {
        Await::create(slf.py(), Read::new(slf, Want::More(Box::new(func_name)))).map(Bound::into_any)
    }

    /// Reads up to n bytes as soon as there are some; all until the end if n is negative.
    #[pyo3(signature = (n=None))]
    fn read<'py>(slf: &Bound<'py, Self>, n: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let want = match n {
            None => Want::All(Box::default()),
            Some(n) => match n.extract::<isize>()? {
                n if n < 0 => Want::All(Box::default()),
                n => Want::Some(n.unsigned_abs()),
            },
        };
        match n {
            Some(n) => Self::reading(slf, want, "read", &[n]),
            None => Self::reading(slf, want, "read", &[]),
        }
    }

    /// Reads a line; what is left at the end, if it has no line end. ValueError if it is longer than the limit.
    fn readline<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::reading(slf, Want::Line, "readline", &[])
    }

    /// Reads to the separator (from 3.13 on: the first of a tuple), and returns it too.
    #[pyo3(signature = (separator=None))]
    fn readuntil<'py>(
        slf: &Bound<'py, Self>,
        separator: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match separator {
            None => Self::reading(slf, Want::Newline, "readuntil", &[]),
            Some(separator) => {
                let want = Want::Until(separator.clone().into());
                Self::reading(slf, want, "readuntil", &[separator])
            }
        }
    }

    /// Reads just n bytes; IncompleteReadError if there are fewer.
    fn readexactly<'py>(slf: &Bound<'py, Self>, n: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        Self::reading(slf, Want::Exactly(n.extract()?), "readexactly", &[n])
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __anext__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::reading(slf, Want::Next, "__anext__", &[])
    }

    #[getter]
    fn _buffer<'py>(&self, py: Python<'py>) -> Bound<'py, PyByteArray> {
        if let Some(shown) = self.shown(py) {
            return shown;
        }
        let unread = self.state.lock().buffer.unread().to_vec();
        let array = PyByteArray::new(py, &unread);
        let shown = Buffer::Shown(array.clone().into_any().into());
        let old = std::mem::replace(&mut self.state.lock().buffer, shown);
        drop(old);
        array
    }

    #[setter(_buffer)]
    fn put_buffer(&self, buffer: Bound<'_, PyByteArray>) {
        let shown = Buffer::Shown(buffer.into_any().into());
        let old = std::mem::replace(&mut self.state.lock().buffer, shown);
        drop(old);
    }

    #[getter]
    fn _limit(&self) -> usize {
        self.state.lock().limit
    }

    #[setter(_limit)]
    fn put_limit(&self, limit: &Bound<'_, PyAny>) -> PyResult<()> {
        let limit = limit_of(limit)?;
        self.state.lock().limit = limit;
        Ok(())
    }

    #[getter]
    fn _eof(&self) -> bool {
        self.state.lock().eof
    }

    #[setter(_eof)]
    fn put_eof(&self, eof: bool) {
        self.state.lock().eof = eof;
    }

    #[getter]
    fn _paused(&self) -> bool {
        self.state.lock().paused
    }

    #[setter(_paused)]
    fn put_paused(&self, paused: bool) {
        self.state.lock().paused = paused;
    }

    #[getter]
    fn _loop<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.get(py, |state| &mut state.event_loop)
    }

    #[setter(_loop)]
    fn put_loop(&self, event_loop: Option<Bound<'_, PyAny>>) {
        self.set(event_loop, |state| &mut state.event_loop);
    }

    #[getter]
    fn _waiter<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.get(py, |state| &mut state.waiter)
    }

    #[setter(_waiter)]
    fn put_waiter(&self, waiter: Option<Bound<'_, PyAny>>) {
        self.set(waiter, |state| &mut state.waiter);
    }

    #[getter]
    fn _exception<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.error(py)
    }

    #[setter(_exception)]
    fn put_exception(&self, exception: Option<Bound<'_, PyAny>>) {
        self.set(exception, |state| &mut state.exception);
    }

    #[getter]
    fn _transport<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.get(py, |state| &mut state.transport)
    }

    #[setter(_transport)]
    fn put_transport(&self, transport: Option<Bound<'_, PyAny>>) {
        self.set(transport, |state| &mut state.transport);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.built {
            return Ok(());
        }
        let Some(state) = self.state.try_lock() else {
            return Ok(());
        };
        state.buffer.traverse(&visit)?;
        for held in [
            &state.waiter,
            &state.exception,
            &state.transport,
            &state.event_loop,
        ]
        .into_iter()
        .flatten()
        {
            held.traverse(&visit)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let old = std::mem::take(&mut *self.state.lock());
        drop(old);
    }
}
