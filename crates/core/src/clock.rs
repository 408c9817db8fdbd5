//! The monotonic clock, in nanoseconds: the clock of all deadlines and of `futex(2)`.

/// Nanoseconds on `CLOCK_MONOTONIC`.
pub type Nanos = u64;

/// The time now.
#[must_use]
pub fn now() -> Nanos {
    let mut ts = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `ts` is a valid place for the result; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut ts) };
    ts.tv_sec.unsigned_abs() * 1_000_000_000 + ts.tv_nsec.unsigned_abs()
}
