//! One result that will exist: the life of a future in one word, its waiting threads, its observers.
//!
//! # The word
//! The low bits are the state: `PENDING → RUNNING → FINISHED`, `PENDING → FINISHED`, and `PENDING → CANCELLED →
//! CANCELLED_AND_NOTIFIED` (somebody gave up; then the worker noticed). Above them stand three flags:
//!
//! | flag | set by | cleared by |
//! | --- | --- | --- |
//! | [`COMPLETING`] | whoever won the right to write the payload | the same, with the store of FINISHED |
//! | [`WATCHED`] | whoever is about to enter the crowd, under the latch | the transition that empties the crowd |
//! | [`MANUAL`] | [`Cell::take_over`], under the latch | nobody |
//!
//! # The payload
//! It is written once, by the thread whose compare-exchange set COMPLETING (acquire), and published by its swap
//! to FINISHED (release). It is read by whoever has loaded FINISHED or MANUAL (acquire); COMPLETING and MANUAL
//! exclude each other. So no reader meets the writer, and a reference to it is good as long as the cell
//! ([`Cell::clear`] is for the garbage collector alone).
//!
//! # Why no wake-up is lost
//! A thread or an observer enters the crowd under the latch, after a compare-exchange (or a load of a word that
//! has it) made sure that the word is unfinished and WATCHED. A transition that ends the waiting
//! is one read-modify-write of the same word: either it comes first, and the compare-exchange fails and the state is seen;
//! or it reads WATCHED, takes the latch, and finds whoever entered. WATCHED is left standing when
//! somebody leaves early: the transition then finds nobody, which costs it one latch.
//!
//! # Manual
//! Code that reaches for the private attributes of a future (`_state`, `_condition`) gets what it expects: the cell
//! hands its crowd over and from then on refuses every transition with `Manual`. Whoever took it over keeps
//! the rules of the standard library's future with a lock of its own, and stores the state here.

use crate::latch::Latch;
use crate::site::Site;
use crate::spin::Spin;
use crate::sync::{AtomicU32, Ordering, Slot, pause};
use crate::waiter::{WaitList, Waiter};

#[cfg(all(test, loom))]
mod loom_tests;
mod transition;

pub use transition::{Cancel, Crowd, Few, Finish, Observe, Observer, Start, State};

const STATE: u32 = 7;
const COMPLETING: u32 = 8;
const WATCHED: u32 = 16;
const MANUAL: u32 = 32;

#[derive(Debug)]
struct Inside<O> {
    threads: WaitList,
    observers: Few<O>,
}

/// One result that will exist.
#[derive(Debug)]
pub struct Cell<T, O> {
    word: AtomicU32,
    payload: Slot<Option<T>>,
    crowd: Latch<Inside<O>>,
}

// SAFETY: the payload is written by one thread and read after it was published; see the module's text.
unsafe impl<T: Send + Sync, O: Send> Sync for Cell<T, O> {}

impl<T, O: Observer> Default for Cell<T, O> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, O: Observer> Cell<T, O> {
    /// A pending cell.
    #[must_use]
    pub fn new() -> Self {
        Self {
            word: AtomicU32::new(0),
            payload: Slot::new(None),
            crowd: Latch::new(Inside {
                threads: WaitList::new(),
                observers: Few::new(),
            }),
        }
    }

    /// The state now.
    #[inline]
    #[must_use]
    pub fn state(&self) -> State {
        State::of(self.word.load(Ordering::Acquire))
    }

    /// Whether it has been taken over.
    #[inline]
    #[must_use]
    pub fn is_manual(&self) -> bool {
        self.word.load(Ordering::Acquire) & MANUAL != 0
    }

    /// The result, if the cell has finished by itself.
    #[inline]
    #[must_use]
    pub fn value(&self) -> Option<&T> {
        if self.word.load(Ordering::Acquire) & (STATE | MANUAL) == State::Finished as u32 {
            self.payload()
        } else {
            None
        }
    }

