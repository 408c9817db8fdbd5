//! One call: claimed, unpacked, made, answered.

use super::cost::Clocks;
use super::{ProcessWorker, filled};
use crate::held::Held;
use crate::process::codec::{self, Told, Walk};
use crate::process::extent::{self, Unpacked};
use crate::process::pickled;
use crate::process::protocol::{
    COPY, CallHead, LONGEST, NO_FUNCTION, ResultHead, SAY_STARTED, form, how, up,
};
use plait_ring::arena::{Arena, Limits};
use plait_ring::{Inbox, Offer};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The functions that have been sent.
#[derive(Debug, Default)]
pub struct Functions {
    all: HashMap<u32, Function>,
    /// The one that was called last: it mostly is the next one, too.
    last: Option<(u32, Held)>,
}

/// Unpickled by the first call that needs it: what goes wrong then is that call's.
#[derive(Debug)]
enum Function {
    Pickled(Vec<u8>),
    There(Held),
}

impl Functions {
    pub fn put(&mut self, number: u32, pickled: &[u8]) {
        self.forget(number);
        self.all.insert(number, Function::Pickled(pickled.to_vec()));
    }

    pub fn forget(&mut self, number: u32) {
        if self.last.as_ref().is_some_and(|(known, _)| *known == number) {
            self.last = None;
        }
        self.all.remove(&number);
    }

    #[inline]
    fn get<'py>(&mut self, py: Python<'py>, calls: &Hooks<'py>, number: u32) -> PyResult<Bound<'py, PyAny>> {
        match &self.last {
            Some((last, function)) if *last == number => Ok(function.bind(py).to_owned()),
            _ => self.find(py, calls, number),
        }
    }

    #[cold]
    fn find<'py>(&mut self, py: Python<'py>, calls: &Hooks<'py>, number: u32) -> PyResult<Bound<'py, PyAny>> {
        let function = match self.all.get(&number) {
            None => return Err(PyRuntimeError::new_err("a function that was not sent")),
            Some(Function::There(function)) => function.bind(py).to_owned(),
            Some(Function::Pickled(data)) => {
                let function = calls.loads.call1((PyBytes::new(py, data),))?;
                self.all.insert(number, Function::There(function.clone().into()));
                function
            }
        };
        self.last = Some((number, function.clone().into()));
        Ok(function)
    }
}

/// What is done in Python, looked up once.
pub struct Hooks<'py> {
    loads: Bound<'py, PyAny>,
    failed: Bound<'py, PyAny>,
}

/// What the calls of one worker have in common.
pub struct Calls<'py> {
    pub functions: Functions,
    pub clocks: Clocks,
    hooks: Hooks<'py>,
    /// Where values are encoded.
    value: Vec<u8>,
    /// The segments that large arguments lie in,
    inbox: Inbox,
    /// and those for large results.
    pub arena: Arc<Arena>,
}

impl<'py> Calls<'py> {
    pub fn new(py: Python<'py>, worker: &ProcessWorker) -> PyResult<Self> {
        let hooks = Hooks {
            loads: filled(&worker.hooks.loads, py)?.to_owned(),
            failed: filled(&worker.hooks.failed, py)?.to_owned(),
        };
        Ok(Self {
            functions: Functions::default(),
            clocks: Clocks::new(),
            hooks,
            value: Vec::new(),
            inbox: Inbox::new(),
            arena: Arena::new(Limits::default()),
        })
    }

    /// Whether nothing has to be unpickled before a call begins.
    fn is_loaded(&self, head: &CallHead) -> bool {
        head.form == form::SIMPLE
            && matches!(self.functions.all.get(&head.function), Some(Function::There(_)))
    }
}

/// Where a call went wrong, as the hook is told.
const CALL: &str = "call";
const ARGUMENTS: &str = "arguments";
const RESULT: &str = "result";

