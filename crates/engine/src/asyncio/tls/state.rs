//! What a TLS connection consists of, and how far it is.

use super::records::Records;
use crate::held::Held;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::collections::VecDeque;

/// How far TLS is; as `sslproto.SSLProtocolState`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not begun, failed, or gone.
    #[default]
    Unwrapped,
    Handshake,
    Wrapped,
    /// What the program has written and not read is still dealt with.
    Flushing,
    /// Both sides say that it is over.
    Shutdown,
}

impl Phase {
    /// Whether nothing can be written any more, or not yet.
    pub const fn refuses(self) -> bool {
        matches!(self, Self::Unwrapped | Self::Flushing | Self::Shutdown)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Unwrapped => "UNWRAPPED",
            Self::Handshake => "DO_HANDSHAKE",
            Self::Wrapped => "WRAPPED",
            Self::Flushing => "FLUSHING",
            Self::Shutdown => "SHUTDOWN",
        }
    }
}

/// What the program's protocol has been told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Told {
    #[default]
    Nothing,
    Made,
    Ended,
    Lost,
}

/// Between which sizes somebody is asked to pause, and to go on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    pub high: usize,
    pub low: usize,
}

/// What changes during a connection's life.
#[derive(Debug, Default)]
pub struct State {
    pub phase: Phase,
    pub told: Told,
    /// Writes after the end.
    pub lost_writes: u32,
    pub eof_received: bool,
    /// The program reads through a buffer of its own.
    pub buffered: bool,
    /// The program has paused reading.
    pub reading_paused: bool,
    /// We have paused reading what is beneath.
    pub beneath_paused: bool,
    /// The program was asked to pause writing.
    pub writing_paused: bool,
    /// We were asked to.
    pub full: bool,
    pub incoming_limits: Limits,
    pub outgoing_limits: Limits,
    pub records: Records,
    /// What was written before the handshake was over: `bytes`.
    pub backlog: VecDeque<Held>,
    pub backlog_size: usize,
    pub event_loop: Option<Held>,
    pub app_protocol: Option<Held>,
    pub app_transport: Option<Held>,
    pub transport: Option<Held>,
    pub waiter: Option<Held>,
    pub extra: Option<Held>,
    pub scratch: Option<Held>,
    pub handshake_handle: Option<Held>,
    pub handshake_timeout: Option<Held>,
    pub shutdown_handle: Option<Held>,
    pub shutdown_timeout: Option<Held>,
}

impl State {
    /// Goes to another phase.
    ///
    /// # Errors
    /// `RuntimeError` if that cannot follow.
    pub fn set(&mut self, phase: Phase) -> PyResult<()> {
        use Phase::{Flushing, Handshake, Shutdown, Unwrapped, Wrapped};
        let allowed = matches!(
            (self.phase, phase),
            (_, Unwrapped)
                | (Unwrapped, Handshake)
                | (Handshake, Wrapped)
                | (Wrapped, Flushing)
                | (Flushing, Shutdown)
        );
        if !allowed {
            return Err(PyRuntimeError::new_err(format!(
                "cannot switch state from {} to {}",
                self.phase.name(),
                phase.name()
            )));
        }
        self.phase = phase;
        Ok(())
    }

    /// Everything that is held, but for the backlog.
    pub fn held(&self) -> impl Iterator<Item = &Held> {
        [
            &self.event_loop,
            &self.app_protocol,
            &self.app_transport,
            &self.transport,
            &self.waiter,
            &self.extra,
            &self.scratch,
            &self.handshake_handle,
            &self.handshake_timeout,
            &self.shutdown_handle,
            &self.shutdown_timeout,
        ]
        .into_iter()
        .flatten()
    }
}
