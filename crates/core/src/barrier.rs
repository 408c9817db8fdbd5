//! The state of a barrier: who has arrived, and how each round ended.
//!
//! A round is an object of its own, because its waiters may look at its end long after the next has begun.
//! All of the state changes under the latch. A round ends once, tripped or broken; then its waiters are popped, and the
//! next arrival starts another round. While the action of a full round runs (in Python, without the latch)
//! those who arrive wait for the round to end, and arrive again.

use crate::batch::Batch;
use crate::latch::Latch;
use crate::site::Site;
use crate::spin::Spin;
use crate::sync::{AtomicU32, Ordering};
use crate::waiter::{WaitList, Waiter};
use std::sync::Arc;

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Not yet.
    Open,
    /// Everybody came.
    Tripped,
    /// Somebody gave up, or the barrier was reset or aborted.
    Broken,
}

/// One round.
#[derive(Debug)]
pub struct Round(AtomicU32);

impl Round {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU32::new(End::Open as u32)))
    }

    /// How it ended.
    #[must_use]
    pub fn end(&self) -> End {
        match self.0.load(Ordering::Acquire) {
            0 => End::Open,
            1 => End::Tripped,
            _ => End::Broken,
        }
    }
}

#[derive(Debug)]
struct State {
    round: Arc<Round>,
    arrived: usize,
    /// All have arrived, and the last one runs the action.
    acting: bool,
    broken: bool,
    waiters: WaitList,
}

impl State {
    /// Ends the round; the next is open.
    fn end(&mut self, end: End) -> Batch {
        self.round.0.store(end as u32, Ordering::Release);
        self.round = Round::new();
        self.arrived = 0;
        self.acting = false;
        self.waiters.pop(usize::MAX)
    }
}

/// The state of a barrier.
#[derive(Debug)]
pub struct BarrierState {
    state: Latch<State>,
    spin: Spin,
}

/// What an arrival finds.
#[derive(Debug)]
pub enum Arrival {
    /// The barrier is broken.
    Broken,
    /// A full round's action is running; wait for its end, and arrive again.
    Later(Arc<Round>),
    /// One of the first: wait for the end of the round. The number is the place in it.
    Early(Arc<Round>, usize),
    /// The last one: run the action, then [`BarrierState::trip`].
    Last(Arc<Round>, usize),
}

impl Default for BarrierState {
    fn default() -> Self {
        Self::new()
    }
}

impl BarrierState {
    /// Nobody has come.
    #[must_use]
    pub fn new() -> Self {
        let state = State {
            round: Round::new(),
            arrived: 0,
            acting: false,
            broken: false,
            waiters: WaitList::new(),
        };
        Self {
            state: Latch::new(state),
            spin: Spin::new(),
        }
    }

    /// One more arrives at a barrier for `parties`. Without an action the last one ends the round at once.
    pub fn arrive(&self, parties: usize, action: bool) -> Arrival {
        let mut state = self.state.lock();
        if state.broken {
            return Arrival::Broken;
        }
        let round = Arc::clone(&state.round);
        if state.acting {
            return Arrival::Later(round);
        }
        let place = state.arrived;
        state.arrived += 1;
        if state.arrived != parties {
            return Arrival::Early(round, place);
        }
        if action {
            state.acting = true;
        } else {
            let all = state.end(End::Tripped);
            drop(state);
            all.notify();
        }
        Arrival::Last(round, place)
    }

    /// The action is done: ends the round, unless that has happened meanwhile.
    pub fn trip(&self, round: &Arc<Round>) {
        self.end(round, End::Tripped);
    }

    /// Breaks the barrier, if `round` is still open.
    pub fn give_up(&self, round: &Arc<Round>) {
        self.end(round, End::Broken);
    }

    fn end(&self, round: &Arc<Round>, end: End) {
        let mut state = self.state.lock();
        if Arc::ptr_eq(&state.round, round) {
            state.broken |= end == End::Broken;
            let all = state.end(end);
            drop(state);
            all.notify();
        }
    }

    /// One that has arrived leaves without breaking the barrier (a signal handler raised).
    pub fn depart(&self, round: &Arc<Round>) {
        let mut state = self.state.lock();
        if Arc::ptr_eq(&state.round, round) {
            state.arrived = state.arrived.saturating_sub(1);
        }
    }

    /// Makes the barrier usable again, or breaks it for good; those who wait get a broken round.
    pub fn reset(&self, broken: bool) {
        let mut state = self.state.lock();
        state.broken = broken;
        if broken || state.arrived > 0 {
            let all = state.end(End::Broken);
            drop(state);
            all.notify();
        }
    }

    /// Whether it is broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.state.lock().broken
    }

    /// How many wait for the others.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state.lock().arrived
    }
}

/// A wait for the end of a round.
#[derive(Debug)]
pub struct RoundEnd<'a> {
    /// The barrier.
    pub barrier: &'a BarrierState,
    /// The round.
    pub round: &'a Arc<Round>,
}

impl Site for RoundEnd<'_> {
    fn take_or_enqueue(&self, waiter: &Waiter, _again: bool) -> bool {
        let mut state = self.barrier.state.lock();
        if self.round.end() != End::Open {
            return true;
        }
        state.waiters.enqueue(waiter, false);
        false
    }

    fn leave(&self, waiter: &Waiter) -> bool {
        self.barrier.state.lock().waiters.remove(waiter)
    }

    fn pass_on(&self) {
        // Everybody was notified.
    }

    fn spin(&self) -> &Spin {
        &self.barrier.spin
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_round_ends_once_and_the_next_is_open() {
        let barrier = BarrierState::new();
        let Arrival::Early(first, 0) = barrier.arrive(2, false) else {
            panic!("one of two is early")
        };
        let Arrival::Last(round, 1) = barrier.arrive(2, false) else {
            panic!("the second is the last")
        };
        assert!(Arc::ptr_eq(&first, &round));
        assert_eq!(first.end(), End::Tripped);
        barrier.give_up(&first);
        assert!(!barrier.is_broken());
        let Arrival::Early(second, 0) = barrier.arrive(2, false) else {
            panic!("a new round")
        };
        assert_eq!(second.end(), End::Open);
        barrier.reset(false);
        assert_eq!(second.end(), End::Broken);
        assert!(!barrier.is_broken() && barrier.waiting() == 0);
    }

    #[test]
    fn who_comes_while_the_action_runs_comes_later() {
        let barrier = BarrierState::new();
        let Arrival::Last(round, 0) = barrier.arrive(1, true) else {
            panic!("the only one is the last")
        };
        assert!(matches!(barrier.arrive(1, true), Arrival::Later(_)));
        barrier.reset(true);
        barrier.trip(&round);
        assert_eq!(round.end(), End::Broken);
        assert!(matches!(barrier.arrive(1, true), Arrival::Broken));
    }
}
