//! Every interleaving of a few threads at one cell: one result, and everybody hears of it once.
//!
//! Waiters are leaked, as in the other models.

use super::{Cancel, Cell, Done, Finish, Observe, Observer, Start, State};
use crate::{Site, Spin, Waiter};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::thread;

#[derive(Debug)]
enum Ear {
    Callback,
    Sink,
}

impl Observer for Ear {
    fn hears_cancel(&self) -> bool {
        matches!(self, Self::Callback)
    }
}

type Shared = Arc<Cell<u32, Ear>>;

fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(f);
}

fn wait(cell: &Cell<u32, Ear>) {
    let (spin, waiter) = (Spin::new(), Box::leak(Box::new(Waiter::thread())));
    let site = Done { cell, spin: &spin };
    let mut again = false;
    while !site.take_or_enqueue(waiter, again) {
        waiter.park(None);
        waiter.rearm();
        again = true;
    }
}

/// Finishes and tells; returns how many observers were told.
fn finish(cell: &Cell<u32, Ear>, value: u32) -> Option<usize> {
    match cell.finish(value) {
        Finish::Finished(crowd) => {
            crowd.threads.notify();
            Some(crowd.observers.len())
        }
        Finish::Invalid(..) | Finish::Manual(_) => None,
    }
}

#[test]
fn a_waiting_thread_reads_the_result() {
    model(|| {
        let cell = Shared::default();
        let worker = {
            let cell = Arc::clone(&cell);
            thread::spawn(move || {
                assert!(matches!(cell.start(), Start::Started));
                assert_eq!(finish(&cell, 7), Some(0));
            })
        };
        wait(&cell);
        assert_eq!(cell.value(), Some(&7));
        worker.join().unwrap();
    });
}

#[test]
fn only_one_of_two_results_stands() {
    model(|| {
        let cell = Shared::default();
        let other = {
            let cell = Arc::clone(&cell);
            thread::spawn(move || finish(&cell, 1).is_some())
        };
        let mine = finish(&cell, 2).is_some();
        let theirs = other.join().unwrap();
        assert!(mine != theirs);
        assert_eq!(cell.value(), Some(if mine { &2 } else { &1 }));
    });
}

#[test]
fn an_observer_is_told_once() {
    model(|| {
        let cell = Shared::default();
        let told = Arc::new(AtomicUsize::new(0));
        let worker = {
            let (cell, told) = (Arc::clone(&cell), Arc::clone(&told));
            thread::spawn(move || {
                told.fetch_add(finish(&cell, 3).unwrap(), Relaxed);
            })
        };
        for _ in 0..2 {
            match cell.observe(Ear::Callback) {
                Observe::Added => {}
                Observe::Done(_) => {
                    assert_eq!(cell.value(), Some(&3));
                    told.fetch_add(1, Relaxed);
                }
                Observe::Manual(_) => unreachable!(),
            }
        }
        worker.join().unwrap();
        assert_eq!(told.load(Relaxed), 2);
    });
}

#[test]
fn a_cell_is_either_cancelled_or_run() {
    model(|| {
        let cell = Shared::default();
        let sink = matches!(cell.observe(Ear::Sink), Observe::Added);
        assert!(sink);
        let worker = {
            let cell = Arc::clone(&cell);
            // How many sinks the worker has told.
            thread::spawn(move || match cell.start() {
                Start::Started => finish(&cell, 5).unwrap(),
                Start::Cancelled(crowd) => {
                    crowd.threads.notify();
                    crowd.observers.len()
                }
                end => unreachable!("{end:?}"),
            })
        };
        let cancelled = match cell.cancel() {
            Cancel::Cancelled(crowd) => {
                crowd.threads.notify();
                assert!(crowd.observers.is_empty(), "a sink hears of it from the worker");
                true
            }
            Cancel::TooLate => false,
            end => unreachable!("{end:?}"),
        };
        assert_eq!(worker.join().unwrap(), 1);
        let state = if cancelled {
            State::Notified
        } else {
            State::Finished
        };
        assert_eq!(cell.state(), state);
        wait(&cell);
    });
}

#[test]
fn taking_over_loses_neither_thread_nor_result() {
    model(|| {
        let cell = Shared::default();
        let worker = {
            let cell = Arc::clone(&cell);
            thread::spawn(move || match cell.finish(9) {
                Finish::Finished(crowd) => crowd.threads.notify(),
                Finish::Manual(_) => assert!(cell.value_before().is_none()),
                Finish::Invalid(..) => unreachable!(),
            })
        };
        let taker = {
            let cell = Arc::clone(&cell);
            thread::spawn(move || cell.take_over().unwrap().threads.notify())
        };
        wait(&cell);
        worker.join().unwrap();
        taker.join().unwrap();
        assert!(cell.is_manual());
        let finished = cell.state() == State::Finished;
        assert_eq!(cell.value_before(), finished.then_some(&9));
    });
}
