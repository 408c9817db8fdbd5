//! `to_thread`: a function in a thread of the loop's own pool, in a copy of the task's context.

use crate::asyncio::await_::{Await, Drive, Driven, Machine, Resume, Step};
use crate::asyncio::function::Function;
use crate::asyncio::future::{Future, stdlib};
use crate::asyncio::group::{child, here};
use crate::asyncio::looping;
use crate::asyncio::task::wrapper::copy_context;
use crate::held::Held;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi::{self, PyObject};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

enum At {
    /// The function and its arguments: nothing has happened.
    New {
        call: Held,
        named: Option<Held>,
    },
    Waiting(Held),
    /// For a future of a loop that is not ours.
    Driving(Drive),
    Over,
}

struct ToThread(At);

/// Has the running loop's pool call it.
fn submit<'py>(py: Python<'py>, call: &Held, named: Option<&Held>) -> PyResult<Bound<'py, PyAny>> {
    let event_loop = here::needed(py)?;
    let run = copy_context(py)?.getattr(intern!(py, "run"))?;
    let call = call.bind(py);
    let mut given = vec![run];
    given.extend(call.cast::<PyTuple>()?.iter());
    let named = named.map(|named| named.bind(py));
    let named = named.as_deref().map(Bound::cast::<PyDict>).transpose()?;
    let partial = stdlib!(py, "functools", "partial")?.call(PyTuple::new(py, given)?, named)?;
    event_loop.call_method1(intern!(py, "run_in_executor"), (py.None(), partial))
}

fn drive(driving: Drive, py: Python<'_>, resume: Resume) -> PyResult<(Step, At)> {
    Ok(match driving.step(py, resume)? {
        Driven::Suspends(step) => (step, At::Driving(driving)),
        Driven::Returned(value) => (Step::Return(value), At::Over),
    })
}

impl Machine for ToThread {
    const NAME: &'static str = "to_thread";

    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        let at = std::mem::replace(&mut self.0, At::Over);
        let (step, next) = match (at, resume) {
            (At::Driving(driving), resume) => drive(driving, py, resume)?,
            (_, Resume::Throw(error)) => return Err(error),
            (At::New { call, named }, Resume::Next) => {
                let future = submit(py, &call, named.as_ref())?;
                match child::native(&future) {
                    Some(own) => (Step::Wait(own.clone().unbind()), At::Waiting(future.into())),
                    None => drive(Drive::new(&future)?, py, Resume::Next)?,
                }
            }
            (At::Waiting(future), Resume::Next) => {
                let future = future.into_bound(py);
                let value = Future::result(future.cast::<Future>()?)?;
                (Step::Return(value), At::Over)
            }
            (At::Over, Resume::Next) => (Step::ReturnNone, At::Over),
        };
        self.0 = next;
        Ok(step)
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.0 {
            At::New { call, named } => {
                call.traverse(visit)?;
                named.as_ref().map_or(Ok(()), |named| named.traverse(visit))
            }
            At::Waiting(future) => future.traverse(visit),
            At::Driving(driving) => driving.traverse(visit),
            At::Over => Ok(()),
        }
    }
}

/// A coroutine that calls `call[0]` with the rest.
#[pyfunction]
#[pyo3(name = "to_thread", signature = (*call, **named))]
fn with_any_arguments<'py>(
    call: Bound<'py, PyTuple>,
    named: Option<Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, Await>> {
    if call.is_empty() {
        return Err(PyTypeError::new_err(
            "to_thread() missing 1 required positional argument: 'func'",
        ));
    }
    let py = call.py();
    let at = At::New {
        call: call.into_any().into(),
        named: named.map(|named| named.into_any().into()),
    };
    Await::create(py, ToThread(at))
}

unsafe extern "C" fn to_thread(
    _function: *mut PyObject,
    args: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter, attached, with that many arguments; attaching nests.
    unsafe {
        looping::attached(|py| {
            let args = crate::hot::Args::new(args, ffi::PyVectorcall_NARGS(count), names);
            let made = wrap_pyfunction!(with_any_arguments, py).and_then(|function| args.forward(&function));
            match made {
                Ok(made) => made.into_ptr(),
                Err(error) => {
                    error.restore(py);
                    std::ptr::null_mut()
                }
            }
        })
    }
}

/// Puts `to_thread` into the module.
///
/// # Errors
/// `MemoryError`.
pub fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("to_thread", Function::create(module.py(), to_thread, None)?)
}
