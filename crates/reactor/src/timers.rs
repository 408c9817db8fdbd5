//! What is due when: in order of time, and of arrival where the times are equal.
//!
//! Most programs use few different delays, so most timers arrive in the order in which they are due. Those go to the
//! back of the *run*, a queue, at no cost; only who comes out of order goes to a heap. The next timer is the smaller of the two heads.
//!
//! A cancelled timer gives its value back at once. Its mark stays behind, but not for long: marks at either end of the run and at the top of
//! the heap are removed as they are met, and when more than half of all are marks, all marks are. So cancelling costs O(1) on average,
//! and a million timeouts that never come hold no memory.

use crate::Nanos;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Names a timer: its place, and which of those that stood there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerKey {
    place: u32,
    order: u64,
}

/// When a timer is due, the how-manieth it is, and where its value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    when: Nanos,
    order: u64,
    place: u32,
}

#[derive(Debug)]
struct Place<T> {
    /// The timer that stands here; a mark of another is stale.
    order: u64,
    value: Option<T>,
}

/// Below so many marks nobody looks how many are stale.
const FEW: usize = 64;

/// Timers that hold a `T` each.
#[derive(Debug)]
pub struct Timers<T> {
    run: VecDeque<Mark>,
    heap: BinaryHeap<Reverse<Mark>>,
    places: Vec<Place<T>>,
    free: Vec<u32>,
    next_order: u64,
    stale: usize,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self {
            run: VecDeque::new(),
            heap: BinaryHeap::new(),
            places: Vec::new(),
            free: Vec::new(),
            next_order: 0,
            stale: 0,
        }
    }
}

