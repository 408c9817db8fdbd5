//! The zygote's own process, as `plait._processes.zygote` sees it: requests one after the other; what is between them is [`plait_proc::nursery`].

use super::start::take_over;
use plait_core::latch::Latch;
use plait_proc::nursery::close_from;
use plait_proc::spawn::{LINK_FD, PARENT_FD};
use plait_proc::{Nursery, Request};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};

/// The requests of a zygote's parent. Made once, by a process that was exec'd as a zygote.
#[pyclass(frozen, module = "plait._engine", name = "Nursery")]
#[derive(Debug)]
pub struct NurseryFace(Latch<Option<Nursery>>);

/// A ticket, what the worker is to be, and its descriptors, which are the caller's. No ticket: what to load.
type Asked<'py> = (Option<u64>, Bound<'py, PyBytes>, Vec<RawFd>);

impl NurseryFace {
    /// The zygote has one thread: the latch is never contended, and whoever waits inside keeps nobody from anything.
    fn with<T>(&self, act: impl FnOnce(&mut Nursery) -> T) -> PyResult<T> {
        let mut nursery = self.0.lock();
        Ok(act(nursery.as_mut().ok_or_else(gone)?))
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
        let (link, parent) = (take_over(LINK_FD), take_over(PARENT_FD));
        for fd in [LINK_FD, PARENT_FD] {
            // SAFETY: a plain call; both are open, and were inherited by exec, so they are not closed by the next one.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
        Self(Latch::new(Some(Nursery::new(link.into(), parent.into()))))
    }

    /// The next request; waits for it. `None`: it is time to end.
    fn request<'py>(&self, py: Python<'py>) -> PyResult<Option<Asked<'py>>> {
        Ok(match self.with(Nursery::request)?? {
            None => None,
            Some(Request::Prepare(data)) => Some((None, PyBytes::new(py, &data), Vec::new())),
            Some(Request::Fork { ticket, data, fds }) => {
                let fds = fds.into_iter().map(IntoRawFd::into_raw_fd).collect();
                Some((Some(ticket), PyBytes::new(py, &data), fds))
            }
        })
    }

    /// The request's worker has been forked.
    fn forked(&self, ticket: u64, pid: i32) -> PyResult<()> {
        Ok(self.with(|nursery| nursery.forked(ticket, pid))??)
    }

    /// The request's worker could not be forked.
    fn failed(&self, ticket: u64, errno: i32) -> PyResult<()> {
        self.with(|nursery| nursery.failed(ticket, errno))
    }

    /// Closes what is the zygote's: for a worker that has just been forked. It keeps the parent's pidfd, as a number of its own.
    fn leave(&self) -> PyResult<RawFd> {
        let nursery = self.0.lock().take();
        let parent = nursery.map(Nursery::into_parent).ok_or_else(gone)?;
        Ok(OwnedFd::from(parent).into_raw_fd())
    }
}
