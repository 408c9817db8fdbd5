//! What processes of a family share: locks, queues, arrays, in memory without a name.
//!
//! The leaf crate `plait-shared` has the words and what a death leaves of them; here they meet Python. An object is its
//! place in shared memory, which a child has by fork, or finds again by a descriptor and an offset that the
//! Python face pickles; and what only concerns this process, such as which thread took a lock how often.
//!
//! | module | what it is |
//! | --- | --- |
//! | `waiting` | the door for waits between processes: detached, in slices, hearing signals |
//! | `lock` | `SemLock`: what Lock, RLock, Semaphore and BoundedSemaphore of `plait.multiprocessing` stand on |
//! | `event`, `condition`, `barrier` | the other primitives |
//! | `queue` | `SharedQueue`: put and get |
//! | `array` | memory for arrays |
//! | `pickling` | what `multiprocessing.reduction.ForkingPickler` does, without its Python |

pub mod array;
pub mod barrier;
pub mod condition;
pub mod event;
pub mod lock;
pub mod pickling;
pub mod queue;
pub mod waiting;

use plait_core::Latch;
use plait_shared::queue::Queue;
use plait_shared::slab::{Place, Shared, file_id};
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::{Arc, OnceLock};

/// Where an object of Python has its part in shared memory: filled in once, by `_create` or `_attach`.
#[derive(Debug)]
pub struct Lodging<T>(OnceLock<Place<T>>);

impl<T: Shared> Lodging<T> {
    const fn new() -> Self {
        Self(OnceLock::new())
    }

    #[inline]
    fn get(&self) -> PyResult<&T> {
        self.0.get().map(Place::get).ok_or_else(uninitialized)
    }

    fn create(&self, init: impl FnOnce(&T)) -> PyResult<()> {
        let place = Place::new().map_err(system)?;
        init(place.get());
        self.put(place)
    }

    fn attach(&self, descriptor: RawFd, offset: usize) -> PyResult<()> {
        self.put(Place::open(adopted(descriptor)?, offset).map_err(system)?)
    }

    fn put(&self, place: Place<T>) -> PyResult<()> {
        self.0
            .set(place)
            .map_err(|_| PyRuntimeError::new_err("already initialized"))
    }

    fn location(&self) -> PyResult<(RawFd, usize)> {
        let place = self.0.get().ok_or_else(uninitialized)?;
        Ok((place.as_fd().as_raw_fd(), place.offset()))
    }
}

#[cold]
fn uninitialized() -> PyErr {
    PyRuntimeError::new_err("__init__() has not been called")
}

/// As Python's own functions raise it: with the number of the error, where it has one.
fn system(error: std::io::Error) -> PyErr {
    match error.raw_os_error() {
        Some(number) => PyOSError::new_err((number, error.to_string())),
        None => error.into(),
    }
}

/// A descriptor that was handed over: ours from now on, and not for programs that this one executes.
fn adopted(descriptor: RawFd) -> PyResult<OwnedFd> {
    // SAFETY: plain calls; a descriptor that is not open is refused.
    unsafe {
        if libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) < 0 {
            return Err(system(std::io::Error::last_os_error()));
        }
        Ok(OwnedFd::from_raw_fd(descriptor))
    }
}

/// Queues of other processes, by device and inode; kept, as pages are (see `plait_shared::slab`).
static QUEUES: Latch<Vec<(u64, u64, Arc<Queue>)>> = Latch::new(Vec::new());

fn known_queue(descriptor: RawFd) -> PyResult<Arc<Queue>> {
    let file = adopted(descriptor)?;
    let id = file_id(descriptor).map_err(system)?;
    let mut foreign = QUEUES.lock();
    if let Some((.., queue)) = foreign.iter().find(|(dev, inode, _)| (*dev, *inode) == id) {
        if queue.as_fd().as_raw_fd() == descriptor {
            let _: RawFd = file.into_raw_fd();
        }
        return Ok(Arc::clone(queue));
    }
    let queue = Arc::new(Queue::open(file).map_err(system)?);
    foreign.push((id.0, id.1, Arc::clone(&queue)));
    Ok(queue)
}

/// Puts the raw methods over the classes.
///
/// # Errors
/// As [`crate::hot::install`].
pub fn init(py: Python<'_>) -> PyResult<()> {
    lock::init(py)?;
    queue::init(py)
}