    /// What was written before the cell was taken over.
    #[must_use]
    pub fn value_before(&self) -> Option<&T> {
        if self.is_manual() {
            self.payload()
        } else {
            self.value()
        }
    }

    fn payload(&self) -> Option<&T> {
        // SAFETY: it was published by the word that the caller has loaded, and is not written again.
        self.payload.with(|value| unsafe { (*value).as_ref() })
    }

    /// `PENDING → RUNNING`, or `CANCELLED → CANCELLED_AND_NOTIFIED`.
    #[inline]
    pub fn start(&self) -> Start<O> {
        let mut now = self.word.load(Ordering::Relaxed);
        loop {
            if now & MANUAL != 0 {
                return Start::Manual;
            }
            let (state, crowd) = match State::of(now) {
                State::Pending => (State::Running as u32, now & WATCHED),
                State::Cancelled => (State::Notified as u32, 0),
                state => return Start::Invalid(state),
            };
            match self
                .word
                .compare_exchange(now, state | crowd, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) if state == State::Running as u32 => return Start::Started,
                Ok(_) => return Start::Cancelled(self.disperse(now)),
                Err(changed) => now = changed,
            }
        }
    }

    /// `PENDING` or `RUNNING → FINISHED`.
    #[inline]
    pub fn finish(&self, value: T) -> Finish<T, O> {
        let mut now = self.word.load(Ordering::Relaxed);
        loop {
            if now & MANUAL != 0 {
                return Finish::Manual(value);
            }
            if now & COMPLETING != 0 {
                pause();
                now = self.word.load(Ordering::Relaxed);
                continue;
            }
            if State::of(now).is_done() {
                return Finish::Invalid(value, State::of(now));
            }
            match self
                .word
                .compare_exchange(now, now | COMPLETING, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => break,
                Err(changed) => now = changed,
            }
        }
        // SAFETY: COMPLETING is ours, and nobody reads before FINISHED. (There was nothing: nothing is dropped.)
        self.payload.with_mut(|slot| unsafe { slot.write(Some(value)) });
        let before = self.word.swap(State::Finished as u32, Ordering::AcqRel);
        Finish::Finished(self.disperse(before))
    }

    /// `PENDING → CANCELLED`.
    pub fn cancel(&self) -> Cancel<O> {
        let mut now = self.word.load(Ordering::Relaxed);
        loop {
            if now & MANUAL != 0 {
                return Cancel::Manual;
            }
            match State::of(now) {
                State::Pending => {}
                State::Cancelled | State::Notified => return Cancel::Already,
                State::Running | State::Finished => return Cancel::TooLate,
            }
            // WATCHED stays: those who wait for the worker to notice stay.
            match self.word.compare_exchange(
                now,
                State::Cancelled as u32 | (now & WATCHED),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Cancel::Cancelled(self.disperse_those_who_hear(now)),
                Err(changed) => now = changed,
            }
        }
    }

    /// Adds an observer, unless there is nothing to wait for.
    pub fn observe(&self, observer: O) -> Observe<O> {
        let mut inside = self.crowd.lock();
        let mut now = self.word.load(Ordering::Acquire);
        loop {
            if now & MANUAL != 0 {
                return Observe::Manual(observer);
            }
            match State::of(now) {
                State::Finished | State::Notified => return Observe::Done(observer),
                State::Cancelled if observer.hears_cancel() => return Observe::Done(observer),
                _ => {}
            }
            match self.watch(now) {
                Ok(()) => break,
                Err(changed) => now = changed,
            }
        }
        inside.observers.push(observer);
        Observe::Added
    }

    /// Takes out the first observer for which `which` holds.
    #[must_use = "it may have to be dropped with care"]
    pub fn forget(&self, which: impl FnMut(&O) -> bool) -> Option<O> {
        let mut inside = self.crowd.lock();
        let at = inside.observers.iter().position(which)?;
        Some(inside.observers.remove(at))
    }

    /// Looks at the observers, if the latch is free: for the garbage collector's walk.
    pub fn try_each(&self, f: impl FnMut(&O)) {
        if let Some(inside) = self.crowd.try_lock() {
            inside.observers.iter().for_each(f);
        }
    }

    /// Makes the cell manual: returns those who waited, or None if it was manual already.
    pub fn take_over(&self) -> Option<Crowd<O>> {
        loop {
            let mut inside = self.crowd.lock();
            let now = self.word.load(Ordering::Relaxed);
            if now & MANUAL != 0 {
                return None;
            }
            if now & COMPLETING == 0
                && self
                    .word
                    .compare_exchange(now, (now & STATE) | MANUAL, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
            {
                return Some(Crowd {
                    threads: inside.threads.pop(usize::MAX),
                    observers: std::mem::take(&mut inside.observers),
                });
            }
            drop(inside);
            pause();
        }
    }

    /// The state of a manual cell, as whoever took it over says.
    pub fn put_state(&self, state: State) {
        debug_assert!(
            self.is_manual(),
            "a cell keeps its own state until it is taken over"
        );
        self.word.store(state as u32 | MANUAL, Ordering::Release);
    }

    /// Takes everything out: for the garbage collector, when nobody else can reach the cell.
    ///
    /// # Safety
    /// No reference that [`value`](Cell::value) gave is alive, and no thread is in another method.
    pub unsafe fn clear(&self) -> (Option<T>, Few<O>) {
        let observers = std::mem::take(&mut self.crowd.lock().observers);
        // SAFETY: the caller's promise.
        let value = self.payload.with_mut(|slot| unsafe { (*slot).take() });
        (value, observers)
    }

    /// Sets WATCHED, with the latch held, in a word that was seen as `now`.
    fn watch(&self, now: u32) -> Result<(), u32> {
        if now & WATCHED != 0 {
            return Ok(());
        }
        self.word
            .compare_exchange(now, now | WATCHED, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
    }

    /// Takes the crowd out, if `before` says that there is one.
    #[inline]
    fn disperse(&self, before: u32) -> Crowd<O> {
        if before & WATCHED == 0 {
            return Crowd::nobody();
        }
        let mut inside = self.crowd.lock();
        Crowd {
            threads: inside.threads.pop(usize::MAX),
            observers: std::mem::take(&mut inside.observers),
        }
    }

    /// Takes the threads out, and the observers that hear of a cancelling.
    #[cold]
    fn disperse_those_who_hear(&self, before: u32) -> Crowd<O> {
        if before & WATCHED == 0 {
            return Crowd::nobody();
        }
        let mut inside = self.crowd.lock();
        let all = std::mem::take(&mut inside.observers);
        let (observers, stay) = all.into_iter().partition(O::hears_cancel);
        inside.observers = stay;
        Crowd {
            threads: inside.threads.pop(usize::MAX),
            observers,
        }
    }
}

/// A thread's wait until the cell is done, or has been taken over.
#[derive(Debug)]
pub struct Done<'a, T, O> {
    /// The cell.
    pub cell: &'a Cell<T, O>,
    /// The score of spinning: a cell is waited for once, so it is kept for those that come from one place.
    pub spin: &'a Spin,
}

impl<T, O: Observer> Site for Done<'_, T, O> {
    fn take_or_enqueue(&self, waiter: &Waiter, again: bool) -> bool {
        let mut inside = self.cell.crowd.lock();
        let mut now = self.cell.word.load(Ordering::Acquire);
        loop {
            if State::of(now).is_done() || now & MANUAL != 0 {
                return true;
            }
            match self.cell.watch(now) {
                Ok(()) => break,
                Err(changed) => now = changed,
            }
        }
        inside.threads.enqueue(waiter, again);
        false
    }

    fn leave(&self, waiter: &Waiter) -> bool {
        self.cell.crowd.lock().threads.remove(waiter)
    }

    fn pass_on(&self) {
        // Everybody was notified.
    }

    fn spin(&self) -> &Spin {
        self.spin
    }
}
