//! Waits that last are entered in the wait graph; the last one to close a cycle finds it.
//!
//! Nothing of this is on a fast path: a wait comes here when it has lasted 100 ms, enters itself, and
//! looks ([`Watch::look`]). What it finds has to be found again 100 ms later, with the very same waits, before it is
//! believed. `docs/design/deadlock.md` says what is found, and why.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`registry`] | the waits that have lasted, of all threads |
//! | [`mode`] | `PLAIT_DEADLOCK` |
//! | [`join`] | the wait for a thread's end |
//! | [`report`] | what is asked of Python: who runs, and the text of a report |

pub mod join;
pub mod mode;
mod registry;
mod report;

use crate::door;
use mode::Mode;
use plait_core::Waiter;
use plait_core::clock::Nanos;
use plait_core::graph::{Ident, Wait};
use pyo3::exceptions::{PyException, PyRuntimeError, PyRuntimeWarning};
use pyo3::{ffi, prelude::*};
use registry::{Claim, Entry, Finding, Key};
use report::Interpreter;
pub use report::is_finalizing;
use std::ptr::NonNull;

pyo3::create_exception!(
    plait,
    DeadlockError,
    PyRuntimeError,
    "This wait can never end: those who could end it wait themselves, in the end for this thread."
);
pyo3::create_exception!(
    plait,
    DeadlockWarning,
    PyRuntimeWarning,
    "This wait may never end: those who are expected to end it wait themselves."
);

/// How long a wait lasts before it is entered, and between a finding and its confirmation.
pub const PATIENCE: Nanos = 100_000_000;

/// What a thread waits for, and who could end the wait.
pub trait Reason {
    /// The object that is waited for, borrowed: alive as long as the wait.
    fn object(&self) -> *mut ffi::PyObject;

    /// What is done with it, as in "waits to *acquire* Lock".
    fn action(&self) -> &'static str;

    /// Who could end the wait. Called under the registry's latch: reads atomics only, never Python.
    fn resolvers(&self) -> Wait;

    /// What the object is to those who could end the wait. Called as [`resolvers`](Reason::resolvers) is.
    fn link(&self) -> Link {
        Link::Held
    }

    /// Whether the thread that waits looks for deadlocks, and so may have to report one. If not, it only counts as
    /// one that waits: an idle worker, in which no code of the program's could be told.
    fn looks(&self) -> bool {
        true
    }
}

/// What an object that is waited for is to the threads that could end the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// They hold it.
    Held,
    /// They run it: a future.
    Run,
    /// It waits in a queue for one of them: a future.
    Queued,
    /// It is that thread: a join.
    Same,
}

/// The reason of a wait that anyone might end: an event, a semaphore, a queue.
#[derive(Debug)]
pub struct Anyone {
    pub object: *mut ffi::PyObject,
    pub action: &'static str,
}

impl Reason for Anyone {
    fn object(&self) -> *mut ffi::PyObject {
        self.object
    }

    fn action(&self) -> &'static str {
        self.action
    }

    fn resolvers(&self) -> Wait {
        Wait {
            resolvers: Vec::new(),
            only_these: false,
        }
    }
}

/// Whether waits are watched at all.
#[must_use]
pub fn enabled() -> bool {
    Mode::now() != Mode::Off
}

/// Whether `error` says that a wait can never end.
#[must_use]
pub fn is_error(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<DeadlockError>(py) || error.is_instance_of::<DeadlockWarning>(py)
}

/// What kind of deadlock it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Threads wait for each other.
    Cycle,
    /// A thread waits for what an ended one holds.
    Ended,
    /// All threads wait, and not all of them for each other.
    Everyone,
}

/// What a look has found.
#[derive(Debug, PartialEq, Eq)]
struct Suspicion {
    kind: Kind,
    certain: bool,
    /// The looking thread's wait comes first.
    waits: Vec<Key>,
}

/// One thread's wait, while it lasts. It stays where it is, on that thread's stack.
pub struct Watch<'a> {
    reason: &'a dyn Reason,
    waiter: Option<&'a Waiter>,
    entered: Option<Key>,
    /// The entry of a wait around this one: that of a thread whose signal handler waits.
    around: Option<Entry>,
    suspicion: Option<Suspicion>,
    /// When to look again where nothing is found: doubles, so that a long wait costs ever less.
    delay: Nanos,
}

impl<'a> Watch<'a> {
    /// Not entered yet.
    pub fn new(waiter: &'a Waiter, reason: &'a dyn Reason) -> Self {
        Self::of(reason, Some(waiter))
    }

    /// As [`new`](Watch::new), for a wait in the interpreter's own code, which notifies nobody.
    pub fn of_interpreter(reason: &'a dyn Reason) -> Self {
        Self::of(reason, None)
    }

    fn of(reason: &'a dyn Reason, waiter: Option<&'a Waiter>) -> Self {
        Self {
            reason,
            waiter,
            entered: None,
            around: None,
            suspicion: None,
            delay: PATIENCE,
        }
    }

    /// Enters the wait, if it has not been, and tells whether a look could find anything. Needs no interpreter: thousands
    /// of threads that wait for one event would otherwise queue up for the GIL only to find that somebody still runs.
    pub fn glance(&mut self) -> bool {
        self.enter();
        !self.reason.resolvers().resolvers.is_empty()
            || door::is_main_thread()
            || registry::len() >= threads_of_process()
    }

