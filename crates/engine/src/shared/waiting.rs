//! The door for waits between processes.
//!
//! As [`crate::door`]: the thread is detached while it sleeps, signals are heard, deadlines are monotonic. Unlike there nobody
//! keeps a list of waiters, since any of them can be killed: a sleep is a slice of [`BACKSTOP`], after which the main
//! thread looks for signals, and any thread whether the one it waits for still lives.
//!
//! Before the first sleep there is a spin where that has paid for this object: attached for 20 µs (who detaches may have to wait
//! for a GIL that another thread has taken), then detached, yielding the core.

use crate::door::{self, detached};
use crate::limit::Limit;
use plait_core::Spin;
use plait_core::clock::{self, Nanos};
use plait_shared::{BACKSTOP, Busy, How, Patience, Site, Woken};
use pyo3::prelude::*;
use std::time::Duration;

const ATTACHED: Nanos = 20_000;
const DETACHED: Nanos = 60_000;

/// How a stretch of waiting ended for which the thread was detached.
enum Stretch<T> {
    Got(T),
    Late,
    /// There may be signals to handle.
    Look,
}

/// Waits until `site` has given what it has, or until `limit` (None).
///
/// # Errors
/// What a signal handler raised.
#[inline]
pub fn wait<S: Site>(py: Python<'_>, site: &mut S, limit: Limit, spin: &Spin) -> PyResult<Option<S::Got>> {
    match site.attempt(How::AT_ONCE) {
        Ok(Some(got)) => Ok(Some(got)),
        Ok(None) if limit == Limit::Now && !S::THOROUGH => Ok(None),
        now => wait_slowly(py, site, limit, spin, now.is_err()),
    }
}

#[cold]
fn wait_slowly<S: Site>(
    py: Python<'_>,
    site: &mut S,
    limit: Limit,
    spin: &Spin,
    busy: bool,
) -> PyResult<Option<S::Got>> {
    let deadline = match limit {
        Limit::Now => 0,
        Limit::At(at) => at,
        Limit::Never => Nanos::MAX,
    };
    let mut spinning = !busy && limit != Limit::Now && spin.pays();
    if spinning && let Some(got) = spin_attached(site) {
        spin.note(true);
        return Ok(Some(got));
    }
    let is_main = door::is_main_thread();
    let mut slept = false;
    loop {
        let end = detached(py, || {
            if std::mem::take(&mut spinning) {
                let got = spin_detached(site);
                spin.note(got.is_some());
                if let Some(got) = got {
                    return Stretch::Got(got);
                }
            }
            stretch(site, deadline, is_main, &mut slept)
        });
        let end = match end {
            Stretch::Got(got) => Ok(Some(got)),
            Stretch::Late => Ok(None),
            Stretch::Look => match py.check_signals() {
                Ok(()) => continue,
                Err(error) => Err(error),
            },
        };
        if slept && !matches!(end, Ok(Some(_))) {
            site.pass_on();
        }
        return end;
    }
}

/// Sleeps, slice by slice, until there is something to say.
fn stretch<S: Site>(site: &mut S, deadline: Nanos, is_main: bool, slept: &mut bool) -> Stretch<S::Got> {
    // The first look of a stretch is a thorough one, so that also who does not wait takes over from the dead.
    let mut thorough = S::THOROUGH;
    loop {
        let how = How {
            patience: Patience::Slice,
            thorough,
            slept: *slept,
        };
        match site.attempt(how) {
            Ok(Some(got)) => return Stretch::Got(got),
            Ok(None) => {}
            Err(Busy) if is_main => return Stretch::Look,
            Err(Busy) => continue,
        }
        let now = clock::now();
        if now >= deadline {
            return Stretch::Late;
        }
        *slept = true;
        let slice = BACKSTOP.min(Duration::from_nanos(deadline - now));
        let woken = site.sleep(slice);
        thorough = woken == Woken::TimedOut;
        if is_main && woken != Woken::Changed {
            // What there is by now is taken first: who is woken by a signal and by what it waits for has both.
            let how = How {
                patience: Patience::Brief,
                thorough,
                slept: true,
            };
            return match site.attempt(how) {
                Ok(Some(got)) => Stretch::Got(got),
                _ if clock::now() >= deadline => Stretch::Late,
                _ => Stretch::Look,
            };
        }
    }
}

fn spin_attached<S: Site>(site: &mut S) -> Option<S::Got> {
    let end = clock::now() + ATTACHED;
    loop {
        for _ in 0..16 {
            std::hint::spin_loop();
        }
        if let Ok(Some(got)) = site.attempt(How::AT_ONCE) {
            return Some(got);
        }
        // SAFETY: the call cannot fail.
        unsafe { libc::sched_yield() };
        if clock::now() >= end {
            return None;
        }
    }
}

fn spin_detached<S: Site>(site: &mut S) -> Option<S::Got> {
    let end = clock::now() + DETACHED;
    while clock::now() < end {
        if let Ok(Some(got)) = site.attempt(How::AT_ONCE) {
            return Some(got);
        }
        // SAFETY: the call cannot fail.
        unsafe { libc::sched_yield() };
    }
    None
}

/// Does what ends in some instructions, unless another process was stopped in the middle of a change.
///
/// # Errors
/// What a signal handler raised.
#[inline]
pub fn insist<T>(py: Python<'_>, mut operation: impl FnMut(Patience) -> Result<T, Busy>) -> PyResult<T> {
    if let Ok(done) = operation(Patience::Brief) {
        return Ok(done);
    }
    loop {
        if let Ok(done) = detached(py, || operation(Patience::Slice)) {
            return Ok(done);
        }
        py.check_signals()?;
    }
}
