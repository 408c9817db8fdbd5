//! `LifoQueue` and `PriorityQueue`: the same queue with other hooks.

use super::Kind;
use super::state::Queue;
use pyo3::PyClassInitializer;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// A queue that gives back first what came last; as `queue.LifoQueue`.
#[pyclass(frozen, subclass, extends = Queue, module = "plait.queue")]
#[derive(Debug)]
pub struct LifoQueue;

/// A queue that gives back the smallest item first; as `queue.PriorityQueue`. Items are often tuples `(number, data)`.
#[pyclass(frozen, subclass, extends = Queue, module = "plait.queue")]
#[derive(Debug)]
pub struct PriorityQueue;

#[pymethods]
impl LifoQueue {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=0)")]
    fn new(
        py: Python<'_>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        Ok(PyClassInitializer::from(Queue::make(py, Kind::Lifo)?).add_subclass(Self))
    }

    fn _init(slf: &Bound<'_, Self>, maxsize: &Bound<'_, PyAny>) -> PyResult<()> {
        let _unused = maxsize;
        Queue::start(slf.as_super(), Kind::Lifo)
    }

    fn _qsize(slf: &Bound<'_, Self>) -> PyResult<usize> {
        Queue::count_items(slf.as_super())
    }

    fn _put(slf: &Bound<'_, Self>, item: &Bound<'_, PyAny>) -> PyResult<()> {
        Queue::push_item(slf.as_super(), Kind::Lifo, item)
    }

    fn _get<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Queue::pop_item(slf.as_super(), Kind::Lifo)
    }
}

#[pymethods]
impl PriorityQueue {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=0)")]
    fn new(
        py: Python<'_>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        Ok(PyClassInitializer::from(Queue::make(py, Kind::Priority)?).add_subclass(Self))
    }

    fn _init(slf: &Bound<'_, Self>, maxsize: &Bound<'_, PyAny>) -> PyResult<()> {
        let _unused = maxsize;
        Queue::start(slf.as_super(), Kind::Priority)
    }

    fn _qsize(slf: &Bound<'_, Self>) -> PyResult<usize> {
        Queue::count_items(slf.as_super())
    }

    fn _put(slf: &Bound<'_, Self>, item: &Bound<'_, PyAny>) -> PyResult<()> {
        Queue::push_item(slf.as_super(), Kind::Priority, item)
    }

    fn _get<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Queue::pop_item(slf.as_super(), Kind::Priority)
    }
}
