//! `sleep`, as `asyncio.sleep`.

use super::timer::{Timer, is_plain_number, keeper, plain_number, time};
use super::waiters::{running_loop, wake};
use crate::asyncio::await_::{Await, Machine, Resume, Step};
use crate::asyncio::function::Function;
use crate::asyncio::future::{Future, stdlib};
use crate::asyncio::looping;
use crate::held::Held;
use crate::hot::Args;
use pyo3::exceptions::PyValueError;
use pyo3::ffi::{self, PyObject};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;

enum At {
    /// Nothing has happened; so long it is to last.
    New(Held),
    /// It gives way once.
    Bare,
    Asleep(Timer),
}

struct Sleep {
    at: At,
    result: Held,
}

impl Sleep {
    #[inline]
    fn begin(&mut self, py: Python<'_>) -> PyResult<Step> {
        let At::New(delay) = &self.at else {
            return Ok(Step::ReturnNone);
        };
        let delay = delay.bind(py).to_owned();
        let number = plain_number(&delay);
        if number.map_or_else(|| delay.le(0), |number| Ok(number <= 0.0))? {
            self.at = At::Bare;
            return Ok(Step::Yield);
        }
        if cfg!(Py_3_13) && number.map_or_else(|| delay.ne(&delay), |number| Ok(number.is_nan()))? {
            return Err(PyValueError::new_err("Invalid delay: NaN (not a number)"));
        }
        let event_loop = running_loop(py)?;
        let future = Future::create(py, &event_loop)?;
        let timer = match (number, keeper(&event_loop)) {
            (Some(number), Some(core)) => {
                let when = time(&event_loop)? + number;
                Timer::native(core, when, complete, future.as_any(), py.None())
            }
            _ => {
                let set = stdlib!(py, "asyncio.futures", "_set_result_unless_cancelled")?;
                let method = intern!(py, "call_later");
                let handle = event_loop.call_method1(method, (delay, set, &future, py.None()))?;
                Timer::Handle(handle.into())
            }
        };
        self.at = At::Asleep(timer);
        Ok(Step::Wait(future.unbind()))
    }
}

fn complete(future: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    wake(future, value.clone().unbind()).map(drop)
}

impl Machine for Sleep {
    const NAME: &'static str = "sleep";

    fn is_inert(&self, py: Python<'_>) -> bool {
        matches!(&self.at, At::New(delay) if is_plain_number(&delay.bind(py)))
    }

    #[inline]
    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        if let Resume::Throw(error) = resume {
            if let At::Asleep(timer) = std::mem::replace(&mut self.at, At::Bare) {
                timer.cancel(py)?;
            }
            return Err(error);
        }
        if let At::New(_) = self.at {
            return self.begin(py);
        }
        let result = self.result.bind(py);
        if result.is_none() {
            return Ok(Step::ReturnNone);
        }
        Ok(Step::Return(result.to_owned().unbind()))
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.result.traverse(visit)?;
        match &self.at {
            At::New(delay) => delay.traverse(visit),
            At::Bare => Ok(()),
            At::Asleep(timer) => timer.traverse(visit),
        }
    }
}

impl Sleep {
    fn create<'py>(
        py: Python<'py>,
        delay: Bound<'py, PyAny>,
        result: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Await>> {
        let machine = Self {
            at: At::New(delay.into()),
            result: result.unwrap_or_else(|| py.None().into_bound(py)).into(),
        };
        Await::create(py, machine)
    }
}

/// Binds the arguments that were not given as most programs give them.
#[pyfunction]
#[pyo3(name = "sleep", signature = (delay, result=None))]
fn with_any_arguments<'py>(
    py: Python<'py>,
    delay: Bound<'py, PyAny>,
    result: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, Await>> {
    Sleep::create(py, delay, result)
}

unsafe extern "C" fn sleep(
    _function: *mut PyObject,
    args: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter, attached, with that many arguments; attaching nests.
    unsafe {
        let count = ffi::PyVectorcall_NARGS(count);
        looping::attached(|py| {
            let made = if names.is_null() && (count == 1 || count == 2) {
                let result = (count == 2).then(|| Bound::from_borrowed_ptr(py, *args.add(1)));
                Sleep::create(py, Bound::from_borrowed_ptr(py, *args), result)
            } else {
                let args = Args::new(args, count, names);
                wrap_pyfunction!(with_any_arguments, py)
                    .and_then(|function| args.forward(&function))
                    .and_then(|made| Ok(made.cast_into()?))
            };
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

/// Puts `sleep` into the module.
///
/// # Errors
/// `MemoryError`.
pub fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("sleep", Function::create(module.py(), sleep, None)?)
}
