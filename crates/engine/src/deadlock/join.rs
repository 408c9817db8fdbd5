//! The wait for a thread's end: the interpreter's own, in slices, between which it looks for a deadlock.

use super::{Link, Reason, Watch, enabled};
use plait_core::clock::Nanos;
use plait_core::graph::{Ident, Wait};
use pyo3::ffi;
use pyo3::prelude::*;

/// Why a thread joins another.
struct Joining {
    thread: *mut ffi::PyObject,
    ident: Ident,
}

impl Reason for Joining {
    fn object(&self) -> *mut ffi::PyObject {
        self.thread
    }

    fn action(&self) -> &'static str {
        "join"
    }

    fn resolvers(&self) -> Wait {
        Wait {
            resolvers: vec![self.ident],
            only_these: true,
        }
    }

    fn link(&self) -> Link {
        Link::Same
    }
}

/// Whether joins without a timeout are to go through [`join`].
#[pyfunction]
#[pyo3(name = "_watches_joins")]
pub fn watches_joins() -> bool {
    enabled()
}

/// Waits for the end of `thread`, whose ident is `ident`, by `wait(thread, seconds or None)` until not
/// `is_alive(thread)`. Called when it has waited [`PATIENCE`](super::PATIENCE) already.
///
/// # Errors
/// `DeadlockError`, and what the two callables raise.
#[pyfunction]
#[pyo3(name = "_join")]
pub fn join(
    thread: &Bound<'_, PyAny>,
    ident: Ident,
    wait: &Bound<'_, PyAny>,
    is_alive: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let reason = Joining {
        thread: thread.as_ptr(),
        ident,
    };
    let mut watch = Watch::of_interpreter(&reason);
    loop {
        let Some(delay) = watch.look(thread.py())? else {
            return wait.call1((thread, thread.py().None())).map(drop);
        };
        wait.call1((thread, seconds(delay)))?;
        if !is_alive.call1((thread,))?.is_truthy()? {
            return Ok(());
        }
    }
}

fn seconds(delay: Nanos) -> f64 {
    std::time::Duration::from_nanos(delay.min(MOST)).as_secs_f64()
}

/// An hour: more would be more than some platform's longest timeout in the end.
const MOST: Nanos = 3_600_000_000_000;
