//! Whether it pays to spin before parking, and to yield after it, learnt for each object.
//!
//! Waking an idle core of a virtual machine costs 40–100 µs, so a hand-over that is met while spinning
//! is up to 40 times faster; on a busy machine a blind spin loses four fifths. So each object keeps a
//! score: a spin that was met adds to it, one that was not takes away, and with no score left only one
//! wait in [`PROBE`] spins, to find out whether times have changed. Each such probe that is in vain makes the next
//! one wait twice as long, up to [`RAREST`]: one in 32 for ever cost a ping-pong beside busy processes 3 %.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// How long a spin lasts, in nanoseconds. (5 µs gained nothing in the trials, 20 did.)
pub const BUDGET: u64 = 20_000;
/// With no score left, one wait in so many spins,
const PROBE: u32 = 32;
/// and later one in so many.
const RAREST: u32 = 1024;
const MOST: u32 = 16;
const GAIN: u32 = 4;
const SCORE: u32 = 0xff;

/// Where the number of probes in vain stands (four bits), and above it the waits since the last probe.
const VAIN: u32 = 8;
const WAITS: u32 = 12;

/// The score of one object: the low byte; above it, for when that is 0, what stands at [`VAIN`] and [`WAITS`].
#[derive(Debug)]
struct Score(AtomicU32);

impl Score {
    /// A new object is tried a few times.
    const fn new() -> Self {
        Self(AtomicU32::new(GAIN))
    }

    /// Whether to try. Racing updates may lose one: the score is advice.
    fn pays(&self) -> bool {
        let now = self.0.load(Ordering::Relaxed);
        if now & SCORE > 0 {
            return true;
        }
        let (waits, vain) = ((now >> WAITS) + 1, (now >> VAIN) & 0xf);
        let interval = (PROBE << vain).min(RAREST);
        let probe = waits >= interval;
        let next = if probe {
            // In vain until it is met.
            (vain + u32::from(interval < RAREST)) << VAIN
        } else {
            waits << WAITS | vain << VAIN
        };
        self.0.store(next, Ordering::Relaxed);
        probe
    }

    fn note(&self, met: bool) {
        let now = self.0.load(Ordering::Relaxed);
        if met {
            self.0.store(((now & SCORE) + GAIN).min(MOST), Ordering::Relaxed);
        } else if now & SCORE > 0 {
            self.0.store(now - 1, Ordering::Relaxed);
        }
    }
}

/// What one object has learnt: whether spinning before the sleep pays, and whether yielding after it does.
#[derive(Debug)]
pub struct Spin {
    before: Score,
    after: Score,
}

impl Default for Spin {
    fn default() -> Self {
        Self::new()
    }
}

impl Spin {
    /// Nothing has been learnt.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            before: Score::new(),
            after: Score::new(),
        }
    }

    /// Whether this wait should spin before it sleeps.
    #[must_use]
    pub fn pays(&self) -> bool {
        !one_core() && self.before.pays()
    }

    /// The spin was met, or was in vain.
    pub fn note(&self, met: bool) {
        self.before.note(met);
    }

    /// Whether this wait should yield once after it slept, because its notifier has not detached.
    #[must_use]
    pub fn yield_pays(&self) -> bool {
        self.after.pays()
    }

    /// The yield let the notifier go on, or it let somebody else.
    pub fn note_yield(&self, met: bool) {
        self.after.note(met);
    }
}

/// Whether this process may use one core only: then the one waited for cannot run while we spin.
/// Read once, when first asked.
#[must_use]
pub fn one_core() -> bool {
    static ONE: OnceLock<bool> = OnceLock::new();
    *ONE.get_or_init(|| std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_score_that_ran_out_probes_ever_more_rarely() {
        let spin = Spin::new();
        if one_core() {
            assert!(!spin.pays());
            return;
        }
        for _ in 0..GAIN {
            assert!(spin.pays());
            spin.note(false);
        }
        let until_probe = || (1..).find(|_| spin.pays());
        let intervals: Vec<_> = (0..7).filter_map(|_| until_probe()).collect();
        assert_eq!(intervals, [32, 64, 128, 256, 512, 1024, 1024]);
        spin.note(true);
        for _ in 0..GAIN {
            assert!(spin.pays());
            spin.note(false);
        }
        assert_eq!((1..).find(|_| spin.pays()), Some(PROBE));
    }
}