    /// Enters the wait, if it has not been, and looks for a deadlock. When to look again, if at all.
    ///
    /// # Errors
    /// `DeadlockError` where nobody can ever end the wait, and what a signal handler raised meanwhile.
    pub fn look(&mut self, py: Python<'_>) -> PyResult<Option<Nanos>> {
        let end = self.enter_and_look(py);
        match end {
            // A failure to look is not the caller's: his wait goes on.
            Err(error) if error.is_instance_of::<PyException>(py) && !is_error(py, &error) => {
                error.write_unraisable(py, None);
                Ok(None)
            }
            end => end,
        }
    }

    /// Runs `f`, which runs signal handlers: meanwhile the thread does not count as blocked.
    pub fn awake<R>(&self, f: impl FnOnce() -> R) -> R {
        if let Some(key) = self.entered {
            registry::set_awake(key, true);
        }
        let result = f();
        if let Some(key) = self.entered {
            registry::set_awake(key, false);
        }
        result
    }

    fn enter(&mut self) -> Key {
        match self.entered {
            Some(key) if registry::holds(key) => key,
            _ => {
                let reason: NonNull<dyn Reason + 'a> = NonNull::from(self.reason);
                // SAFETY: only the lifetime changes; see below.
                let reason: NonNull<dyn Reason> = unsafe { std::mem::transmute(reason) };
                // SAFETY: this watch borrows both, and leaves when it is dropped.
                let (key, around) =
                    unsafe { registry::enter(door::ident(), reason, self.waiter.map(NonNull::from)) };
                self.around = around;
                self.entered = Some(key);
                key
            }
        }
    }

    fn enter_and_look(&mut self, py: Python<'_>) -> PyResult<Option<Nanos>> {
        let Some(python) = Interpreter::get(py)? else {
            return Ok(None);
        };
        let me = self.enter();
        if !self.reason.looks() {
            return Ok(None);
        }
        let Some(found) = suspect(&python, me)? else {
            self.suspicion = None;
            return Ok(self.later());
        };
        if self.suspicion.as_ref() != Some(&found) {
            self.suspicion = Some(found);
            return Ok(Some(PATIENCE));
        }
        let everyone = found.kind == Kind::Everyone;
        let raises = !everyone && Mode::now().raises(found.certain);
        match registry::claim(&found.waits, everyone, raises) {
            Claim::Gone => {
                self.suspicion = None;
                Ok(Some(PATIENCE))
            }
            Claim::Told => Ok(self.later()),
            Claim::Yours(lines) => {
                let text = python.text(found.kind, found.certain, &lines)?;
                if raises {
                    return Err(DeadlockError::new_err(text));
                }
                self.awake(|| python.warn(&text))?;
                Ok(self.later())
            }
        }
    }

    /// A finding can come to be without a new wait, when a thread ends. So whoever waits for somebody looks again, and
    /// so does the main thread.
    fn later(&mut self) -> Option<Nanos> {
        let delay = self.delay;
        self.delay = delay.saturating_mul(2);
        (door::is_main_thread() || !self.reason.resolvers().resolvers.is_empty()).then_some(delay)
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.entered {
            registry::leave(key, self.around);
        }
    }
}

/// How many threads this process has, whoever started them.
fn threads_of_process() -> usize {
    use std::os::unix::fs::MetadataExt;
    // The links of the folder: itself, its parent, and one for each thread.
    std::fs::metadata("/proc/self/task").map_or(0, |folder| {
        usize::try_from(folder.nlink()).unwrap_or(0).saturating_sub(2)
    })
}

/// Looks at one thread's wait.
fn suspect(python: &Interpreter<'_>, me: Key) -> PyResult<Option<Suspicion>> {
    let (kind, certain, waits) = match registry::examine(me.0) {
        Finding::Others => return Ok(None),
        Finding::Runs(thread) => {
            // Whoever has ended is not blocked, but will not go on either.
            if registry::holder(me.0) != Some(thread) || python.runs(thread)? {
                return Ok(None);
            }
            (Kind::Ended, !python.strangers()?, vec![me])
        }
        Finding::Anyone => match everyone(python, None)? {
            Some(mut waits) if waits.len() > 1 => {
                waits.sort_by_key(|wait| wait.0 != me.0);
                (Kind::Everyone, false, waits)
            }
            _ => return Ok(None),
        },
        Finding::Cycle(waits, certain) => {
            // An ended thread's ident may be another's by now, while its joiner has yet to wake up.
            for (thread, ident) in registry::joined(&waits) {
                if !python.is_alive(&thread, ident)? {
                    return Ok(None);
                }
            }
            // Its own plain lock: anyone may release it, but there has to be someone.
            let alone = waits.len() == 1;
            let certain = certain || alone && everyone(python, Some(me.0))?.is_some();
            (Kind::Cycle, certain, waits)
        }
    };
    Ok(Some(Suspicion { kind, certain, waits }))
}

/// The waits of all threads of the program, if each of them is blocked and nothing else can wake one.
fn everyone(python: &Interpreter<'_>, but_for: Option<Ident>) -> PyResult<Option<Vec<Key>>> {
    let threads = python.threads(registry::len(), but_for)?;
    Ok(threads.and_then(|threads| registry::all_blocked(&threads)))
}

/// Adds the names of deadlocks to the module, and reads `PLAIT_DEADLOCK`.
///
/// # Errors
/// As [`mode::read`].
pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    mode::read(py)?;
    module.add("DeadlockError", py.get_type::<DeadlockError>())?;
    module.add("DeadlockWarning", py.get_type::<DeadlockWarning>())?;
    module.add_function(wrap_pyfunction!(join::watches_joins, module)?)?;
    module.add_function(wrap_pyfunction!(join::join, module)?)
}
