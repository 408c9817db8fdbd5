//! What is asked of Python: which threads run, and the text of a report (`plait/_deadlock.py`).

use super::Kind;
use super::Link;
use super::registry::Line;
use crate::held::Held;
use plait_core::graph::Ident;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyModule;

/// The Python side of the watch.
pub struct Interpreter<'py>(Bound<'py, PyModule>);

impl<'py> Interpreter<'py> {
    /// None when the interpreter is ending: nothing is to be looked at then, since the stacks of daemon threads go away.
    ///
    /// # Errors
    /// What the import raises.
    pub fn get(py: Python<'py>) -> PyResult<Option<Self>> {
        static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
        if is_finalizing() {
            return Ok(None);
        }
        let module = MODULE.get_or_try_init(py, || {
            Ok::<_, PyErr>(py.import(intern!(py, "plait._deadlock"))?.unbind())
        })?;
        Ok(Some(Self(module.bind(py).clone())))
    }

    /// All Python threads, unless there are more than `waiting` or something else could wake one of them. `but_for` is the
    /// one of them that could never be woken by the exit of the main thread.
    pub fn threads(&self, waiting: usize, but_for: Option<Ident>) -> PyResult<Option<Vec<Ident>>> {
        let py = self.0.py();
        self.0
            .call_method1(intern!(py, "threads"), (waiting, but_for))?
            .extract()
    }

    /// Whether a Python thread has this ident.
    pub fn runs(&self, thread: Ident) -> PyResult<bool> {
        let py = self.0.py();
        self.0.call_method1(intern!(py, "runs"), (thread,))?.is_truthy()
    }

    /// Whether there are threads in the process that are not Python's: one might come back to Python.
    pub fn strangers(&self) -> PyResult<bool> {
        let py = self.0.py();
        self.0.call_method0(intern!(py, "strangers"))?.is_truthy()
    }

    /// Whether the `Thread` is alive and has this ident.
    pub fn is_alive(&self, thread: &Held, ident: Ident) -> PyResult<bool> {
        let py = self.0.py();
        self.0
            .call_method1(intern!(py, "is_alive"), (thread.bind(py), ident))?
            .is_truthy()
    }

    /// The text of a report.
    pub fn text(&self, kind: Kind, certain: bool, lines: &[Line]) -> PyResult<String> {
        let py = self.0.py();
        let kind = match kind {
            Kind::Cycle => "cycle",
            Kind::Ended => "ended",
            Kind::Everyone => "everyone",
        };
        let lines: Vec<_> = lines
            .iter()
            .map(|line| {
                let link = match line.link {
                    Link::Held => "held by",
                    Link::Run => "run by",
                    Link::Queued => "queued for",
                    Link::Same => "",
                };
                (
                    line.thread,
                    line.action,
                    line.object.bind(py),
                    link,
                    &line.resolvers,
                )
            })
            .collect();
        self.0
            .call_method1(intern!(py, "text"), (kind, certain, lines))?
            .extract()
    }

    /// Warns.
    ///
    /// # Errors
    /// The warning itself, where the program turns warnings into exceptions.
    pub fn warn(&self, text: &str) -> PyResult<()> {
        let py = self.0.py();
        self.0.call_method1(intern!(py, "warn"), (text,)).map(drop)
    }
}

/// Whether the interpreter is on its way out: no other thread runs Python code any more.
pub fn is_finalizing() -> bool {
    #[cfg(Py_3_13)]
    // SAFETY: the call cannot fail.
    unsafe {
        pyo3::ffi::Py_IsFinalizing() != 0
    }
    #[cfg(not(Py_3_13))]
    {
        unsafe extern "C" {
            fn _Py_IsFinalizing() -> std::ffi::c_int;
        }
        // SAFETY: exported by the interpreter before the public name came to be; it cannot fail.
        unsafe { _Py_IsFinalizing() != 0 }
    }
}
