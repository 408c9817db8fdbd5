//! `StreamReaderProtocol`: hands what a transport received to a reader, and makes `drain` wait while the transport is full.

use super::face::Kind;
use super::reader::StreamReaderCore;
use crate::asyncio::await_::{Await, Machine, Resume, Step};
use crate::asyncio::future::Future;
use crate::guarded::Guarded;
use crate::held::Held;
use pyo3::exceptions::PyConnectionResetError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyWeakrefMethods, PyWeakrefReference};
use pyo3::{PyTypeInfo, intern};
use std::sync::atomic::{AtomicBool, Ordering};

/// The native half of `StreamReaderProtocol`. Its other attributes are in the instance's dict, put there by inherited methods.
#[pyclass(frozen, subclass, module = "plait.asyncio")]
#[derive(Debug)]
pub struct StreamReaderProtocolCore {
    reader: Guarded<Option<Held>>,
    paused: AtomicBool,
    lost: AtomicBool,
    /// `_drain_helper` is ours.
    plain: AtomicBool,
    /// True: see `queue::state::Queue::built`.
    built: bool,
}

impl StreamReaderProtocolCore {
    /// The reader, if it is alive.
    #[inline]
    fn reader<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let weak = self.reader.lock().as_ref().map(|held| held.bind(py).to_owned());
        match weak {
            None => Ok(None),
            Some(weak) => match weak.cast::<PyWeakrefReference>() {
                Ok(weak) => Ok(weak.upgrade()),
                Err(_) => weak
                    .call0()
                    .map(|reader| Some(reader).filter(|reader| !reader.is_none())),
            },
        }
    }

    /// Whether `drain` may look by itself.
    pub fn is_plain(&self) -> bool {
        self.plain.load(Ordering::Relaxed)
    }

    /// `ConnectionResetError` once the connection is lost; else whether `drain` has to wait.
    ///
    /// # Errors
    /// That one.
    pub fn must_drain(&self) -> PyResult<bool> {
        if self.lost.load(Ordering::Relaxed) {
            return Err(PyConnectionResetError::new_err("Connection lost"));
        }
        Ok(self.paused.load(Ordering::Relaxed))
    }
}

#[pymethods]
impl StreamReaderProtocolCore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            reader: Guarded::new(None),
            paused: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            plain: AtomicBool::new(true),
            built: true,
        }
    }

    /// Gives data to the reader.
    fn data_received(&self, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let Some(reader) = self.reader(data.py())? else {
            return Ok(());
        };
        match reader.cast::<StreamReaderCore>() {
            Ok(plain) if plain.get().feeds_plainly() => StreamReaderCore::feed(plain, data),
            _ => reader
                .call_method1(intern!(data.py(), "feed_data"), (data,))
                .map(drop),
        }
    }

    fn _drain_helper<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Await>> {
        Await::create(slf.py(), Drain::of(slf))
    }

    #[getter]
    fn _stream_reader<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.reader(py)
    }

    #[getter]
    fn _stream_reader_wr<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.reader.lock().as_ref().map(|held| held.bind(py).to_owned())
    }

    #[setter(_stream_reader_wr)]
    fn put_stream_reader_wr(slf: &Bound<'_, Self>, weak: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        // The first thing that the inherited `__init__` does.
        let core = Self::type_object(slf.py());
        let overrides = Kind::Protocol.overrides(slf.as_any(), &core, &["_drain_helper"])?;
        slf.get().plain.store(!overrides, Ordering::Relaxed);
        let old = std::mem::replace(&mut *slf.get().reader.lock(), weak.map(Held::from));
        drop(old);
        Ok(())
    }

    #[getter]
    fn _paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    #[setter(_paused)]
    fn put_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    #[getter]
    fn _connection_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    #[setter(_connection_lost)]
    fn put_connection_lost(&self, lost: bool) {
        self.lost.store(lost, Ordering::Relaxed);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if self.built
            && let Some(reader) = self.reader.try_lock()
            && let Some(reader) = &*reader
        {
            reader.traverse(&visit)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let old = self.reader.lock().take();
        drop(old);
    }
}

/// A wait for the transport's buffer to empty.
#[derive(Debug)]
pub struct Drain {
    protocol: Held,
    waiting: Option<Py<Future>>,
}

impl Drain {
    /// Of `protocol`, which is not looked at before the first step.
    pub fn of(protocol: &Bound<'_, StreamReaderProtocolCore>) -> Self {
        Self {
            protocol: protocol.clone().into_any().into(),
            waiting: None,
        }
    }
}

impl Machine for Drain {
    const NAME: &'static str = "StreamReaderProtocol._drain_helper";

    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        let protocol = self.protocol.clone_ref(py).into_bound(py);
        let waiters = intern!(py, "_drain_waiters");
        let waited = self.waiting.take();
        if let Some(future) = &waited {
            protocol
                .getattr(waiters)?
                .call_method1(intern!(py, "remove"), (future,))?;
        }
        match resume {
            Resume::Throw(error) => return Err(error),
            Resume::Next if waited.is_some() => return Ok(Step::ReturnNone),
            Resume::Next => {}
        }
        // SAFETY: it was made of a protocol.
        let core = unsafe { protocol.cast_unchecked::<StreamReaderProtocolCore>() };
        if !core.get().must_drain()? {
            return Ok(Step::ReturnNone);
        }
        let future = Future::create(py, &protocol.getattr(intern!(py, "_loop"))?)?;
        protocol
            .getattr(waiters)?
            .call_method1(intern!(py, "append"), (&future,))?;
        self.waiting = Some(future.clone().unbind());
        Ok(Step::Wait(future.unbind()))
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.protocol.traverse(visit)?;
        visit.call(&self.waiting)
    }
}
