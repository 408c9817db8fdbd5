//! What a call took: wall time always, processor time and memory where it took long enough to be worth a system call.
//!
//! A system call for each call would cost a third of what a short one does. So the processor's clock is read after a long
//! call only, and from time to time; what was used in between is shared out between the call and what was before it.

use plait_core::clock::{self, Nanos};
use std::os::fd::{AsRawFd, OwnedFd};

/// From here on the processor time is asked for.
const LONG: Nanos = 50_000;
/// And the memory.
const VERY_LONG: Nanos = 1_000_000;

/// Where this is set, the process's peak memory is left as Linux counts it, for whoever measures the process from outside
/// (`plait compare`); a call's peak is then that of all calls so far.
const KEEP_PEAK: &str = "PLAIT_KEEP_PEAK";

/// What a call took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    pub took: Nanos,
    pub cpu: Nanos,
    /// In KiB.
    pub peak: u32,
}

/// The clocks.
#[derive(Debug)]
pub struct Clocks {
    /// When the call began, or the last one ended.
    begun: Nanos,
    /// The processor's clock, and when it was read.
    cpu: Nanos,
    cpu_at: Nanos,
    /// To forget the most memory so far.
    forget: Option<OwnedFd>,
}

impl Clocks {
    pub fn new() -> Self {
        let mut forget = None;
        if std::env::var_os(KEEP_PEAK).is_none() {
            let mut options = std::fs::OpenOptions::new();
            forget = options.write(true).open("/proc/self/clear_refs").ok();
        }
        let mut clocks = Self {
            begun: 0,
            cpu: 0,
            cpu_at: 0,
            forget: forget.map(Into::into),
        };
        clocks.restart();
        clocks
    }

    /// The next call begins now: the worker has waited, or done something that is no call's.
    #[inline]
    pub fn restart(&mut self) {
        self.begun = clock::now();
        if self.begun - self.cpu_at > VERY_LONG {
            self.cpu = processor();
            self.cpu_at = self.begun;
        }
    }

    /// The call has ended, and the next one begins.
    #[inline]
    pub fn lap(&mut self) -> Cost {
        let now = clock::now();
        let took = now - self.begun;
        let mut cost = Cost {
            took,
            cpu: took,
            peak: 0,
        };
        if took > LONG {
            self.ask(now, &mut cost);
        }
        self.begun = now;
        cost
    }

    #[cold]
    fn ask(&mut self, now: Nanos, cost: &mut Cost) {
        let cpu = processor();
        let before = self.begun - self.cpu_at;
        let used = cpu - self.cpu;
        // Busy before it at the most all the time, and else as much as during it.
        cost.cpu = used
            .saturating_sub(before)
            .max((u128::from(used) * u128::from(cost.took) / u128::from(before + cost.took)) as Nanos);
        self.cpu = cpu;
        self.cpu_at = now;
        if cost.took > VERY_LONG {
            cost.peak = most_memory();
            if let Some(file) = &self.forget {
                // SAFETY: one byte that is there; where it is refused, the peak is that of all calls so far.
                unsafe { libc::write(file.as_raw_fd(), b"5".as_ptr().cast(), 1) };
            }
        }
    }
}

/// Processor time of all threads of this process.
fn processor() -> Nanos {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the place is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// In KiB, since it was last forgotten.
fn most_memory() -> u32 {
    // SAFETY: a zeroed rusage is valid, and filled in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    u32::try_from(usage.ru_maxrss).unwrap_or(u32::MAX)
}
