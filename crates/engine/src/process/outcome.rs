//! What a call in a process ended with, as it came: bytes, or the news of why there is no result.
//!
//! Whoever completes the future needs no interpreter for that. Whoever asks first unpacks it, attached, once; then the
//! bytes are gone and the object is there. What cannot be unpacked is the exception that says so.

use super::extent::{self, Unpacked};
use super::protocol::{form, how};
use super::telemetry::Telemetry;
use super::{codec, driver::functions::CallText};
use crate::door;
use crate::held::{Held, HeldSlot};
use plait_core::Latch;
use plait_ring::Parcel;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi::PyObject;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict};
use pyo3::{PyTraverseError, PyVisit};
use smallvec::SmallVec;
use std::sync::atomic::{AtomicBool, Ordering};

/// Results that are shorter lie in the outcome itself.
const SHORT: usize = 24;

/// Why a call has no result.
#[derive(Debug)]
pub enum Fate {
    /// The process that ran it ended.
    Died {
        exitcode: Option<i32>,
        stderr: String,
        pid: i32,
        call: CallText,
    },
    /// It ran longer than it may, in seconds.
    Late { seconds: Option<f64>, call: CallText },
    /// Its process used more memory than it may, in bytes.
    Big {
        used: Option<u64>,
        limit: Option<u64>,
        call: CallText,
    },
    /// There is no worker for it.
    Broken(String),
    /// It could not be sent: the exception.
    Unsent(Held),
}

#[derive(Debug)]
enum Body {
    Bytes(u8, SmallVec<[u8; SHORT]>),
    /// In a segment; whether a copy is wanted.
    Large(Box<Parcel>, bool),
    Fate(Fate),
    /// Somebody unpacks it, or has.
    Taken,
}

/// A value as it came from a worker.
#[derive(Debug)]
pub enum Arrived<'a> {
    /// In the record: its form and bytes.
    Bytes(u8, &'a [u8]),
    /// In a segment.
    Large(Parcel),
}

/// An outcome that nobody may have looked at yet.
#[derive(Debug)]
pub struct Packed {
    /// Whether it is an exception, as far as that is known without unpacking.
    failed: AtomicBool,
    body: Latch<Body>,
    object: HeldSlot,
    pub telemetry: Telemetry,
}

/// An outcome as Python has it, borrowed from the [`Packed`].
#[derive(Debug, Clone, Copy)]
pub enum Opened {
    Value(*mut PyObject),
    Error(*mut PyObject),
}

impl Packed {
    /// What a worker sent; of a large value, with `copy`, a copy that can be written to.
    #[must_use]
    pub fn result(kind: u8, value: Arrived<'_>, copy: bool, telemetry: Telemetry) -> Self {
        let body = match value {
            Arrived::Bytes(form, bytes) => Body::Bytes(form, SmallVec::from_slice(bytes)),
            Arrived::Large(parcel) => Body::Large(Box::new(parcel), copy),
        };
        Self {
            failed: AtomicBool::new(kind != how::VALUE),
            body: Latch::new(body),
            object: HeldSlot::default(),
            telemetry,
        }
    }

    /// That there is no result.
    #[must_use]
    pub fn fate(fate: Fate, telemetry: Telemetry) -> Self {
        Self {
            failed: AtomicBool::new(true),
            body: Latch::new(Body::Fate(fate)),
            object: HeldSlot::default(),
            telemetry,
        }
    }

    /// Whether it is an exception, without unpacking it.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// The object, if it has been unpacked.
    #[inline]
    #[must_use]
    pub fn opened(&self, py: Python<'_>) -> Option<Opened> {
        let object = self.object.get(py)?.as_ptr();
        Some(if self.failed() {
            Opened::Error(object)
        } else {
            Opened::Value(object)
        })
    }

