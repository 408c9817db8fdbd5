//! `sleep`.

use crate::asyncio::await_::{Await, Machine, Resume, Step};
use crate::held::Held;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

struct Sleep {
    result: Held,
    slept: bool,
}

impl Machine for Sleep {
    const NAME: &'static str = "sleep";

    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        if let Resume::Throw(error) = resume {
            return Err(error);
        }
        if !std::mem::replace(&mut self.slept, true) {
            return Ok(Step::Yield);
        }
        let result = self.result.bind(py);
        if result.is_none() {
            return Ok(Step::ReturnNone);
        }
        Ok(Step::Return(result.to_owned().unbind()))
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.result.traverse(visit)
    }
}

/// Coroutine that completes after a given time (in seconds).
#[pyfunction]
#[pyo3(signature = (delay, result=None))]
pub fn sleep<'py>(
    py: Python<'py>,
    delay: Bound<'py, PyAny>,
    result: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, Await>> {
    let _ = delay;
    let result = result.unwrap_or_else(|| py.None().into_bound(py));
    Await::create(
        py,
        Sleep {
            result: result.into(),
            slept: false,
        },
    )
}
