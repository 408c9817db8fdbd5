//! The one door: every thread that stops until something else happens goes through [`wait`].
//!
//! What is right here is right everywhere:
//! 1. The thread is detached while it spins or sleeps, and attached again before anything else runs.
//! 2. Signals are heard. A signal during the sleep ends it (`EINTR`) and its handlers run; one that came while the
//!    thread was spinning gives no `EINTR` later, so the main thread's first sleep is short ([`LISTEN`]).
//! 3. A wait without a deadline that lasts [`PATIENCE`](deadlock::PATIENCE) is entered in the wait graph ([`crate::deadlock`]).
//! 4. Of many that are woken at once, each wakes the next ([`plait_core::chain`]).
//! 5. The policy of spinning: first as [`Spin`](plait_core::Spin) advises; and once notified, a moment more until the notifier has
//!    detached, because whoever asks for a GIL that is held goes to sleep for it.
//!
//! The waiter lies on this thread's stack. At interpreter exit a daemon thread hangs in re-attaching, for
//! ever, with its frame intact: whatever notifies it later writes to memory that is still there.

use crate::deadlock::{self, Reason};
use crate::limit::Limit;
use plait_core::clock::{self, Nanos};
use plait_core::futex::Woken;
use plait_core::spin::{self, BUDGET};
use plait_core::{Site, Spin, Waiter, chain, fork, waiter};
use pyo3::{ffi, prelude::*};
use std::cell::Cell;

/// How long the main thread sleeps before it looks for signals that came while it was spinning.
const LISTEN: Nanos = 20_000_000;

/// Waits until `site` has given what it has, or until `limit`. True if it has.
///
/// # Errors
/// What a signal handler raised, or `DeadlockError`. The site is then as if nobody had waited.
pub fn wait(py: Python<'_>, site: &impl Site, limit: Limit, reason: &dyn Reason) -> PyResult<bool> {
    let waiter = Waiter::thread();
    wait_as(py, site, &waiter, limit, reason)
}

/// As [`wait`], with a waiter that the caller made (and may have enqueued already).
///
/// # Errors
/// As [`wait`].
pub fn wait_as(
    py: Python<'_>,
    site: &impl Site,
    waiter: &Waiter,
    limit: Limit,
    reason: &dyn Reason,
) -> PyResult<bool> {
    let mut again = false;
    loop {
        if site.take_or_enqueue(waiter, again) {
            return Ok(true);
        }
        let end = park(py, site.spin(), waiter, limit, reason);
        if !matches!(end, Ok(true)) {
            if site.leave(waiter) {
                return end;
            }
            // Notified at the last moment.
            settle(waiter);
            if end.is_err() {
                site.pass_on();
                return end;
            }
        }
        waiter.rearm();
        again = true;
    }
}

/// Sleeps until `waiter` is notified (true) or `limit` has come (false).
fn park(py: Python<'_>, spin: &Spin, waiter: &Waiter, limit: Limit, reason: &dyn Reason) -> PyResult<bool> {
    if cfg!(Py_3_15) && limit != Limit::Now && deadlock::is_finalizing() {
        return Err(finalizing(py));
    }
    let deadline = match limit {
        Limit::Now => return Ok(false),
        Limit::At(at) => at,
        Limit::Never => Nanos::MAX,
    };
    let mut watch = deadlock::Watch::new(waiter, reason);
    let mut spinning = spin.pays();
    // Stages at which the sleep is interrupted to look at something; none is left once both are past.
    let (mut listen, mut patience) = (None, None);
    loop {
        let woken = detached(py, || {
            if std::mem::take(&mut spinning) && spins(waiter, spin) {
                return Woken::Changed;
            }
            if listen.is_none() {
                let start = clock::now();
                listen = Some(if is_main_thread() {
                    start + LISTEN
                } else {
                    Nanos::MAX
                });
                patience = Some(if limit == Limit::Never && deadlock::enabled() {
                    start + deadlock::PATIENCE
                } else {
                    Nanos::MAX
                });
            }
            let until = deadline
                .min(listen.unwrap_or(Nanos::MAX))
                .min(patience.unwrap_or(Nanos::MAX));
            // No wait_for_detach here: waking took longer than it, and on the notifier's own core it keeps the notifier
            // from detaching (Event ping-pong beside other work: 65 µs a round trip with it, 1 to 25 without).
            let woken = waiter.park((until != Nanos::MAX).then_some(until));
            if woken == Woken::TimedOut && patience == Some(until) && !watch.glance() {
                patience = Some(Nanos::MAX);
                return waiter.park((deadline != Nanos::MAX).then_some(deadline));
            }
            if woken == Woken::Changed {
                let_notifier_detach(waiter, spin);
            }
            woken
        });
        match woken {
            Woken::Changed => {
                chain::advance();
                return Ok(true);
            }
            Woken::Interrupted => watch.awake(|| py.check_signals())?,
            Woken::TimedOut => {
                let now = clock::now();
                if now >= deadline {
                    return Ok(false);
                }
                if listen.is_some_and(|at| now >= at) {
                    listen = Some(Nanos::MAX);
                    py.check_signals()?;
                }
                if patience.is_some_and(|at| now >= at) {
                    let again = watch.look(py)?;
                    patience = Some(again.map_or(Nanos::MAX, |delay| clock::now().saturating_add(delay)));
                }
            }
        }
    }
}

