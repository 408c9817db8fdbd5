//! Every interleaving of two or three threads at the primitives: no wake-up is lost, none is invented.
//!
//! Waiters are leaked: the models' futex has a mutex inside that has to outlive a late wake (the real one
//! uses only the address).

use crate::lock::Acquire;
use crate::{EventWord, Latch, LockWord, Notifier, SemaphoreWord, Site, Waiter};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::thread;

fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(f);
}

fn waiter() -> &'static Waiter {
    Box::leak(Box::new(Waiter::thread()))
}

/// The door's loop, without interpreter, spin and deadline.
fn wait(site: &impl Site) {
    let waiter = waiter();
    let mut again = false;
    while !site.take_or_enqueue(waiter, again) {
        waiter.park(None);
        waiter.rearm();
        again = true;
    }
}

/// A wait that gives up at once.
fn give_up(site: &impl Site) -> bool {
    let waiter = waiter();
    if site.take_or_enqueue(waiter, false) {
        return true;
    }
    if !site.leave(waiter) {
        waiter.settle();
        site.pass_on();
    }
    false
}

#[test]
fn latch_excludes() {
    model(|| {
        let latch = Arc::new(Latch::new(0));
        let other = Arc::clone(&latch);
        let child = thread::spawn(move || *other.lock() += 1);
        *latch.lock() += 1;
        child.join().unwrap();
        assert_eq!(*latch.lock(), 2);
    });
}

#[test]
fn lock_is_owned_by_one_and_always_handed_on() {
    model(|| {
        let lock = Arc::new(LockWord::new());
        let inside = Arc::new(AtomicUsize::new(0));
        let run = |me: usize, lock: Arc<LockWord>, inside: Arc<AtomicUsize>| {
            if !lock.try_acquire(me) {
                wait(&Acquire { lock: &lock, me });
            }
            assert_eq!(lock.owner(), me);
            assert_eq!(inside.fetch_add(1, Relaxed), 0);
            inside.fetch_sub(1, Relaxed);
            assert!(lock.release());
        };
        let (l, i) = (Arc::clone(&lock), Arc::clone(&inside));
        let child = thread::spawn(move || run(4, l, i));
        run(2, Arc::clone(&lock), inside);
        child.join().unwrap();
        assert!(!lock.has_waiters() && lock.owner() == 0);
    });
}

#[test]
fn a_lock_waiter_that_gives_up_passes_the_wake_on() {
    model(|| {
        let lock = Arc::new(LockWord::new());
        assert!(lock.try_acquire(2));
        let quitter = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || {
                if give_up(&Acquire { lock: &lock, me: 4 }) {
                    assert!(lock.release());
                }
            })
        };
        let stayer = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || {
                wait(&Acquire { lock: &lock, me: 6 });
                assert!(lock.release());
            })
        };
        assert!(lock.release());
        quitter.join().unwrap();
        stayer.join().unwrap();
        assert!(!lock.has_waiters() && lock.owner() == 0);
    });
}

#[test]
fn every_permit_reaches_a_waiter() {
    model(|| {
        let semaphore = Arc::new(SemaphoreWord::new(0));
        let children: Vec<_> = (0..2)
            .map(|_| {
                let semaphore = Arc::clone(&semaphore);
                thread::spawn(move || wait(&*semaphore))
            })
            .collect();
        assert!(semaphore.release(2, u64::MAX >> 2));
        for child in children {
            child.join().unwrap();
        }
        assert_eq!(semaphore.value(), 0);
    });
}

#[test]
fn a_permit_refused_goes_to_the_next() {
    model(|| {
        let semaphore = Arc::new(SemaphoreWord::new(0));
        let quitter = {
            let semaphore = Arc::clone(&semaphore);
            thread::spawn(move || {
                if give_up(&*semaphore) {
                    assert!(semaphore.release(1, 9));
                }
            })
        };
        let stayer = {
            let semaphore = Arc::clone(&semaphore);
            thread::spawn(move || wait(&*semaphore))
        };
        assert!(semaphore.release(1, 9));
        quitter.join().unwrap();
        stayer.join().unwrap();
    });
}

#[test]
fn a_set_event_wakes_all() {
    model(|| {
        let event = Arc::new(EventWord::new());
        let children: Vec<_> = (0..2)
            .map(|_| {
                let event = Arc::clone(&event);
                thread::spawn(move || wait(&*event))
            })
            .collect();
        event.set();
        for child in children {
            child.join().unwrap();
        }
        assert!(event.is_set());
    });
}

#[test]
fn a_set_does_not_wake_who_came_after_a_later_clear() {
    model(|| {
        let event = Arc::new(EventWord::new());
        let setter = {
            let event = Arc::clone(&event);
            thread::spawn(move || event.set())
        };
        let early = waiter();
        let entered = !event.take_or_enqueue(early, false);
        if event.is_set() {
            event.clear();
            // The set is over for everybody who comes from here on.
            let late = waiter();
            if !event.take_or_enqueue(late, false) {
                setter.join().unwrap();
                assert!(late.notified().is_none());
                assert!(event.leave(late));
            }
        } else {
            setter.join().unwrap();
        }
        if entered {
            assert!(early.notified().is_some() || event.leave(early));
        }
    });
}

#[test]
fn a_notified_waiter_that_gives_up_passes_it_on() {
    model(|| {
        let bell = Arc::new(Notifier::new());
        let (quits, stays) = (waiter(), waiter());
        bell.enqueue(quits);
        bell.enqueue(stays);
        let notifier = {
            let bell = Arc::clone(&bell);
            thread::spawn(move || bell.notify(1))
        };
        if bell.leave(quits) {
            notifier.join().unwrap();
        } else {
            quits.settle();
            bell.pass_on();
            notifier.join().unwrap();
        }
        stays.park(None);
        assert_eq!(bell.count(), 0);
    });
}
