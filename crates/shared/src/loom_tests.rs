//! Every interleaving of small programs: run with `--cfg loom`.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use crate::owner::{Identity, OwnerWord};
use crate::sleepers::Sleepers;
use crate::sync::{AtomicU32, Ordering};
use std::time::Duration;

fn leaked<T: Default>() -> &'static T {
    Box::leak(Box::default())
}

fn take(word: &OwnerWord, me: Identity) {
    let mut slept = false;
    while !(if slept { word.take_slept(me) } else { word.take(me) }) {
        word.sleep(Duration::MAX);
        slept = true;
    }
}

#[test]
fn one_has_the_lock_and_each_gets_it() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (word, inside): (&OwnerWord, &AtomicU32) = (leaked(), leaked());
        let work = move |pid| {
            take(word, Identity::new(pid, 7));
            assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
            inside.fetch_sub(1, Ordering::Relaxed);
            assert!(word.free());
        };
        let others: Vec<_> = (1..3).map(|pid| loom::thread::spawn(move || work(pid))).collect();
        work(3);
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(word.holder(), None);
    });
}

#[test]
fn one_takes_over_from_a_dead_one() {
    loom::model(|| {
        let (word, inside): (&OwnerWord, &AtomicU32) = (leaked(), leaked());
        let dead = Identity::new(9, 9);
        assert!(word.take(dead));
        let work = move |pid| {
            let me = Identity::new(pid, 7);
            if !word.take_over(dead, me) {
                take(word, me);
            }
            assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
            inside.fetch_sub(1, Ordering::Relaxed);
            word.free();
        };
        let other = loom::thread::spawn(move || work(1));
        work(2);
        other.join().unwrap();
    });
}

/// Takes one of what has been made, by compare-exchange, as several consumers do.
fn consume(sleepers: &Sleepers, made: &AtomicU32) {
    let mut slept = false;
    let there = || made.load(Ordering::Acquire) > 0;
    loop {
        let now = made.load(Ordering::Acquire);
        if now > 0 {
            if made
                .compare_exchange(now, now - 1, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            {
                if slept {
                    sleepers.pass_on(there);
                }
                return;
            }
            continue;
        }
        sleepers.sleep(Duration::MAX, there);
        slept = true;
    }
}

#[test]
fn each_of_two_sleepers_gets_one() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let (sleepers, made): (&Sleepers, &AtomicU32) = (leaked(), leaked());
        let consumers: Vec<_> = (0..2)
            .map(|_| loom::thread::spawn(move || consume(sleepers, made)))
            .collect();
        for _ in 0..2 {
            made.fetch_add(1, Ordering::Release);
            sleepers.ring();
        }
        for consumer in consumers {
            consumer.join().unwrap();
        }
    });
}
