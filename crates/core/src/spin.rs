//! Whether it pays to spin before parking, learnt for each object.
//!
//! Waking an idle core of a virtual machine costs 40–100 µs, so a hand-over that is met while spinning
//! is up to 40 times faster; on a busy machine a blind spin loses four fifths. So each object keeps a
//! score: a spin that was met adds to it, one that was not takes away, and with no score left only one
//! wait in [`PROBE`] spins, to find out whether times have changed.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// How long a spin lasts, in nanoseconds. (5 µs gained nothing in the trials, 20 did.)
pub const BUDGET: u64 = 20_000;
/// With no score left, one wait in so many spins.
const PROBE: u32 = 32;
const MOST: u32 = 16;
const GAIN: u32 = 4;
const SCORE: u32 = 0xff;

/// The score of one object: the low byte; above it the waits since it ran out.
#[derive(Debug)]
pub struct Spin(AtomicU32);

impl Default for Spin {
    fn default() -> Self {
        Self::new()
    }
}

impl Spin {
    /// A new object is tried a few times.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU32::new(GAIN))
    }

    /// Whether this wait should spin. Racing updates may lose one: the score is advice.
    #[must_use]
    pub fn pays(&self) -> bool {
        if one_core() {
            return false;
        }
        let now = self.0.load(Ordering::Relaxed);
        if now & SCORE > 0 {
            return true;
        }
        let waits = (now >> 8) + 1;
        self.0.store((waits % PROBE) << 8, Ordering::Relaxed);
        waits == PROBE
    }

    /// The spin was met.
    pub fn met(&self) {
        let score = self.0.load(Ordering::Relaxed) & SCORE;
        self.0.store((score + GAIN).min(MOST), Ordering::Relaxed);
    }

    /// The spin was in vain.
    pub fn missed(&self) {
        let now = self.0.load(Ordering::Relaxed);
        if now & SCORE > 0 {
            self.0.store(now - 1, Ordering::Relaxed);
        }
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
    fn a_score_that_ran_out_probes_once_in_thirty_two() {
        let spin = Spin::new();
        if one_core() {
            assert!(!spin.pays());
            return;
        }
        for _ in 0..GAIN {
            assert!(spin.pays());
            spin.missed();
        }
        let probes = (0..PROBE * 3).filter(|_| spin.pays()).count();
        assert_eq!(probes, 3);
        spin.met();
        assert!(spin.pays());
    }
}
