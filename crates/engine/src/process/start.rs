//! How a pool comes by a worker: from plait's zygote, without the interpreter, or from a context of `multiprocessing`, with it.
//!
//! `plait._processes.start` makes the starters: it knows what a worker inherits (`sys.path`, directory, environment, …), and says so
//! each time that a worker is started by a thread that is attached anyway. One that is started without the GIL gets what the last
//! one got.

use crate::held::{Held, HeldSlot};
use plait_core::latch::Latch;
use plait_proc::{Command, Pidfd, Worker, Zygote};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use std::ffi::CString;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

/// What a new worker makes of itself, and the descriptors that it finds beside its link.
#[derive(Debug, Default)]
struct Prepared {
    data: Vec<u8>,
    inherited: Vec<OwnedFd>,
}

/// A zygote, and what its next worker is to be.
#[derive(Debug)]
struct Nest {
    zygote: Arc<Zygote>,
    prepared: Latch<Arc<Prepared>>,
}

/// Starts workers of one pool.
#[derive(Debug)]
pub enum Starter {
    /// By plait's zygote.
    Zygote(ZygoteStarter),
    /// By whatever has `start(link_fd, stderr_fd)`, which is called attached. Dropped attached.
    Python(Held),
}

/// A worker that is being started.
#[derive(Debug)]
pub enum Asked {
    /// The zygote has the request.
    Ticket(u64),
    /// It is there already.
    Started(Started),
}

/// What a starter has started.
#[derive(Debug)]
pub struct Started {
    /// Its process number.
    pub pid: i32,
    /// Itself.
    pub process: Pidfd,
    /// What tells its exit code.
    pub handle: Handle,
}

/// What is known of a worker's process beside its descriptor.
#[derive(Debug)]
pub enum Handle {
    /// A zygote's worker, and its object for Python from the first time that somebody asks for it. Dropped attached.
    Zygote(Arc<Worker>, HeldSlot),
    /// What the starter returned. Dropped attached.
    Python(Held),
}

impl Starter {
    /// The starter that the object is.
    #[must_use]
    pub fn of(object: &Bound<'_, PyAny>) -> Self {
        match object.cast::<ZygoteStarter>() {
            Ok(starter) => Self::Zygote(starter.get().clone()),
            Err(_) => Self::Python(object.clone().into()),
        }
    }

    /// Whether asking has to be done attached.
    #[must_use]
    pub fn needs_python(&self) -> bool {
        matches!(self, Self::Python(_))
    }

    /// Has the next workers inherit what the process is now.
    ///
    /// # Errors
    /// The system's.
    pub fn prepare(&self, py: Python<'_>) -> PyResult<()> {
        static FUNCTION: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let Self::Zygote(starter) = self else {
            return Ok(());
        };
        FUNCTION
            .import(py, "plait._processes.start", "prepare")?
            .call1((starter.clone(),))
            .map(drop)
    }

    /// Asks for a worker of any kind, by a thread that is attached and holds no latch, after [`prepare`](Self::prepare). What
    /// starts it by itself begins while the caller goes on; [`answer`](Self::answer) has to follow.
    ///
    /// # Errors
    /// The system's; what the starter raises.
    pub fn ask(&self, py: Python<'_>, link: BorrowedFd<'_>, stderr: BorrowedFd<'_>) -> PyResult<Asked> {
        match self {
            // Detached: who waits for an answer keeps others from asking, for as long as a stopped zygote takes.
            Self::Zygote(starter) => Ok(py.detach(|| starter.ask(link, stderr))?),
            Self::Python(object) => {
                let handle = object
                    .bind(py)
                    .call_method1("start", (link.as_raw_fd(), stderr.as_raw_fd()))?;
                Started::by_python(&handle).map(Asked::Started)
            }
        }
    }

    /// Whether [`ask_detached`](Self::ask_detached) is possible.
    #[must_use]
    pub fn can_detach(&self) -> bool {
        matches!(self, Self::Zygote(starter) if !starter.0.prepared.lock().data.is_empty())
    }

    /// As [`ask`](Self::ask), without the interpreter: the worker inherits what the last one did.
    ///
    /// # Errors
    /// The system's; `Unsupported` unless it [can](Self::can_detach).
    pub fn ask_detached(&self, link: BorrowedFd<'_>, stderr: BorrowedFd<'_>) -> Result<Asked> {
        match self {
            Self::Zygote(starter) => starter.ask(link, stderr),
            Self::Python(_) => Err(ErrorKind::Unsupported.into()),
        }
    }