/// As the standard library's locks from 3.15 on: nobody could end the wait any more.
#[cold]
fn finalizing(py: Python<'_>) -> PyErr {
    let class = py
        .import("builtins")
        .and_then(|builtins| builtins.getattr("PythonFinalizationError"));
    match class.and_then(|class| class.call1(("cannot wait at interpreter finalization",))) {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}

/// After [`Site::leave`] found `waiter` popped: waits until whoever popped it is done with it.
pub fn settle(waiter: &Waiter) {
    waiter.settle();
    chain::advance();
}

/// Runs `f` detached.
pub fn detached<R>(_py: Python<'_>, f: impl FnOnce() -> R) -> R {
    // SAFETY: the token proves that we are attached; `f` is Rust that does not touch Python; the same thread
    // state is restored. (PyO3's `detach` would do the same, at twice the price, and without the count.)
    unsafe {
        let state = ffi::PyEval_SaveThread();
        waiter::count_detach();
        let result = f();
        ffi::PyEval_RestoreThread(state);
        result
    }
}

/// How a spin ended that did not end in vain.
enum Spun {
    /// Notified while it was running.
    Met,
    /// Notified while the scheduler had taken this thread off its core, perhaps to run the notifier there: a sleep would
    /// have done as well.
    Preempted,
}

/// A gap of this length in a spin means that the thread was off its core.
const GAP: Nanos = 5_000;

/// Spins for the budget, and learns from it. Whether `waiter` has been notified. The thread is detached.
fn spins(waiter: &Waiter, spin: &Spin) -> bool {
    let spun = spin_until_notified(waiter);
    spin.note(matches!(spun, Some(Spun::Met)));
    match spun {
        Some(Spun::Met) => wait_for_detach(waiter),
        Some(Spun::Preempted) => let_notifier_detach(waiter, spin),
        None => return false,
    }
    true
}

/// What an event loop does before it sleeps in the poller, where it was told to: spins until `arrival` is notified, as a thread
/// does that waits at the door. Whether it has been.
pub fn spin_for(py: Python<'_>, arrival: &Waiter, spin: &Spin) -> bool {
    detached(py, || spins(arrival, spin))
}

/// What an event loop does instead of waiting at the door: runs `sleep` detached, and if that was ended by
/// `arrival`, lets its notifier detach, as a thread does that was woken.
pub fn sleep_for<R>(py: Python<'_>, arrival: &Waiter, spin: &Spin, sleep: impl FnOnce() -> R) -> R {
    detached(py, || {
        let result = sleep();
        let_notifier_detach(arrival, spin);
        result
    })
}

/// Spins for the budget, until notified.
fn spin_until_notified(waiter: &Waiter) -> Option<Spun> {
    let mut last = clock::now();
    let end = last + BUDGET;
    loop {
        for _ in 0..32 {
            if waiter.notified().is_some() {
                let gap = clock::now() - last;
                return Some(if gap < GAP { Spun::Met } else { Spun::Preempted });
            }
            std::hint::spin_loop();
        }
        last = clock::now();
        if last >= end {
            return None;
        }
    }
}

/// On a build with a GIL: spins until some thread has detached since the notification, for the budget at most.
fn wait_for_detach(waiter: &Waiter) {
    if cfg!(Py_GIL_DISABLED) || spin::one_core() {
        return;
    }
    let Some(then) = waiter.notified() else { return };
    let mut end = None;
    loop {
        for _ in 0..32 {
            if waiter::detaches() != then {
                return;
            }
            std::hint::spin_loop();
        }
        let now = clock::now();
        if now >= *end.get_or_insert(now + BUDGET) {
            return;
        }
    }
}

/// After a sleep, on a build with a GIL: if the notifier has not detached yet, waking us has taken its core from it, GIL in
/// hand. Then one yield saves two switches, unless somebody else is there to take the core: that is learnt.
fn let_notifier_detach(waiter: &Waiter, spin: &Spin) {
    if cfg!(Py_GIL_DISABLED) || waiter.notified() != Some(waiter::detaches()) || !spin.yield_pays() {
        return;
    }
    let start = clock::now();
    // SAFETY: the call cannot fail.
    unsafe { libc::sched_yield() };
    let met = waiter.notified() != Some(waiter::detaches()) && clock::now() < start + 2 * BUDGET;
    spin.note_yield(met);
}

/// Whether this is the thread that hears signals. Asked for once by each thread (and again after a fork, in whose child
/// the forking thread is the main one).
pub fn is_main_thread() -> bool {
    thread_local! {
        static MAIN: Cell<(u32, bool)> = const { Cell::new((0, false)) };
    }
    MAIN.with(|main| {
        let now = fork::generation();
        let (asked, mut is_main) = main.get();
        if asked != now {
            // SAFETY: both calls cannot fail.
            is_main = unsafe { libc::gettid() == libc::getpid() };
            main.set((now, is_main));
        }
        is_main
    })
}

/// The calling thread's ident, as `threading.get_ident()` has it.
#[inline]
#[must_use]
pub fn ident() -> usize {
    // SAFETY: the call cannot fail.
    unsafe { libc::pthread_self() as usize }
}
