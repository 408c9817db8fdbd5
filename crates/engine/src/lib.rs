//! `plait._engine`: the only crate that knows Python. One folder a face; see the design notes for the seam.

pub mod deadlock;
pub mod door;
pub mod held;
pub mod hot;
pub mod limit;
pub mod queue;
pub mod task;
pub mod threading;

use pyo3::prelude::*;

/// The native half of plait.
#[pymodule(name = "_engine", gil_used = false)]
mod engine {
    use super::*;

    #[pymodule_export]
    use super::task::{Ready, TaskWait};
    #[pymodule_export]
    use super::threading::{
        barrier::Barrier,
        condition::Condition,
        event::Event,
        lock::{Lock, RLock},
        semaphore::{BoundedSemaphore, Semaphore},
    };

    #[pymodule_export]
    use super::queue::{LifoQueue, PriorityQueue, Queue};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        plait_core::fork::watch();
        if cfg!(not(Py_GIL_DISABLED)) {
            plait_core::chain::enable();
        }
        threading::init(module.py())?;
        queue::init(module)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