    /// The worker that was asked for, with the same descriptors. Needs no interpreter, and waits.
    ///
    /// # Errors
    /// The system's.
    pub fn answer(&self, asked: Asked, link: BorrowedFd<'_>, stderr: BorrowedFd<'_>) -> Result<Started> {
        match (self, asked) {
            (Self::Zygote(starter), Asked::Ticket(ticket)) => {
                starter.answer(ticket, link, stderr).and_then(Started::of)
            }
            (_, Asked::Started(started)) => Ok(started),
            (Self::Python(_), Asked::Ticket(_)) => Err(Error::other("a ticket of another starter")),
        }
    }
}

impl Started {
    fn of(worker: Arc<Worker>) -> Result<Self> {
        Ok(Self {
            pid: worker.pid(),
            process: worker.process().as_fd().try_clone_to_owned()?.into(),
            handle: Handle::Zygote(worker, HeldSlot::default()),
        })
    }

    fn by_python(handle: &Bound<'_, PyAny>) -> PyResult<Self> {
        let process: RawFd = handle.getattr("pidfd")?.extract()?;
        Ok(Self {
            pid: handle.getattr("pid")?.extract()?,
            process: borrow(process)?.try_clone_to_owned()?.into(),
            handle: Handle::Python(handle.clone().into()),
        })
    }
}

impl Handle {
    /// The object for Python, always the same: it looks like a `multiprocessing.Process`.
    ///
    /// # Errors
    /// What making it raises.
    pub fn object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        match self {
            Self::Zygote(worker, slot) => {
                if slot.get(py).is_none() {
                    let class = CLASS.import(py, "plait._processes.handles", "ZygoteProcess")?;
                    slot.fill(class.call1((ZygoteWorker(Arc::clone(worker)),))?.into());
                }
                let gone = || PyRuntimeError::new_err("the pool is gone");
                Ok((*slot.get(py).ok_or_else(gone)?).clone())
            }
            Self::Python(handle) => Ok((*handle.bind(py)).clone()),
        }
    }

    /// The exit code of a process that has ended, as `multiprocessing.Process.exitcode`: `None` while it has not. Attached, and
    /// detaches while it waits for the zygote's report.
    ///
    /// # Errors
    /// What the starter's handle raises.
    pub fn status(&self, py: Python<'_>) -> PyResult<Option<i32>> {
        match self {
            Self::Zygote(worker, _) => Ok(py.detach(|| worker.status())),
            Self::Python(handle) => handle.bind(py).getattr("exitcode")?.extract(),
        }
    }

    /// For `__traverse__`.
    ///
    /// # Errors
    /// What the visitor returns.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> std::result::Result<(), PyTraverseError> {
        match self {
            Self::Zygote(_, slot) => slot.traverse(visit),
            Self::Python(handle) => handle.traverse(visit),
        }
    }

    /// As [`status`](Self::status), without the interpreter: `None` also where it cannot be told so.
    #[must_use]
    pub fn status_detached(&self) -> Option<i32> {
        match self {
            Self::Zygote(worker, _) => worker.status(),
            Self::Python(_) => None,
        }
    }
}

pub(super) fn borrow<'a>(fd: RawFd) -> PyResult<BorrowedFd<'a>> {
    // SAFETY: a plain question; whoever names a descriptor keeps it open during the call that is made with it.
    unsafe {
        if libc::fcntl(fd, libc::F_GETFD) < 0 {
            return Err(Error::last_os_error().into());
        }
        Ok(BorrowedFd::borrow_raw(fd))
    }
}

fn strings(list: Vec<Vec<u8>>) -> PyResult<Vec<CString>> {
    let string = |bytes| CString::new(bytes).map_err(|_| PyValueError::new_err("embedded null byte"));
    list.into_iter().map(string).collect()
}

/// Asks a zygote for the workers of one pool; `plait._processes.start.zygote_starter` makes them.
#[pyclass(frozen, module = "plait._engine")]
#[derive(Debug, Clone)]
pub struct ZygoteStarter(Arc<Nest>);

impl ZygoteStarter {
    /// Asks for a worker that inherits what the last [`prepare`](Starter::prepare) has said.
    fn ask(&self, link: BorrowedFd<'_>, stderr: BorrowedFd<'_>) -> Result<Asked> {
        let prepared = Arc::clone(&self.0.prepared.lock());
        let mut fds = vec![link, stderr];
        fds.extend(prepared.inherited.iter().map(AsFd::as_fd));
        // SAFETY: a plain question, and the descriptor is used at once.
        if unsafe { libc::fcntl(1, libc::F_GETFD) } >= 0 {
            // SAFETY: it is open, as was just seen; the program's own standard output.
            fds.push(unsafe { BorrowedFd::borrow_raw(1) });
        }
        self.0.zygote.request(&prepared.data, &fds).map(Asked::Ticket)
    }