impl<T> Timers<T> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a timer that is due at `when`. Allocates, but drops nothing.
    pub fn add(&mut self, when: Nanos, value: T) -> TimerKey {
        let order = self.next_order;
        self.next_order += 1;
        let place = if let Some(place) = self.free.pop() {
            self.places[place as usize] = Place {
                order,
                value: Some(value),
            };
            place
        } else {
            #[expect(clippy::cast_possible_truncation, reason = "four thousand million timers")]
            let place = self.places.len() as u32;
            self.places.push(Place {
                order,
                value: Some(value),
            });
            place
        };
        let mark = Mark { when, order, place };
        if self.run.back().is_none_or(|last| last.when <= when) {
            self.run.push_back(mark);
        } else {
            self.heap.push(Reverse(mark));
        }
        TimerKey { place, order }
    }

    /// Takes a timer away. None if it is not there any more.
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let value = self.take(key.place, key.order)?;
        self.stale += 1;
        while let Some(&last) = self.run.back()
            && self.is_stale(last)
        {
            self.run.pop_back();
            self.stale -= 1;
        }
        if self.stale > FEW && self.stale * 2 > self.run.len() + self.heap.len() {
            let places = &self.places;
            let alive = |mark: &Mark| places[mark.place as usize].order == mark.order;
            self.run.retain(alive);
            self.heap.retain(|Reverse(mark)| alive(mark));
            self.stale = 0;
        }
        Some(value)
    }

    /// When the next one is due.
    pub fn next_due(&mut self) -> Option<Nanos> {
        self.head().map(|(mark, _)| mark.when)
    }

    /// Takes the next timer that is due at `now`.
    pub fn pop(&mut self, now: Nanos) -> Option<T> {
        let (mark, in_run) = self.head()?;
        if mark.when > now {
            return None;
        }
        if in_run {
            self.run.pop_front();
        } else {
            self.heap.pop();
        }
        self.take(mark.place, mark.order)
    }

    /// Takes all of them away.
    pub fn clear(&mut self) -> Vec<T> {
        self.run.clear();
        self.heap.clear();
        self.free.clear();
        self.stale = 0;
        std::mem::take(&mut self.places)
            .into_iter()
            .filter_map(|place| place.value)
            .collect()
    }

    /// All values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|place| place.value.as_ref())
    }

    /// The next mark that is not stale, and whether it stands in the run.
    #[inline]
    fn head(&mut self) -> Option<(Mark, bool)> {
        while let Some(&mark) = self.run.front()
            && self.is_stale(mark)
        {
            self.run.pop_front();
            self.stale -= 1;
        }
        while let Some(&Reverse(mark)) = self.heap.peek()
            && self.is_stale(mark)
        {
            self.heap.pop();
            self.stale -= 1;
        }
        match (self.run.front(), self.heap.peek()) {
            (Some(&run), Some(&Reverse(heap))) => Some(if run < heap { (run, true) } else { (heap, false) }),
            (Some(&run), None) => Some((run, true)),
            (None, Some(&Reverse(heap))) => Some((heap, false)),
            (None, None) => None,
        }
    }

    #[inline]
    fn is_stale(&self, mark: Mark) -> bool {
        self.places[mark.place as usize].order != mark.order
    }

    #[inline]
    fn take(&mut self, place: u32, order: u64) -> Option<T> {
        let slot = self
            .places
            .get_mut(place as usize)
            .filter(|slot| slot.order == order)?;
        let value = slot.value.take()?;
        // No timer has this number: marks that point here are stale from now on.
        slot.order = u64::MAX;
        self.free.push(place);
        Some(value)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn due(timers: &mut Timers<u64>, now: Nanos) -> Vec<u64> {
        std::iter::from_fn(|| timers.pop(now)).collect()
    }

    #[test]
    fn equal_times_come_in_order_of_arrival() {
        let mut timers = Timers::default();
        for (value, when) in [(1, 50), (2, 10), (3, 50), (4, 10), (5, 50)] {
            timers.add(when, value);
        }
        assert_eq!(timers.next_due(), Some(10));
        assert_eq!(due(&mut timers, 9), []);
        assert_eq!(due(&mut timers, 50), [2, 4, 1, 3, 5]);
        assert!(timers.is_empty());
    }

    #[test]
    fn a_cancelled_timer_gives_its_value_back_once() {
        let mut timers = Timers::default();
        let (first, second) = (timers.add(10, 1), timers.add(5, 2));
        assert_eq!(timers.cancel(second), Some(2));
        assert_eq!(timers.cancel(second), None);
        let third = timers.add(5, 3);
        assert_eq!(timers.cancel(second), None, "the place is another's");
        assert_eq!(due(&mut timers, 10), [3, 1]);
        assert_eq!(timers.cancel(first), None);
        assert_eq!(timers.cancel(third), None);
    }

    #[test]
    fn cancelled_timers_hold_no_memory() {
        let mut timers = Timers::default();
        timers.add(0, 0);
        for round in 0..100_000 {
            let far = timers.add(1_000_000 + round, round);
            let near = timers.add(1_000, round);
            timers.cancel(far);
            timers.cancel(near);
        }
        assert!(timers.places.len() < 10);
        assert!(timers.run.len() + timers.heap.len() < 4 * FEW);
    }

    #[test]
    fn any_order_of_adding_and_cancelling_agrees_with_a_sorted_list() {
        let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let mut timers = Timers::default();
        let mut model: Vec<(Nanos, u64, TimerKey)> = Vec::new();
        let mut now = 0;
        for value in 0..20_000 {
            match random() % 8 {
                0..4 => {
                    let when = now + random() % 300;
                    let key = timers.add(when, value);
                    model.push((when, value, key));
                }
                4..7 if !model.is_empty() => {
                    let at = usize::try_from(random()).unwrap_or(0) % model.len();
                    let (_, cancelled, key) = model.swap_remove(at);
                    assert_eq!(timers.cancel(key), Some(cancelled));
                }
                _ => {
                    now += random() % 100;
                    model.sort_unstable_by_key(|(when, value, _)| (*when, *value));
                    assert_eq!(timers.next_due(), model.first().map(|(when, ..)| *when));
                    let later = model.partition_point(|(when, ..)| *when <= now);
                    let expected: Vec<_> = model.drain(..later).map(|(_, value, _)| value).collect();
                    assert_eq!(due(&mut timers, now), expected);
                }
            }
            assert_eq!(timers.len(), model.len());
        }
    }
}