    /// The object; unpacks it first if nobody has.
    pub fn open(&self, py: Python<'_>) -> Opened {
        loop {
            if let Some(opened) = self.opened(py) {
                return opened;
            }
            let body = std::mem::replace(&mut *self.body.lock(), Body::Taken);
            let unpacked = match body {
                Body::Taken => {
                    // Another thread unpacks it, which may run any code: seldom, and not for long.
                    door::detached(py, || std::thread::sleep(std::time::Duration::from_micros(50)));
                    continue;
                }
                Body::Bytes(form, bytes) => unpack(py, form, &bytes),
                Body::Large(parcel, copy) => unpack_large(py, *parcel, copy),
                Body::Fate(fate) => explain(py, fate),
            };
            let object = unpacked.and_then(|object| {
                if self.failed() && !object.is_instance_of::<pyo3::exceptions::PyBaseException>() {
                    return Err(PyRuntimeError::new_err("a worker sent an exception that is none"));
                }
                Ok(object)
            });
            let object = object.unwrap_or_else(|error| {
                self.failed.store(true, Ordering::Relaxed);
                error.into_value(py).into_bound(py).into_any()
            });
            self.object.fill(object.into());
        }
    }

    /// For `__traverse__`.
    ///
    /// # Errors
    /// What the visitor returns.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(body) = self.body.try_lock()
            && let Body::Fate(Fate::Unsent(error)) = &*body
        {
            error.traverse(visit)?;
        }
        self.object.traverse(visit)
    }
}

/// A value that a worker has sent.
///
/// # Errors
/// `BrokenProcessPool`, as in the standard library, from what unpickling raises.
pub fn unpack<'py>(py: Python<'py>, form: u8, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    match form {
        form::SIMPLE => codec::decode(py, bytes).map_err(|error| broken(py, error)),
        form::PICKLE => loads(py)?
            .call1((PyBytes::new(py, bytes),))
            .map_err(|error| broken(py, error)),
        _ => Err(PyRuntimeError::new_err(
            "a worker sent a value in a form that is not known",
        )),
    }
}

fn unpack_large(py: Python<'_>, parcel: Parcel, copy: bool) -> PyResult<Bound<'_, PyAny>> {
    let (pickle, buffers) = match extent::unpack(py, parcel, copy)? {
        Unpacked::Simple(bytes, mut beside) => {
            return codec::decode_with(py, &bytes, &mut beside).map_err(|error| broken(py, error));
        }
        Unpacked::Pickle(pickle, buffers) => (pickle, buffers),
    };
    let named = PyDict::new(py);
    named.set_item(intern!(py, "buffers"), buffers)?;
    loads(py)?
        .call((pickle,), Some(&named))
        .map_err(|error| broken(py, error))
}

/// What a result that cannot be unpickled raises.
#[cold]
fn broken(py: Python<'_>, error: PyErr) -> PyErr {
    let error = error.into_value(py);
    let told =
        pickling(py).and_then(|pickling| pickling.call_method1(intern!(py, "broken_result"), (error,)));
    told.map_or_else(|other| other, PyErr::from_value)
}

fn loads(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    LOADS.import(py, "plait._processes.pickling", "loads")
}

/// `plait._processes.pickling`.
///
/// # Errors
/// What importing it raises.
pub fn pickling(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    py.import(intern!(py, "plait._processes.pickling"))
}

/// The exception that says it.
fn explain(py: Python<'_>, fate: Fate) -> PyResult<Bound<'_, PyAny>> {
    let errors = || py.import(intern!(py, "plait.concurrent.futures._errors"));
    match fate {
        Fate::Died {
            exitcode,
            stderr,
            pid,
            call,
        } => errors()?
            .getattr("WorkerDied")?
            .call1((exitcode, stderr, call.text(py), pid)),
        Fate::Late { seconds, call } => errors()?.getattr("TaskTimeout")?.call1((seconds, call.text(py))),
        Fate::Big { used, limit, call } => {
            errors()?
                .getattr("MemoryLimitExceeded")?
                .call1((used, limit, call.text(py)))
        }
        Fate::Broken(why) => py
            .import("concurrent.futures.process")?
            .getattr("BrokenProcessPool")?
            .call1((why,)),
        Fate::Unsent(error) => Ok(error.into_bound(py)),
    }
}
