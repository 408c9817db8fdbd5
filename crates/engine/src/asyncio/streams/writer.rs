//! `StreamWriter`: a transport's write side, and `drain`.

use super::direct;
use super::drained::Drained;
use super::face::Kind;
use super::protocol::{Drain, StreamReaderProtocolCore};
use super::reader::StreamReaderCore;
use crate::asyncio::await_::{Await, Machine, Resume, Step};
use crate::guarded::Guarded;
use crate::held::Held;
use pyo3::exceptions::{PyAssertionError, PyAttributeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

#[derive(Debug, Default)]
struct State {
    transport: Option<Held>,
    protocol: Option<Held>,
    reader: Option<Held>,
    event_loop: Option<Held>,
}

/// The native half of `StreamWriter`.
#[pyclass(frozen, subclass, module = "plait.asyncio")]
#[derive(Debug)]
pub struct StreamWriterCore {
    state: Guarded<State>,
    /// True: see `queue::state::Queue::built`.
    built: bool,
}

impl StreamWriterCore {
    fn get<'py>(
        &self,
        py: Python<'py>,
        field: impl FnOnce(&mut State) -> &mut Option<Held>,
    ) -> Option<Bound<'py, PyAny>> {
        field(&mut self.state.lock())
            .as_ref()
            .map(|held| held.bind(py).to_owned())
    }

    fn set(&self, value: Option<Bound<'_, PyAny>>, field: impl FnOnce(&mut State) -> &mut Option<Held>) {
        let value = value.filter(|value| !value.is_none()).map(Held::from);
        let old = std::mem::replace(field(&mut self.state.lock()), value);
        drop(old);
    }

    /// Whether `drain` would look around and return. Errors are for it to raise.
    fn has_nothing_to_drain(
        &self,
        py: Python<'_>,
        protocol: &Bound<'_, StreamReaderProtocolCore>,
    ) -> PyResult<bool> {
        if !protocol.get().must_drain().is_ok_and(|full| !full) {
            return Ok(false);
        }
        if let Some(reader) = self.get(py, |state| &mut state.reader) {
            match reader.cast::<StreamReaderCore>() {
                Ok(reader) if reader.get().error(py).is_none() => {}
                _ => return Ok(false),
            }
        }
        Ok(!direct::is_closing(&self.its_transport(py)?)?)
    }

    #[inline]
    fn its_transport<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.get(py, |state| &mut state.transport)
            .ok_or_else(|| PyAttributeError::new_err("'StreamWriter' object has no attribute '_transport'"))
    }
}

