//! Whether it pays to spin before parking, learnt for each object.
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
    fn a_score_that_ran_out_probes_ever_more_rarely() {
        let spin = Spin::new();
        if one_core() {
            assert!(!spin.pays());
            return;
        }
        for _ in 0..GAIN {
            assert!(spin.pays());
            spin.missed();
        }
        let mut until_probe = || (1..).find(|_| spin.pays());
        let intervals: Vec<_> = (0..7).filter_map(|_| until_probe()).collect();
        assert_eq!(intervals, [32, 64, 128, 256, 512, 1024, 1024]);
        spin.met();
        for _ in 0..GAIN {
            assert!(spin.pays());
            spin.missed();
        }
        assert_eq!((1..).find(|_| spin.pays()), Some(PROBE));
    }
}
