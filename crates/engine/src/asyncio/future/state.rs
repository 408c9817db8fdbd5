//! What a future consists of.

use super::{Observer, methods};
use crate::asyncio::looping;
use crate::held::Held;
use pyo3::prelude::*;

/// How far a future is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    #[default]
    Pending,
    Finished,
    Cancelled,
}

/// What a future consists of.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub phase: Phase,
    /// `outcome` is an exception.
    pub failed: bool,
    /// `_asyncio_future_blocking`.
    pub blocking: bool,
    /// An exception that nobody has asked for is reported.
    pub log_traceback: bool,
    /// The loop is ours, so that scheduling needs no call.
    pub ours: bool,
    pub event_loop: Option<Held>,
    pub outcome: Option<Held>,
    pub first: Option<Observer>,
    pub rest: Vec<Observer>,
    pub message: Option<Held>,
    pub rare: Option<Box<Rare>>,
}

/// What few futures have.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    pub source_traceback: Option<Held>,
    pub traceback: Option<Held>,
    pub cancelled: Option<Held>,
    pub awaited_by: Option<Held>,
}

impl State {
    /// Of a pending future in this loop.
    ///
    /// # Errors
    /// What a foreign loop raises when it is asked for its mode.
    #[inline]
    pub(super) fn of(py: Python<'_>, event_loop: &Bound<'_, PyAny>) -> PyResult<Self> {
        let core = looping::of(event_loop);
        let debug = match core {
            Some(core) => core.get().is_debug(),
            None => event_loop
                .call_method0(pyo3::intern!(py, "get_debug"))?
                .is_truthy()?,
        };
        let rare = if debug { Some(Rare::made_here(py)?) } else { None };
        Ok(Self {
            ours: core.is_some(),
            event_loop: Some(event_loop.clone().into()),
            rare,
            ..Self::default()
        })
    }
}

impl Rare {
    /// With where the program stands.
    #[cold]
    fn made_here(py: Python<'_>) -> PyResult<Box<Self>> {
        Ok(Box::new(Self {
            source_traceback: Some(methods::extract_stack(py)?.into()),
            ..Self::default()
        }))
    }
}
