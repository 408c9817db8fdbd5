//! asyncio's primitives, for the tasks of one loop: as `asyncio.locks`, `asyncio.queues`, `asyncio.timeouts`, and `sleep`.
//!
//! Each keeps futures in order, as the standard library's do, and for the same reasons: who is woken, and when, and what a
//! cancellation meets, is then the same. What waits is a [`Machine`](super::await_::Machine). All of a primitive's state is touched in
//! its loop's thread; it is atomic or guarded all the same, so that misuse breaks no more than the program's own order.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`line`] | the lists of futures and items |
//! | [`waiters`] | waking them, and which loop they belong to |
//! | [`timer`] | something that happens later |
//! | [`permit`] | what locks and semaphores share: `acquire`, `async with` |

pub mod barrier;
pub mod condition;
pub mod event;
pub mod line;
pub mod lock;
pub mod permit;
pub mod queue;
pub mod semaphore;
pub mod sleep;
pub mod timeout;
pub mod timer;
pub mod waiters;

use pyo3::PyTypeInfo;
use pyo3::prelude::*;

/// Puts the raw methods over the classes.
///
/// # Errors
/// What the interpreter raises when a type cannot be changed.
pub fn init(py: Python<'_>) -> PyResult<()> {
    name_as_python_does::<lock::Lock>(py);
    name_as_python_does::<event::Event>(py);
    name_as_python_does::<condition::Condition>(py);
    name_as_python_does::<semaphore::Semaphore>(py);
    name_as_python_does::<semaphore::BoundedSemaphore>(py);
    name_as_python_does::<barrier::Barrier>(py);
    name_as_python_does::<queue::Queue>(py);
    name_as_python_does::<queue::LifoQueue>(py);
    name_as_python_does::<queue::PriorityQueue>(py);
    name_as_python_does::<timeout::Timeout>(py);
    timeout::init(py)?;
    queue::methods::init(py)?;
    permit::init::<lock::Lock>(py)?;
    permit::init::<semaphore::Semaphore>(py)?;
    semaphore::init(py)?;
    permit::init::<condition::Condition>(py)
}

/// The interpreter's messages name a class that is made in Python without its module.
fn name_as_python_does<T: PyTypeInfo>(py: Python<'_>) {
    let class = T::type_object(py).as_type_ptr();
    // SAFETY: the name is a C string that the type keeps; what follows the last point is its end, and so a C string, too.
    unsafe {
        let name = std::ffi::CStr::from_ptr((*class).tp_name).to_bytes();
        let start = name.iter().rposition(|byte| *byte == b'.').map_or(0, |at| at + 1);
        (*class).tp_name = (*class).tp_name.add(start);
    }
}