#[pymethods]
impl StreamWriterCore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            state: Guarded::new(State::default()),
            built: true,
        }
    }

    fn __init__(
        &self,
        transport: Bound<'_, PyAny>,
        protocol: Bound<'_, PyAny>,
        reader: Bound<'_, PyAny>,
        r#loop: Bound<'_, PyAny>,
    ) -> PyResult<()> {
        // First what `__del__` asks.
        self.set(Some(transport), |state| &mut state.transport);
        self.set(Some(protocol), |state| &mut state.protocol);
        self.set(Some(r#loop), |state| &mut state.event_loop);
        if !reader.is_none() && !Kind::Reader.is_standard(&reader)? {
            return Err(PyAssertionError::new_err(()));
        }
        self.set(Some(reader), |state| &mut state.reader);
        Ok(())
    }

    /// The transport that is written to.
    #[getter]
    fn transport<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.its_transport(py)
    }

    /// Writes data, at once as far as possible; `await drain()` after it.
    fn write(&self, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = data.py();
        direct::write(&self.its_transport(py)?, data)
    }

    /// Writes each of data.
    fn writelines(&self, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = data.py();
        self.its_transport(py)?
            .call_method1(intern!(py, "writelines"), (data,))
            .map(drop)
    }

    /// Closes the write side when all has been sent.
    fn write_eof<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.its_transport(py)?.call_method0(intern!(py, "write_eof"))
    }

    /// Whether the transport can close its write side alone.
    fn can_write_eof<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.its_transport(py)?.call_method0(intern!(py, "can_write_eof"))
    }

    /// Closes the transport; `await wait_closed()` after it.
    fn close<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.its_transport(py)?.call_method0(intern!(py, "close"))
    }

    /// Whether the transport is closed or about to be.
    fn is_closing<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.its_transport(py)?.call_method0(intern!(py, "is_closing"))
    }

    /// What the transport knows about the connection.
    #[pyo3(signature = (name, default=None))]
    fn get_extra_info<'py>(
        &self,
        name: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = name.py();
        self.its_transport(py)?
            .call_method1(intern!(py, "get_extra_info"), (name, default))
    }

    /// Waits while the transport has too much to send.
    fn drain<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (this, py) = (slf.get(), slf.py());
        let protocol = this.get(py, |state| &mut state.protocol);
        let plain = protocol.as_ref().and_then(|protocol| {
            let core = protocol.cast::<StreamReaderProtocolCore>().ok()?;
            core.get().is_plain().then_some(core)
        });
        let Some(protocol) = plain else {
            // Whose `_drain_helper` is a stranger's.
            return Kind::Writer.standard(slf.as_any(), "drain", &[], None);
        };
        if this.has_nothing_to_drain(py, protocol)? {
            return Drained::get(py);
        }
        let writing = Writing {
            writer: slf.clone().into_any().into(),
            drain: Drain::of(protocol),
            stage: Stage::New,
        };
        Await::create(py, writing).map(Bound::into_any)
    }

    #[getter]
    fn _transport<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.its_transport(py)
    }

    #[setter(_transport)]
    fn put_transport(&self, transport: Option<Bound<'_, PyAny>>) {
        self.set(transport, |state| &mut state.transport);
    }

    #[getter]
    fn _protocol<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.get(py, |state| &mut state.protocol)
    }

    #[setter(_protocol)]
    fn put_protocol(&self, protocol: Option<Bound<'_, PyAny>>) {
        self.set(protocol, |state| &mut state.protocol);
    }

    #[getter]
    fn _reader<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.get(py, |state| &mut state.reader)
    }

    #[setter(_reader)]
    fn put_reader(&self, reader: Option<Bound<'_, PyAny>>) {
        self.set(reader, |state| &mut state.reader);
    }

    #[getter]
    fn _loop<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.get(py, |state| &mut state.event_loop)
    }

    #[setter(_loop)]
    fn put_loop(&self, event_loop: Option<Bound<'_, PyAny>>) {
        self.set(event_loop, |state| &mut state.event_loop);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.built {
            return Ok(());
        }
        let Some(state) = self.state.try_lock() else {
            return Ok(());
        };
        for held in [
            &state.transport,
            &state.protocol,
            &state.reader,
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

/// How far a `drain` is.
#[derive(Debug)]
enum Stage {
    New,
    /// It has let the loop turn once, so that a closed transport could say why.
    Turned,
    Draining,
}

/// The coroutine of `drain`.
#[derive(Debug)]
struct Writing {
    writer: Held,
    drain: Drain,
    stage: Stage,
}

impl Writing {
    /// Raises what the reader has to say, and tells whether the transport is closing.
    fn begin(&self, py: Python<'_>) -> PyResult<bool> {
        let writer = self.writer.clone_ref(py).into_bound(py);
        // SAFETY: it was made of a writer.
        let writer = unsafe { writer.cast_unchecked::<StreamWriterCore>() }.get();
        if let Some(reader) = writer.get(py, |state| &mut state.reader) {
            match reader.cast::<StreamReaderCore>() {
                Ok(reader) => reader.get().check(py)?,
                Err(_) => {
                    let error = reader.call_method0(intern!(py, "exception"))?;
                    if !error.is_none() {
                        return Err(PyErr::from_value(error));
                    }
                }
            }
        }
        direct::is_closing(&writer.its_transport(py)?)
    }
}

impl Machine for Writing {
    const NAME: &'static str = "StreamWriter.drain";

    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        match (&self.stage, resume) {
            (Stage::Draining, resume) => self.drain.step(py, resume),
            (_, Resume::Throw(error)) => Err(error),
            (Stage::New, Resume::Next) if self.begin(py)? => {
                self.stage = Stage::Turned;
                Ok(Step::Yield)
            }
            (Stage::New | Stage::Turned, Resume::Next) => {
                self.stage = Stage::Draining;
                self.drain.step(py, Resume::Next)
            }
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.writer.traverse(visit)?;
        self.drain.traverse(visit)
    }
}
