//! `Empty`, `Full` and `ShutDown`: the standard library's own, so that `except queue.Empty` goes on to work.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

fn imported<'py>(py: Python<'py>, cell: &'py PyOnceLock<Py<PyType>>, name: &str) -> PyErr {
    match cell.import(py, "queue", name) {
        Ok(class) => PyErr::from_type(class.clone(), ()),
        Err(error) => error,
    }
}

/// `queue.Empty`.
#[cold]
pub fn empty(py: Python<'_>) -> PyErr {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    imported(py, &CLASS, "Empty")
}

/// `queue.Full`.
#[cold]
pub fn full(py: Python<'_>) -> PyErr {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    imported(py, &CLASS, "Full")
}

/// `queue.ShutDown`, or before 3.13 our own.
#[cold]
pub fn shut_down(py: Python<'_>) -> PyErr {
    #[cfg(Py_3_13)]
    {
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        imported(py, &CLASS, "ShutDown")
    }
    #[cfg(not(Py_3_13))]
    match shut_down_class(py) {
        Ok(class) => PyErr::from_type(class, ()),
        Err(error) => error,
    }
}

/// The exception that `queue` has from 3.13 on.
///
/// # Errors
/// If the class cannot be made.
#[cfg(not(Py_3_13))]
pub fn shut_down_class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = CLASS.get_or_try_init(py, || {
        PyErr::new_type(
            py,
            c"plait.queue.ShutDown",
            Some(c"Raised by put and get on a queue that has been shut down."),
            Some(&py.get_type::<pyo3::exceptions::PyException>()),
            None,
        )
    })?;
    Ok(class.bind(py).clone())
}
