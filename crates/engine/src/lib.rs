//! `plait._engine`: the only crate that knows Python.
use pyo3::prelude::*;

/// The native half of plait.
#[pymodule(name = "_engine", gil_used = false)]
mod engine {
    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
