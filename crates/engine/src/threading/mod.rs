//! The primitives of `threading`, native: one file a class.

pub mod barrier;
pub mod condition;
pub mod event;
pub mod guard;
pub mod lock;
pub mod rlock;
pub mod semaphore;

use pyo3::prelude::*;

/// `module.QualifiedName` of an object's class.
fn class_name(slf: &Bound<'_, PyAny>) -> PyResult<String> {
    let class = slf.get_type();
    Ok(format!("{}.{}", class.getattr("__module__")?, class.qualname()?))
}

/// `<module.Class at 0x...: state>`.
fn repr(slf: &Bound<'_, PyAny>, state: &str) -> PyResult<String> {
    Ok(format!(
        "<{} at {:#x}: {state}>",
        class_name(slf)?,
        slf.as_ptr() as usize
    ))
}

/// Puts the raw methods over the classes.
///
/// # Errors
/// As [`crate::hot::install`].
pub fn init(py: Python<'_>) -> PyResult<()> {
    lock::init(py)?;
    rlock::init(py)?;
    semaphore::init(py)?;
    event::init(py)?;
    condition::init(py)
}