    fn answer(&self, ticket: u64, link: BorrowedFd<'_>, stderr: BorrowedFd<'_>) -> Result<Arc<Worker>> {
        let lost = |error: &Error| error.kind() == ErrorKind::ConnectionReset;
        match self.0.zygote.answer(ticket) {
            Err(error) if lost(&error) => {}
            end => return end,
        }
        // The zygote died, and has started nobody: another one is asked.
        let Asked::Ticket(ticket) = self.ask(link, stderr)? else {
            return Err(ErrorKind::ConnectionReset.into());
        };
        self.0.zygote.answer(ticket).map_err(|error| {
            if lost(&error) {
                Error::other("the zygote died twice before it had started a worker")
            } else {
                error
            }
        })
    }
}

#[pymethods]
impl ZygoteStarter {
    #[new]
    fn new(zygote: &Bound<'_, ZygoteProcess>) -> Self {
        Self(Arc::new(Nest {
            zygote: Arc::clone(&zygote.get().0),
            prepared: Latch::new(Arc::default()),
        }))
    }

    /// What workers are told from now on, and the descriptors that they get (duplicates are taken).
    fn _prepare(&self, data: Vec<u8>, fds: Vec<RawFd>) -> PyResult<()> {
        let copy = |fd: RawFd| Ok(borrow(fd)?.try_clone_to_owned()?);
        let inherited = fds.into_iter().map(copy).collect::<PyResult<_>>()?;
        let new = Arc::new(Prepared { data, inherited });
        let old = std::mem::replace(&mut *self.0.prepared.lock(), new);
        drop(old);
        Ok(())
    }

    /// Starts a worker that has this link to its parent and this standard error.
    fn start<'py>(&self, py: Python<'py>, link: RawFd, stderr: RawFd) -> PyResult<Bound<'py, PyAny>> {
        let (link, stderr) = (borrow(link)?, borrow(stderr)?);
        let starter = Starter::Zygote(self.clone());
        starter.prepare(py)?;
        let asked = starter.ask(py, link, stderr)?;
        let started = py.detach(|| starter.answer(asked, link, stderr))?;
        started.handle.object(py)
    }
}

/// The zygote of this process, or the means to start it.
#[pyclass(frozen, module = "plait._engine", name = "Zygote")]
#[derive(Debug)]
pub struct ZygoteProcess(Arc<Zygote>);

#[pymethods]
impl ZygoteProcess {
    /// `first` is what it is told before the first request.
    #[new]
    fn new(argv: Vec<Vec<u8>>, env: Vec<Vec<u8>>, first: Vec<u8>) -> PyResult<Self> {
        Ok(Self(Zygote::new(Command {
            argv: strings(argv)?,
            env: strings(env)?,
            first,
        })))
    }

    /// Starts it now, if it does not run. Its process number.
    fn ensure(&self, py: Python<'_>) -> PyResult<i32> {
        Ok(py.detach(|| self.0.ensure())?)
    }

    /// Its process number, if it runs, and how many were started so far.
    fn process(&self, py: Python<'_>) -> (Option<i32>, u32) {
        py.detach(|| self.0.process())
    }

    /// Whether it serves this process: a fork of the one that made it has to make its own.
    fn is_ours(&self) -> bool {
        self.0.is_ours()
    }
}

/// A worker that a zygote has forked.
#[pyclass(frozen, module = "plait._engine")]
#[derive(Debug)]
pub struct ZygoteWorker(Arc<Worker>);

#[pymethods]
impl ZygoteWorker {
    #[getter]
    fn pid(&self) -> i32 {
        self.0.pid()
    }

    /// Which of the workers of this process it is, counted from 1.
    #[getter]
    fn number(&self) -> u64 {
        self.0.ticket()
    }

    /// Open as long as this object is.
    #[getter]
    fn pidfd(&self) -> RawFd {
        self.0.process().as_raw_fd()
    }

    /// As `multiprocessing.Process.exitcode`.
    #[getter]
    fn exitcode(&self, py: Python<'_>) -> Option<i32> {
        py.detach(|| self.0.status())
    }

    #[getter]
    fn has_ended(&self) -> bool {
        self.0.process().has_ended()
    }

    /// Sends it a signal; nothing happens if it has ended.
    fn signal(&self, number: i32) -> PyResult<()> {
        match self.0.process().signal(number) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => Err(error.into()),
            _ => Ok(()),
        }
    }
}
