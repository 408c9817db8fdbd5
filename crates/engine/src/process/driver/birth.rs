//! How a worker begins: its memory, its link with the hello in it, its process; then the driver has it.
//!
//! The policy asks for a worker; whoever is attached next has the starter make it, so that `submit` returns when the worker
//! that it wanted is there. One that cannot be started counts as one that died at once. A zygote is asked for all that are
//! wanted before the first is waited for (but for a new `Pool`: [`super::later`]); others make one after the other, since a
//! fork takes along what is open.
//! The reader has plait's zygote make one without the interpreter, which another thread may keep for itself.

use super::Driver;
use super::inside::News;
use super::worker::{Process, Shared, Worker};
use crate::door;
use crate::process::reader::{self, Source};
use crate::process::start::{Asked, Starter};
use plait_core::clock;
use plait_pool::WorkerId;
use plait_proc::link::Link;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Driver {
    /// A call cannot be sent: a worker is started for it even so, as the standard library does, for programs that count on it.
    pub fn start_for_unsent(self: &Arc<Self>, py: Python<'_>) {
        let mut guard = self.inside.lock();
        let inside = &mut *guard;
        if self.settings.eager {
            inside.policy.fill(&mut inside.out);
        } else {
            inside.policy.start_another(&mut inside.out);
        }
        let mut news = News::default();
        inside.carry_out(clock::now(), &mut news);
        drop(guard);
        if news.starts {
            self.serve_starts(Some(py));
        }
    }

    /// Starts the workers that the policy wants; without the interpreter, those that can be started so.
    #[cold]
    pub fn serve_starts(self: &Arc<Self>, py: Option<Python<'_>>) {
        let starter = self.starter.lock().clone();
        let most = if self.has_zygote() { usize::MAX } else { 1 };
        let mut prepared = false;
        loop {
            let mut inside = self.inside.lock();
            // Whoever opens a pool is told why the last could not be started: for him all are tried.
            if py.is_none() && inside.policy.needs_no_more() {
                let mut news = News::default();
                let starts = std::mem::take(&mut inside.starts);
                inside.call_off(starts, clock::now(), &mut news);
                drop(inside);
                let _: News = self.after(news);
                break;
            }
            let count = inside.starts.len().min(most);
            let wanted: Vec<WorkerId> = inside.starts.drain(..count).collect();
            inside.starting += count;
            drop(inside);
            if wanted.is_empty() {
                break;
            }
            let mut ask = |id| (id, Begun::ask(py, starter.as_deref(), &mut prepared));
            let asked: Vec<_> = wanted.into_iter().map(&mut ask).collect();
            for (id, begun) in asked {
                self.enter(py, id, begun.and_then(|begun| self.bear(py, id, begun)));
            }
        }
        if !self.reader_is_there.swap(true, Ordering::AcqRel) {
            reader::spawn(self);
        }
        self.wake_if_over();
    }

    /// Enters a worker that was made, or why it was not.
    fn enter(self: &Arc<Self>, py: Option<Python<'_>>, id: WorkerId, born: PyResult<Worker>) {
        if let (Some(py), Err(error)) = (py, &born) {
            // It is kept, and would keep all that the frames hold.
            error.set_traceback(py, None);
        }
        let mut news = News::default();
        let mut before = None;
        let mut missed = false;
        let mut guard = self.inside.lock();
        let inside = &mut *guard;
        inside.starting -= 1;
        match born {
            Ok(worker) => {
                inside.sums.started_workers += 1;
                let place = id.place();
                if place >= inside.workers.len() {
                    inside.workers.resize_with(place + 1, || None);
                }
                inside.workers[place] = Some(Box::new(worker));
                // What it did before it stood there was told to a reader that did not know it.
                missed = inside.has_records();
                if inside.worker(id).is_some_and(|its| its.process.has_ended()) {
                    inside.has_ended(id, &mut news);
                }
                if inside.policy.is_broken() {
                    // It was given up while it came to be.
                    inside.out.push(plait_pool::Action::Kill(id));
                }
            }
            Err(error) => {
                inside.why = format!("A worker process could not be started: {error}");
                before = if py.is_some() {
                    inside.start_error.replace(error)
                } else {
                    Some(error)
                };
                inside.policy.died(id, None, &mut inside.out);
                if inside.policy.is_broken() {
                    inside.gate = super::Gate::Broken;
                }
            }
        }
        inside.carry_out(clock::now(), &mut news);
        inside.publish(&mut news);
        drop(guard);
        drop(before);
        let _: News = self.after(news);
        if missed {
            self.wake_reader();
        }
    }

    /// Whether a zygote makes the workers.
    pub fn has_zygote(&self) -> bool {
        let starter = self.starter.lock();
        starter.as_ref().is_some_and(|starter| !starter.needs_python())
    }

    /// Whether workers can be started without the interpreter.
    pub fn starts_detached(&self) -> bool {
        let starter = self.starter.lock();
        starter.as_ref().is_some_and(|starter| starter.can_detach())
    }

    fn bear(&self, py: Option<Python<'_>>, id: WorkerId, begun: Begun<'_>) -> PyResult<Worker> {
        let Begun {
            starter,
            link,
            theirs,
            stderr,
            their_stderr,
            asked,
        } = begun;
        // While it begins. If this fails it finds its link closed, and ends.
        let shared = Shared::new().and_then(|shared| {
            let given: [BorrowedFd<'_>; 5] = [
                shared.down.as_fd(),
                shared.up.as_fd(),
                shared.board.as_fd(),
                self.bell.as_fd(),
                self.eventfd.as_fd(),
            ];
            link.try_send(&self.hello, &given)?;
            Ok(shared)
        });
        let answer = |asked| starter.answer(asked, theirs.as_fd(), their_stderr.as_fd());
        let started = match asked {
            Asked::Started(started) => started,
            asked @ Asked::Ticket(_) => match py {
                Some(py) => door::detached(py, || answer(asked))?,
                None => answer(asked)?,
            },
        };
        let shared = shared?;
        let process = Process {
            link,
            stderr,
            process: started.process,
            pid: started.pid,
            handle: started.handle,
        };
        self.watch(&process.process, Source::Death(id))?;
        self.watch(&process.stderr, Source::Stderr(id))?;
        Ok(Worker::new(
            id,
            shared,
            process,
            self.settings.memory_limit.is_some(),
        ))
    }

    fn watch(&self, fd: &impl AsFd, source: Source) -> std::io::Result<()> {
        reader::watch(self.poller.as_fd(), fd.as_fd(), source)
    }
}

