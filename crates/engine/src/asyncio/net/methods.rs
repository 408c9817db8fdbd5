//! The methods that all transports share.

use super::kind::Kind;
use super::stream::read;
use super::wire::Wire;
use super::{ending, face, flow, report};
use crate::asyncio::looping::LoopCore;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

#[pymethods]
impl Wire {
    /// Something known about the connection, by name: `socket`, `sockname`, `peername`, `pipe`, `addr`.
    #[pyo3(signature = (name, default=None))]
    fn get_extra_info<'py>(
        &self,
        name: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = name.py();
        let default = default.unwrap_or_else(|| py.None().into_bound(py));
        match self.peek(py, |state| state.extra.as_ref()) {
            Some(extra) => extra.call_method1(intern!(py, "get"), (name, default)),
            None => Ok(default),
        }
    }

    /// Has another protocol called from here on.
    fn set_protocol(&self, protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        let buffered = face::is_buffered(protocol)?;
        let old = {
            let mut state = self.state.lock();
            state.buffered = buffered && state.kind == Kind::Stream;
            state.protocol.replace(protocol.clone().into())
        };
        drop(old);
        Ok(())
    }

    /// The protocol that is called.
    fn get_protocol<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.protocol(py)
    }

    /// Whether it is closing, or closed.
    fn is_closing(&self) -> bool {
        self.state.lock().closing
    }

    /// Lets what has been written leave, reads no more, then closes.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        ending::close(slf)
    }

    /// Closes now; what has not left is lost.
    fn abort(slf: &Bound<'_, Self>) -> PyResult<()> {
        ending::abort(slf)
    }

    /// Whether what comes is given to the protocol.
    fn is_reading(&self) -> bool {
        let state = self.state.lock();
        !state.closing && !state.paused
    }

    /// Gives the protocol nothing until `resume_reading`.
    fn pause_reading(slf: &Bound<'_, Self>) -> PyResult<()> {
        read::pause(slf)
    }

    /// Gives the protocol what comes, again.
    fn resume_reading(slf: &Bound<'_, Self>) -> PyResult<()> {
        read::resume(slf)
    }

    /// The marks between which the protocol is paused, in bytes: low and high.
    fn get_write_buffer_limits(&self) -> (usize, usize) {
        let limits = self.state.lock().limits;
        (limits.low, limits.high)
    }

    /// Sets the marks above and below which the protocol is paused and resumed, in bytes.
    #[pyo3(signature = (high=None, low=None))]
    fn set_write_buffer_limits(
        slf: &Bound<'_, Self>,
        high: Option<isize>,
        low: Option<isize>,
    ) -> PyResult<()> {
        slf.get().state.lock().limits = flow::Limits::create(high, low)?;
        flow::maybe_pause(slf)
    }

    /// How many bytes have not been sent yet.
    fn get_write_buffer_size(&self) -> usize {
        self.state.lock().buffer_size()
    }

    fn _force_close(slf: &Bound<'_, Self>, exc: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        ending::force_close(slf, exc)
    }

    #[pyo3(signature = (exc, message="Fatal error on transport"))]
    fn _fatal_error(slf: &Bound<'_, Self>, exc: Bound<'_, PyAny>, message: &str) -> PyResult<()> {
        ending::fatal(slf, PyErr::from_value(exc), message)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        report::describe(slf)
    }

    #[getter(__class__)]
    fn class<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyAny> {
        let kind = slf.get().state.lock().kind;
        face::class(slf.py(), kind).unwrap_or_else(|| slf.get_type().into_any())
    }

    #[getter]
    fn _loop<'py>(&self, py: Python<'py>) -> Option<Bound<'py, LoopCore>> {
        self.event_loop(py)
    }

    #[getter]
    fn _protocol<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.peek(py, |state| state.protocol.as_ref())
    }

    #[getter]
    fn _extra<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.peek(py, |state| state.extra.as_ref())
    }

    #[getter]
    fn _server<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.peek(py, |state| state.server.as_ref())
    }

    #[getter]
    fn _closing(&self) -> bool {
        self.state.lock().closing
    }

    #[getter]
    fn _paused(&self) -> bool {
        self.state.lock().paused
    }

    #[getter]
    fn _conn_lost(&self) -> u32 {
        let state = self.state.lock();
        u32::from(state.ended).saturating_add(state.lost_writes)
    }

    #[getter]
    fn _protocol_paused(&self) -> bool {
        self.state.lock().protocol_paused
    }

    #[getter]
    fn _high_water(&self) -> usize {
        self.state.lock().limits.high
    }

    #[getter]
    fn _low_water(&self) -> usize {
        self.state.lock().limits.low
    }

    /// What has not left yet, a copy.
    #[getter]
    fn _buffer<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let pieces: Vec<Vec<u8>> = self
            .state
            .lock()
            .outgoing
            .iter()
            .map(|piece| piece.rest().to_vec())
            .collect();
        PyList::new(py, pieces.iter().map(|piece| PyBytes::new(py, piece)))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(state) = self.state.try_lock() else {
            return Ok(());
        };
        if let Some(event_loop) = &state.event_loop {
            visit.call(event_loop)?;
        }
        let held = [
            &state.file,
            &state.protocol,
            &state.server,
            &state.extra,
            &state.context,
            &state.address,
            &state.empty_waiter,
        ];
        for held in held.into_iter().flatten() {
            held.traverse(&visit)?;
        }
        state.outgoing.traverse(&visit)
    }

    fn __clear__(&self) {
        let taken = {
            let mut state = self.state.lock();
            (
                state.event_loop.take(),
                state.outgoing.take(),
                [
                    state.file.take(),
                    state.protocol.take(),
                    state.server.take(),
                    state.extra.take(),
                    state.context.take(),
                    state.address.take(),
                    state.empty_waiter.take(),
                ],
            )
        };
        drop(taken);
    }
}
