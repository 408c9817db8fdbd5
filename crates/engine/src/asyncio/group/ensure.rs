//! `ensure_future`, and new tasks without a detour where the loop is ours.

use super::child;
use super::here;
use crate::asyncio::await_::Await;
use crate::asyncio::future::stdlib;
use crate::asyncio::looping;
use crate::asyncio::task::{Options, Task};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::{ffi, intern};

/// Whether `event_loop` is one of ours whose `create_task` nobody has overridden: then a task can be made without asking it.
pub fn is_plain(event_loop: &Bound<'_, PyAny>) -> bool {
    if looping::of(event_loop).is_none() {
        return false;
    }
    let Ok(method) = event_loop.getattr(intern!(event_loop.py(), "create_task")) else {
        return false;
    };
    // SAFETY: the object is alive; a C function's `self` is borrowed.
    unsafe {
        ffi::PyCFunction_CheckExact(method.as_ptr()) != 0
            && ffi::PyCFunction_GetSelf(method.as_ptr()) == event_loop.as_ptr()
    }
}

/// Whether `object` is what an `async def` function returns, or a native coroutine.
#[inline]
pub fn is_async(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the object is alive.
    unsafe { ffi::PyCoro_CheckExact(object.as_ptr()) != 0 || Await::is(object) }
}

/// As [`create_task`], of a loop that [is plain](is_plain); in a context that it may share with others, if one is given.
///
/// # Errors
/// As there.
#[inline]
pub fn create_plain<'py>(
    event_loop: &Bound<'py, PyAny>,
    coro: &Bound<'py, PyAny>,
    shared: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    if let Some(core) = looping::of(event_loop)
        && !core.get().is_closed()
        && !core.get().has_factory()
    {
        let options = Options {
            context: shared,
            shares: shared.is_some(),
            ..Options::default()
        };
        return Ok(Task::create_with(coro, event_loop, options)?.into_any());
    }
    create_task(event_loop, coro)
}

/// A task for `coro` on `event_loop`, as `event_loop.create_task(coro)` makes it.
///
/// # Errors
/// What the loop, its task factory or the first step of an eager task raises.
pub fn create_task<'py>(
    event_loop: &Bound<'py, PyAny>,
    coro: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    event_loop.call_method1(intern!(event_loop.py(), "create_task"), (coro,))
}

/// Wraps a coroutine or an awaitable in a future; a future is given back as it is. As `asyncio.ensure_future`.
///
/// Raises TypeError for anything else, and ValueError for a future of a loop that is not `loop`.
#[pyfunction]
#[pyo3(signature = (coro_or_future, *, r#loop=None))]
pub fn ensure_future<'py>(
    coro_or_future: &Bound<'py, PyAny>,
    r#loop: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    ensure(coro_or_future, r#loop)
}

/// As [`ensure_future`].
///
/// # Errors
/// As there.
pub fn ensure<'py>(
    given: &Bound<'py, PyAny>,
    event_loop: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = given.py();
    if child::is_future(given)? {
        if let Some(event_loop) = event_loop
            && !child::event_loop(given)?.is(event_loop)
        {
            return Err(PyValueError::new_err(
                "The future belongs to a different loop than the one specified as the loop argument",
            ));
        }
        return Ok(given.clone());
    }
    let (coro, close) = if here::is_coroutine(given)? {
        (given.clone(), true)
    } else if stdlib!(py, "inspect", "isawaitable")?
        .call1((given,))?
        .is_truthy()?
    {
        let wrap = stdlib!(py, "plait.asyncio._awaiting", "awaiting")?;
        (wrap.call1((given,))?, false)
    } else {
        return Err(PyTypeError::new_err(
            "An asyncio.Future, a coroutine or an awaitable is required",
        ));
    };
    let event_loop = match event_loop {
        Some(event_loop) => Ok(event_loop.clone()),
        None => here::event_loop(py),
    };
    let made = event_loop.and_then(|event_loop| create_task(&event_loop, &coro));
    if let Err(error) = &made
        && close
        && error.is_instance_of::<PyRuntimeError>(py)
    {
        coro.call_method0(intern!(py, "close"))?;
    }
    made
}