/// What became of a call, and the step that failed.
type Made<'py> = Result<Bound<'py, PyAny>, (&'static str, PyErr)>;

/// Makes the call, unless it was withdrawn, and sends what came of it.
///
/// # Errors
/// The ring cannot be used any more.
pub fn answer<'py>(
    worker: &ProcessWorker,
    py: Python<'py>,
    calls: &mut Calls<'py>,
    head: &CallHead,
    arguments: &[u8],
) -> PyResult<()> {
    if !worker.board.claim(head.sequence) {
        return Ok(());
    }
    worker.board.set_running(head.task);
    // Always before anything is unpickled, which may never end.
    let loads = head.flags & SAY_STARTED != 0 && !calls.is_loaded(head);
    if head.flags & SAY_STARTED != 0 {
        say(worker, py, head, if loads { up::LOADS } else { up::STARTED })?;
    }
    let made = make(worker, py, calls, head, arguments, loads);
    worker.current.store(0, Ordering::Relaxed);
    if worker.is_forked() {
        return Ok(());
    }
    let cost = calls.clocks.lap();
    let mut reply = ResultHead {
        task: head.task,
        took: cost.took,
        cpu: cost.cpu,
        peak: cost.peak,
        how: how::VALUE,
        form: form::SIMPLE,
    };
    calls.value.clear();
    match made {
        Ok(value) if codec::encode(&value, &mut calls.value) => {
            drop(value);
            worker
                .up
                .send(worker, py, up::RESULT, &[&reply.to_bytes(), &calls.value])?;
        }
        Ok(value) => send_pickled(worker, py, calls, &mut reply, value)?,
        Err((step, error)) => send_error(worker, py, calls, &mut reply, step, error, None)?,
    }
    // After the result is published: a death from here on is nobody's.
    worker.board.set_running(0);
    if worker.is_forked() {
        return Ok(());
    }
    if reply.form != form::SIMPLE {
        calls.clocks.restart();
    }
    Ok(())
}

/// Tells the parent how far a call with a timeout is.
#[cold]
fn say(worker: &ProcessWorker, py: Python<'_>, head: &CallHead, kind: u32) -> PyResult<()> {
    worker.up.send(worker, py, kind, &[&head.task.to_le_bytes()])
}

#[inline]
fn make<'py>(
    worker: &ProcessWorker,
    py: Python<'py>,
    calls: &mut Calls<'py>,
    head: &CallHead,
    arguments: &[u8],
    loads: bool,
) -> Made<'py> {
    let unread = |error| (ARGUMENTS, error);
    let begin = || {
        if loads {
            say(worker, py, head, up::STARTED)?;
        }
        worker.begin(py, head.task)
    };
    if head.form == form::SIMPLE {
        let mut arguments = codec::decode_call(py, arguments).map_err(unread)?;
        let function = calls
            .functions
            .get(py, &calls.hooks, head.function)
            .map_err(unread)?;
        begin().map_err(|error| (CALL, error))?;
        return arguments.call(&function).map_err(|error| (CALL, error));
    }
    let unpickled = unpickle(worker, py, calls, head, arguments).map_err(unread)?;
    begin().map_err(|error| (CALL, error))?;
    let called = match unpickled {
        Unpickled::Simple(function, mut arguments) => arguments.call(&function),
        Unpickled::Objects(function, args, keywords) => function.call(args, keywords.as_ref()),
    };
    called.map_err(|error| (CALL, error))
}

/// A function and its arguments.
enum Unpickled<'py> {
    Simple(Bound<'py, PyAny>, codec::Arguments),
    Objects(Bound<'py, PyAny>, Bound<'py, PyTuple>, Option<Bound<'py, PyDict>>),
}

/// The function, and its arguments out of `(args, kwargs)`.
fn unpickle<'py>(
    worker: &ProcessWorker,
    py: Python<'py>,
    calls: &mut Calls<'py>,
    head: &CallHead,
    arguments: &[u8],
) -> PyResult<Unpickled<'py>> {
    // First of all: it is the parent's again when this is dropped, whatever goes wrong.
    let parcel = match head.form {
        form::SEGMENT => Some(
            extent::open(&mut calls.inbox, arguments, &worker.link)
                .map_err(|error| PyRuntimeError::new_err(error.to_string()))?,
        ),
        _ => None,
    };
    // The function first: it may bring what the arguments' pickle names.
    let function = if head.function == NO_FUNCTION {
        None
    } else {
        Some(calls.functions.get(py, &calls.hooks, head.function)?)
    };
    let both = match parcel {
        None => calls.hooks.loads.call1((PyBytes::new(py, arguments),))?,
        Some(parcel) => match extent::unpack(py, parcel, head.flags & COPY != 0)? {
            Unpacked::Pickle(pickle, buffers) => {
                let named = PyDict::new(py);
                named.set_item(intern!(py, "buffers"), buffers)?;
                calls.hooks.loads.call((pickle,), Some(&named))?
            }
            Unpacked::Simple(bytes, mut beside) => {
                let function = function.ok_or_else(|| PyTypeError::new_err("a call without a function"))?;
                return Ok(Unpickled::Simple(
                    function,
                    codec::decode_call_with(py, &bytes, &mut beside)?,
                ));
            }
        },
    };
    let (args, keywords): (Bound<'py, PyTuple>, Option<Bound<'py, PyDict>>) = both.extract()?;
    let keywords = keywords.filter(|keywords| !keywords.is_empty());
    match function {
        Some(function) => Ok(Unpickled::Objects(function, args, keywords)),
        None if args.is_empty() => Err(PyTypeError::new_err("a call without a function")),
        None => {
            let function = args.get_item(0)?;
            let rest = args.get_slice(1, args.len());
            Ok(Unpickled::Objects(function, rest, keywords))
        }
    }
}

