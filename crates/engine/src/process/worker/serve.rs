//! The loop: records as they come, and the wait for more.
//!
//! A worker that has nothing to do looks on for 20 µs while still attached, giving the processor away each time: a caller that
//! waits for one result after the other sends the next call within that. Then it detaches and looks for up to 100 µs, as
//! long as that has paid lately, and then it sleeps on the ring's bell: an idle worker uses no processor.

use super::call::{self, Calls};
use super::upward::broken;
use super::{Downward, ProcessWorker, orphan};
use crate::process::protocol::{CallHead, down, read_u32};
use plait_core::clock::{self, Nanos};
use plait_core::spin::{self, Spin};
use plait_ring::{Arena, Corrupt, Woken};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::time::Duration;

/// So long a worker looks for the next record while it is attached,
const ATTACHED: Nanos = 20_000;
/// and so long after that.
const DETACHED: Nanos = 100_000;
/// The space of records that have been read is given back after so many bytes, or when the ring is empty.
const ARREARS: usize = 8 << 10;
/// Between so many calls signals are looked for, in case that none of them does.
const UNHEARD: u32 = 256;
/// Shared memory that has not been used for so long is given back by a worker that has nothing to do.
const KEEP: Duration = Duration::from_secs(5);

/// Why a worker stops serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The parent has said so.
    Retired,
    /// The parent is gone.
    Orphaned,
    /// This is another process.
    Forked,
}

/// Ends the process at once.
pub fn vanish(status: libc::c_int) -> ! {
    // SAFETY: it does not return, and runs nothing of ours.
    unsafe { libc::_exit(status) }
}

#[cold]
fn nonsense(what: &str) -> PyErr {
    PyRuntimeError::new_err(format!("the parent process sent {what}"))
}

/// As [`ProcessWorker::serve`].
pub fn serve(worker: &ProcessWorker, py: Python<'_>, down: &mut Downward) -> PyResult<End> {
    let mut calls = Calls::new(py, worker)?;
    let spin = Spin::new();
    let mut record = Vec::with_capacity(1 << 12);
    let (mut arrears, mut unheard) = (0, 0);
    loop {
        record.clear();
        let Some(kind) = down.ring.pop(&mut record).map_err(broken)? else {
            down.ring.release();
            arrears = 0;
            worker.flush(py)?;
            if let Some(end) = wait(py, down, &spin, &calls.arena)? {
                return Ok(end);
            }
            calls.clocks.restart();
            continue;
        };
        arrears += record.len();
        if arrears > ARREARS {
            down.ring.release();
            arrears = 0;
        }
        match kind {
            down::CALL => {
                let (head, arguments) =
                    CallHead::read(&record).ok_or_else(|| nonsense("a call without a head"))?;
                call::answer(worker, py, &mut calls, &head, arguments)?;
                if worker.is_forked() {
                    return Ok(End::Forked);
                }
                unheard += 1;
                if unheard == UNHEARD {
                    unheard = 0;
                    py.check_signals()?;
                }
            }
            down::FUNCTION => {
                let (number, function) =
                    read_u32(&record).ok_or_else(|| nonsense("a function without a number"))?;
                calls.functions.put(number, function);
            }
            down::FORGET => {
                let (number, _) = read_u32(&record).ok_or_else(|| nonsense("no number to forget"))?;
                calls.functions.forget(number);
            }
            down::RETIRE => return Ok(End::Retired),
            _ => return Err(nonsense("a record of no kind")),
        }
    }
}

/// Waits for a record. Some: there will be none.
fn wait(py: Python<'_>, down: &mut Downward, spin: &Spin, arena: &Arena) -> PyResult<Option<End>> {
    if look_for(down, ATTACHED).map_err(broken)? {
        return Ok(None);
    }
    loop {
        let end = py
            .detach(|| {
                if spin::one_core() {
                    return sleep(down, arena);
                }
                if spin.pays() {
                    let met = look_for(down, DETACHED)?;
                    spin.note(met);
                    if met {
                        return Ok(Slept::Work);
                    }
                }
                sleep(down, arena)
            })
            .map_err(broken)?;
        match end {
            Slept::Work => return Ok(None),
            Slept::Orphaned => return Ok(Some(End::Orphaned)),
            Slept::Interrupted => py.check_signals()?,
        }
    }
}

enum Slept {
    Work,
    Orphaned,
    Interrupted,
}

/// Looks for a record for so long, and gives the processor to who may be about to write one.
fn look_for(down: &mut Downward, nanos: Nanos) -> Result<bool, Corrupt> {
    let end = clock::now() + nanos;
    loop {
        if down.ring.has_record()? {
            return Ok(true);
        }
        if clock::now() >= end {
            return Ok(false);
        }
        std::thread::yield_now();
    }
}

fn sleep(down: &mut Downward, arena: &Arena) -> Result<Slept, Corrupt> {
    loop {
        let bell = std::ptr::from_ref(&down.ring.control().bell);
        let mut found = Ok(false);
        // SAFETY: the bell lies in the ring's memory, which `down` keeps.
        let woken = unsafe { &*bell }.sleep(Duration::MAX, || {
            found = down.ring.has_record();
            !matches!(found, Ok(false))
        });
        if found? || down.ring.has_record()? {
            return Ok(Slept::Work);
        }
        match woken {
            Woken::Interrupted => return Ok(Slept::Interrupted),
            Woken::TimedOut if orphan::is_orphan() => return Ok(Slept::Orphaned),
            Woken::TimedOut => arena.trim(KEEP),
            _ => {}
        }
    }
}
