//! The zygote's own process, as `plait._processes.zygote` sees it: requests one after the other; what is between them is [`plait_proc::nursery`].

use plait_core::latch::Latch;
use plait_proc::nursery::close_from;
use plait_proc::spawn::{LINK_FD, PARENT_FD};
use plait_proc::{Egg, Nursery, Request};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// The requests of a zygote's parent. Made once, by a process that was exec'd as a zygote; its children find in it what they are to be.
#[pyclass(frozen, module = "plait._engine", name = "Nursery")]
#[derive(Debug)]
pub struct NurseryFace(Latch<Stage>);

#[derive(Debug)]
enum Stage {
    Zygote(Box<Nursery>),
    Forked(Egg),
    Worker,
}

/// A ticket, what the worker is to be, its descriptors, which are the caller's, and its parent's pidfd.
type Errand<'py> = (u64, Bound<'py, PyBytes>, Vec<RawFd>, RawFd);

impl NurseryFace {
    /// The zygote has one thread: the latch is never contended, and whoever waits inside keeps nobody from anything.
    fn with<T>(&self, act: impl FnOnce(&mut Nursery) -> T) -> PyResult<T> {
        match &mut *self.0.lock() {
            Stage::Zygote(nursery) => Ok(act(nursery)),
            _ => Err(gone()),
        }
    }
}

fn gone() -> PyErr {
    PyRuntimeError::new_err("a worker has no workers of its zygote")
}

#[pymethods]
impl NurseryFace {
    /// Takes over the descriptors that its parent has given it, and closes all others but the first three.
    #[new]
    fn new() -> Self {
        close_from(PARENT_FD.cast_unsigned() + 1);
        // Children inherit the answer, which takes reading several files.
        let _one: bool = plait_core::spin::one_core();
        let (link, parent) = (take_over(LINK_FD), take_over(PARENT_FD));
        for fd in [LINK_FD, PARENT_FD] {
            // SAFETY: a plain call; both are open, and were inherited by exec, so they are not closed by the next one.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
        let nursery = Nursery::new(link.into(), parent.into());
        Self(Latch::new(Stage::Zygote(Box::new(nursery))))
    }

    /// What is to be done next; waits for it. Bytes: what to load. True: a process is to be forked. False: it is time to end.
    fn request<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(match self.with(Nursery::request)?? {
            None => false.into_pyobject(py)?.to_owned().into_any(),
            Some(Request::Prepare(data)) => PyBytes::new(py, &data).into_any(),
            Some(Request::Fork) => true.into_pyobject(py)?.to_owned().into_any(),
        })
    }

    /// Whether somebody waits for the next process that is forked.
    fn is_asked(&self) -> PyResult<bool> {
        self.with(|nursery| nursery.is_asked())
    }

    /// Prepares for a fork, which is to follow.
    fn nest(&self) -> PyResult<()> {
        Ok(self.with(Nursery::nest)??)
    }

    /// The process has been forked.
    fn forked(&self, pid: i32) -> PyResult<()> {
        Ok(self.with(|nursery| nursery.forked(pid))??)
    }

    /// The process could not be forked.
    fn failed(&self, errno: i32) -> PyResult<()> {
        self.with(|nursery| nursery.failed(errno))
    }

    /// Closes what is the zygote's: for a process that has just been forked. Whether its errand is waiting for it already.
    fn leave(&self) -> PyResult<bool> {
        let mut stage = self.0.lock();
        match std::mem::replace(&mut *stage, Stage::Worker) {
            Stage::Zygote(nursery) => {
                let is_asked = nursery.is_asked();
                *stage = Stage::Forked(nursery.leave()?);
                Ok(is_asked)
            }
            _ => Err(gone()),
        }
    }

    /// In a process that has been forked: waits for what it is to be. `None`: nothing, it is to end.
    fn errand<'py>(&self, py: Python<'py>) -> PyResult<Option<Errand<'py>>> {
        let Stage::Forked(egg) = std::mem::replace(&mut *self.0.lock(), Stage::Worker) else {
            return Err(gone());
        };
        let Some(errand) = egg.wait()? else {
            return Ok(None);
        };
        let data = PyBytes::new(py, &errand.data);
        let fds = errand.fds.into_iter().map(IntoRawFd::into_raw_fd).collect();
        let parent = OwnedFd::from(egg.parent).into_raw_fd();
        Ok(Some((errand.ticket, data, fds, parent)))
    }
}

/// Takes over a descriptor that a zygote finds open.
fn take_over(fd: RawFd) -> OwnedFd {
    // SAFETY: the caller names a number that nobody else in the process knows of.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
