//! Transports, servers and socket methods of the loop.
//!
//! A transport is a [`wire::Wire`]: one state and one set of transitions, whatever it carries. The loop calls `read::ready` and
//! `write::ready` as native callbacks; they make one system call and call the protocol. What is rare
//! (connecting, resolving, the arguments of `create_server`) is the standard library's own, inherited by the loop.
//! The protocol between these parts is in `docs/design/transports.md`.

pub mod accept;
pub mod address;
pub mod datagram;
pub mod ending;
pub mod face;
pub mod flow;
pub mod kind;
pub mod methods;
pub mod outgoing;
pub mod pipe;
pub mod registry;
pub mod report;
pub mod sock;
pub mod stream;
pub mod sys;
pub mod wire;

use pyo3::prelude::*;
use pyo3::types::PyType;

pub use super::looping::Run;

/// The classes of transports.
fn classes(py: Python<'_>) -> [Bound<'_, PyType>; 4] {
    [
        py.get_type::<stream::StreamTransport>(),
        py.get_type::<datagram::DatagramTransport>(),
        py.get_type::<pipe::ReadPipeTransport>(),
        py.get_type::<pipe::WritePipeTransport>(),
    ]
}

/// Puts the slots that PyO3 does not know into the classes.
pub fn init(py: Python<'_>) {
    ending::init(py);
}
