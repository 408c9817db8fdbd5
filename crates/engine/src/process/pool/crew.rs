//! `Crew`: a pool's workers without a way back to the executor; what is joined at the interpreter's exit.

use crate::deadlock::Anyone;
use crate::door;
use crate::limit::Limit;
use crate::process::driver::{Driver, Gate};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use std::sync::Arc;

/// The workers of a pool of processes.
#[pyclass(frozen, module = "plait._engine")]
#[derive(Debug)]
pub struct Crew {
    pub driver: Arc<Driver>,
}

/// Waits until everything is over.
///
/// # Errors
/// As [`door::wait`].
pub fn wait(py: Python<'_>, driver: &Driver, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
    if driver.is_foreign() {
        return Ok(true);
    }
    match Limit::from_timeout(timeout)? {
        _ if driver.over.is_set() => Ok(true),
        Limit::Now => Ok(false),
        limit => {
            let reason = Anyone {
                object: py.None().as_ptr(),
                action: "wait for the workers of a pool, from",
            };
            door::wait(py, &driver.over, limit, &reason)
        }
    }
}

/// The handles of the workers that are there; one that is being started is waited for.
///
/// # Errors
/// What making a handle raises.
pub fn workers<'py>(py: Python<'py>, driver: &Driver) -> PyResult<Vec<Bound<'py, PyAny>>> {
    if driver.is_foreign() {
        return Ok(Vec::new());
    }
    driver.wait_for_starts(py);
    let inside = driver.inside.lock();
    let handles: Vec<_> = inside
        .workers
        .iter()
        .flatten()
        .filter(|worker| !worker.is_dead)
        .map(|worker| Arc::clone(&worker.handle))
        .collect();
    drop(inside);
    handles.iter().map(|handle| handle.object(py)).collect()
}

/// Sums over all calls, and what each worker has done.
///
/// # Errors
/// No memory.
pub fn stats<'py>(py: Python<'py>, driver: &Driver) -> PyResult<Bound<'py, PyDict>> {
    let inside = driver.inside.lock();
    let sums = inside.sums;
    let unsettled = inside.policy.unsettled();
    let each: Vec<_> = inside
        .workers
        .iter()
        .flatten()
        .map(|worker| {
            let waiting = worker.sent.len() + worker.backlog.len();
            (worker.pid, worker.done, waiting, worker.board().running() != 0)
        })
        .collect();
    drop(inside);
    let dict = PyDict::new(py);
    sums.put(&dict)?;
    dict.set_item("unsettled", unsettled)?;
    let workers = PyList::empty(py);
    for (pid, done, waiting, running) in each {
        let worker = PyDict::new(py);
        worker.set_item("pid", pid)?;
        worker.set_item("done", done)?;
        worker.set_item("waiting", waiting)?;
        worker.set_item("running", running)?;
        workers.append(worker)?;
    }
    dict.set_item("workers", workers)?;
    Ok(dict)
}

#[pymethods]
impl Crew {
    /// Starts all workers now. Raises what the starter raises.
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        self.driver.start_all(py)
    }

    /// Takes no more calls. With `cancel`, those that have not begun are cancelled. `gate`: "shutdown" or "exit".
    #[pyo3(signature = (cancel, gate="shutdown"))]
    fn close(&self, py: Python<'_>, cancel: bool, gate: &str) -> PyResult<()> {
        let gate = match gate {
            "shutdown" => Gate::Shutdown,
            "exit" => Gate::Exit,
            _ => return Err(PyValueError::new_err(format!("no gate: {gate:?}"))),
        };
        self.driver.close(py, cancel, gate);
        Ok(())
    }

    /// Waits until everything is settled and delivered and every worker gone. False if `timeout` seconds come first.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<Bound<'_, PyAny>>) -> PyResult<bool> {
        wait(py, &self.driver, timeout.as_ref())
    }

    /// Sends every worker a signal; what is left of the calls fails.
    fn kill(&self, py: Python<'_>, signal: i32) {
        self.driver.kill(py, signal);
    }

    /// The handles of the workers that are there.
    fn workers<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        workers(py, &self.driver)
    }

    /// Why no calls are taken: "" while they are, or "shutdown", "exit", "broken".
    fn gate(&self) -> &'static str {
        self.driver.inside.lock().gate.name()
    }

    /// Why the pool is broken, or was given up.
    fn why(&self) -> String {
        self.driver.inside.lock().why.clone()
    }

    /// Sums over all calls so far, and the workers; times in seconds.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        stats(py, &self.driver)
    }
}