/// Sends a value that is not simple at once.
fn send_pickled<'py>(
    worker: &ProcessWorker,
    py: Python<'py>,
    calls: &mut Calls<'py>,
    reply: &mut ResultHead,
    value: Bound<'py, PyAny>,
) -> PyResult<()> {
    let mut simple = Vec::new();
    let mut walk = Walk::beside();
    let packed = if codec::encode_with(&value, &mut simple, &mut walk) {
        let arrays = walk.into_beside();
        if arrays.is_empty() {
            Ok(Packed::Simple(simple))
        } else {
            let mut body = Vec::new();
            extent::pack_simple(py, &calls.arena, &simple, &arrays, &mut body)
                .map(|offer| Packed::Large(body, offer))
        }
    } else {
        pickle(py, calls, &value, walk.into_told())
    };
    match packed {
        Ok(packed) => {
            // Before it is sent: it may have parts of the arguments, whose place the caller's next call then has.
            drop(value);
            packed.send(worker, py, reply)
        }
        Err(error) => send_error(worker, py, calls, reply, RESULT, error, Some(&value)),
    }
}

/// A value that is for pickle.
fn pickle<'py>(
    py: Python<'py>,
    calls: &Calls<'py>,
    value: &Bound<'py, PyAny>,
    told: Told,
) -> PyResult<Packed<'py>> {
    pickled::dumps_plain(value).and_then(|plain| {
        if let Some(data) = plain
            && data.as_bytes().len() <= LONGEST
        {
            return Ok(Packed::Here(data));
        }
        // The parent has the main module that it names.
        let (data, buffers) = pickled::dumps(value, false, told)?;
        pack(py, calls, data, &buffers)
    })
}

/// Sends what the call raised, or what went wrong with it.
#[cold]
fn send_error<'py>(
    worker: &ProcessWorker,
    py: Python<'py>,
    calls: &Calls<'py>,
    reply: &mut ResultHead,
    step: &str,
    error: PyErr,
    value: Option<&Bound<'py, PyAny>>,
) -> PyResult<()> {
    if worker.is_forked() {
        return Ok(());
    }
    reply.how = how::EXCEPTION;
    let tell = |error: PyErr| {
        let data = calls.hooks.failed.call1((step, error.into_value(py), value))?;
        pack(py, calls, data.cast_into::<PyBytes>()?, &PyList::empty(py))
    };
    // Where there is no memory for a large one, that is the error.
    tell(error).or_else(tell)?.send(worker, py, reply)
}

/// A pickle as it is sent: itself, or what the record says of the segment that it is in.
enum Packed<'py> {
    Simple(Vec<u8>),
    Here(Bound<'py, PyBytes>),
    Large(Vec<u8>, Offer),
}

/// Puts a pickle into a segment if it is large.
fn pack<'py>(
    py: Python<'py>,
    calls: &Calls<'py>,
    data: Bound<'py, PyBytes>,
    buffers: &Bound<'py, PyList>,
) -> PyResult<Packed<'py>> {
    if data.as_bytes().len() <= LONGEST && buffers.is_empty() {
        return Ok(Packed::Here(data));
    }
    let mut body = Vec::new();
    let offer = extent::pack(py, &calls.arena, data.as_bytes(), buffers, &mut body)?;
    Ok(Packed::Large(body, offer))
}

impl Packed<'_> {
    fn send(self, worker: &ProcessWorker, py: Python<'_>, reply: &mut ResultHead) -> PyResult<()> {
        if worker.is_forked() {
            return Ok(());
        }
        let mut post = |form, body: &[u8]| {
            reply.form = form;
            let head = reply.to_bytes();
            worker.up.send(worker, py, up::RESULT, &[&head, body])
        };
        match self {
            Self::Simple(body) => post(form::SIMPLE, &body),
            Self::Here(data) => post(form::PICKLE, data.as_bytes()),
            Self::Large(body, offer) => {
                worker.up.show(py, &offer, &worker.link)?;
                post(form::SEGMENT, &body)?;
                offer.send();
                Ok(())
            }
        }
    }
}
