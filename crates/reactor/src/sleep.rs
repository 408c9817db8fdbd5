//! Whether the loop sleeps: a flag, so that work for a loop that is awake costs no system call.
//!
//! The loop: (L1) [`Sleep::about_to`] sets the flag; (L2) it looks at its queue once more, and sleeps only if that is empty; (L3) when it
//! is awake again, [`Sleep::over`] clears the flag. Who brings work: (B1) puts it in the queue; (B2) [`Sleep::interrupt`] takes the flag, and if it
//! was set writes to the descriptor that the loop polls.
//!
//! *Nothing is lost.* L1 and B2 are sequentially consistent operations on one word, and the queue is guarded by a lock (or the
//! GIL). If B1's section comes before L2's, the loop sees the work and does not sleep. Otherwise L2's section comes before B1's, so
//! L1 happens before B2, and B2 finds the flag set, or already taken by another who brought work after L1 and therefore writes as
//! well: the sleep ends either way. What is written stays readable until the loop drains it, so it does not matter
//! whether the loop has already gone to sleep when it is written.
//!
//! *Nothing is sent twice.* Only who takes the flag writes, and the loop alone sets it: at most one write a sleep.
//!
//! `loom_tests` below runs through the interleavings.

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering};

/// The flag.
#[derive(Debug)]
pub struct Sleep(AtomicBool);

impl Default for Sleep {
    fn default() -> Self {
        Self::new()
    }
}

impl Sleep {
    /// Of a loop that is awake.
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// The loop is about to look at its queue for the last time before it sleeps.
    #[inline]
    pub fn about_to(&self) {
        self.0.swap(true, Ordering::SeqCst);
    }

    /// The loop is awake.
    #[inline]
    pub fn over(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    /// Called after work was put in the queue: whether the caller has to end the sleep.
    #[inline]
    #[must_use]
    pub fn interrupt(&self) -> bool {
        // The load spares a loop that is awake the exchange. It is not needed for the proof: where it reads false, the
        // order of all sequentially consistent operations puts it before L1, and so B1 before L2.
        self.0.load(Ordering::SeqCst) && self.0.swap(false, Ordering::SeqCst)
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::Sleep;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    /// The loop sleeps until `wanted` pieces of work have come; those who bring them write only when told to.
    fn meet(bringers: usize) {
        loom::model(move || {
            let sleep = Arc::new(Sleep::new());
            let queue = Arc::new(Mutex::new(0_usize));
            // The eventfd: a count, and the poll that waits for it.
            let descriptor = Arc::new((Mutex::new(0_u64), Condvar::new()));
            let threads: Vec<_> = (0..bringers)
                .map(|_| {
                    let (sleep, queue, descriptor) = (sleep.clone(), queue.clone(), descriptor.clone());
                    thread::spawn(move || {
                        *queue.lock().unwrap() += 1;
                        if sleep.interrupt() {
                            *descriptor.0.lock().unwrap() += 1;
                            descriptor.1.notify_one();
                        }
                    })
                })
                .collect();
            let mut done = 0;
            while done < bringers {
                sleep.about_to();
                let work = std::mem::take(&mut *queue.lock().unwrap());
                if work == 0 {
                    let mut count = descriptor.0.lock().unwrap();
                    while *count == 0 {
                        count = descriptor.1.wait(count).unwrap();
                    }
                    *count = 0;
                }
                sleep.over();
                done += work;
            }
            for thread in threads {
                thread.join().unwrap();
            }
        });
    }

    #[test]
    fn one_wake_up_is_not_lost() {
        meet(1);
    }

    #[test]
    fn two_wake_ups_are_not_lost() {
        meet(2);
    }
}