/// A worker that a starter has been asked for.
#[derive(Debug)]
struct Begun<'a> {
    starter: &'a Starter,
    link: Link,
    theirs: OwnedFd,
    stderr: OwnedFd,
    their_stderr: OwnedFd,
    asked: Asked,
}

impl<'a> Begun<'a> {
    /// Asks; `prepared`: the starter knows what workers are to inherit now.
    fn ask(py: Option<Python<'_>>, starter: Option<&'a Starter>, prepared: &mut bool) -> PyResult<Self> {
        let starter = starter.ok_or_else(|| PyRuntimeError::new_err("the pool is over"))?;
        let (link, theirs) = Link::pair()?;
        let (stderr, their_stderr) = pipe()?;
        let asked = match py {
            Some(py) => {
                if !*prepared {
                    starter.prepare(py)?;
                    *prepared = true;
                }
                starter.ask(py, theirs.as_fd(), their_stderr.as_fd())?
            }
            None => starter.ask_detached(theirs.as_fd(), their_stderr.as_fd())?,
        };
        Ok(Self {
            starter,
            link,
            theirs: theirs.into(),
            stderr,
            their_stderr,
            asked,
        })
    }
}

/// A pipe, closed on exec, whose reading end does not block.
fn pipe() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: room for two descriptors, which are new and ours.
    unsafe {
        if libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        let (read, write) = (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]));
        if libc::fcntl(read.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        Ok((read, write))
    }
}
