//! Histories that are written down. (Made-up ones: `histories`.)

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use crate::{Action, Call, Cancelling, Policy, Settings, TaskId, Verdict, WorkerId};

pub(crate) const SETTINGS: Settings = Settings {
    workers: 2,
    tasks_per_worker: None,
    grace: 100,
    stillborn: 3,
    deaths: None,
};

/// A policy with workers that are up, and what it wants done since it was last asked.
pub(crate) struct Stage {
    pub policy: Policy,
    pub out: Vec<Action>,
}

impl Stage {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            policy: Policy::new(settings),
            out: Vec::new(),
        }
    }

    pub(crate) fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.out)
    }

    pub(crate) fn submit(&mut self, call: Call) -> TaskId {
        self.policy.submit(call, &mut self.out).unwrap()
    }

    /// Submits a task, and brings up the worker that is started for it.
    pub(crate) fn with_worker(call: Call) -> (Self, TaskId, WorkerId) {
        let one = Settings {
            workers: 1,
            ..SETTINGS
        };
        Self::with(one, call)
    }

    fn with(settings: Settings, call: Call) -> (Self, TaskId, WorkerId) {
        let mut stage = Self::new(settings);
        let task = stage.submit(call);
        let [Action::Start(worker)] = stage.actions()[..] else {
            panic!("one worker is started")
        };
        stage.policy.up(worker, &mut stage.out);
        assert_eq!(stage.actions(), [Action::Send(worker, task)]);
        (stage, task, worker)
    }
}

#[test]
fn a_death_costs_the_task_that_ran_and_no_other() {
    let (mut stage, first, worker) = Stage::with_worker(Call::default());
    let second = stage.submit(Call::default());
    let third = stage.submit(Call::default());
    assert_eq!(stage.actions(), [Action::Send(worker, second)]);
    stage.policy.died(worker, Some(first), &mut stage.out);
    let actions = stage.actions();
    let [Action::Settle(lost, Verdict::WorkerDied), Action::Start(other)] = actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(lost, first);
    stage.policy.up(other, &mut stage.out);
    assert_eq!(
        stage.actions(),
        [Action::Send(other, second), Action::Send(other, third)]
    );
}

#[test]
fn more_deaths_than_may_be_break_the_pool() {
    let (mut stage, task, first) = Stage::with(
        Settings {
            deaths: Some(1),
            workers: 1,
            ..SETTINGS
        },
        Call {
            retries: 9,
            ..Call::default()
        },
    );
    stage.policy.died(first, Some(task), &mut stage.out);
    let [Action::Start(second)] = stage.actions()[..] else {
        panic!("the first death is one that may be")
    };
    stage.policy.excuse(second);
    stage.policy.died(second, None, &mut stage.out);
    assert_eq!(stage.actions(), [Action::Settle(task, Verdict::Broken)]);
    assert!(stage.policy.is_past_its_deaths() && stage.policy.is_over());
}

#[test]
fn what_has_retries_left_runs_again_before_those_that_came_later() {
    let (mut stage, task, worker) = Stage::with_worker(Call {
        retries: 1,
        ..Call::default()
    });
    let later = stage.submit(Call::default());
    stage.policy.died(worker, Some(task), &mut stage.out);
    assert_eq!(stage.policy.attempts(task), Some(1));
    assert_eq!(stage.policy.attempts(later), Some(0));
    stage.out.clear();
    let other = stage.policy_worker();
    stage.policy.up(other, &mut stage.out);
    assert_eq!(
        stage.actions(),
        [Action::Send(other, task), Action::Send(other, later)]
    );
    stage.policy.died(other, Some(task), &mut stage.out);
    assert_eq!(stage.actions()[0], Action::Settle(task, Verdict::WorkerDied));
}

impl Stage {
    /// The only worker there is.
    fn policy_worker(&self) -> WorkerId {
        assert_eq!(self.policy.workers(), 1);
        self.policy.only_worker()
    }
}

#[test]
fn cancelling_takes_a_lease_back_or_stops_what_runs() {
    let (mut stage, first, worker) = Stage::with_worker(Call::default());
    let second = stage.submit(Call::default());
    stage.actions();
    assert_eq!(
        stage.policy.cancel(second, 0, &mut stage.out),
        Cancelling::Underway
    );
    assert_eq!(stage.actions(), [Action::Withdraw(worker, second)]);
    stage.policy.withdrawn(worker, second, &mut stage.out);
    assert_eq!(stage.actions(), [Action::Settle(second, Verdict::Cancelled)]);
    assert_eq!(
        stage.policy.cancel(second, 0, &mut stage.out),
        Cancelling::TooLate
    );
    // The first is claimed before it can be taken back.
    assert_eq!(
        stage.policy.cancel(first, 0, &mut stage.out),
        Cancelling::Underway
    );
    stage.actions();
    stage.policy.started(worker, first, 5, &mut stage.out);
    assert_eq!(stage.actions(), [Action::Interrupt(worker, first)]);
    stage.policy.finished(worker, first, 5, &mut stage.out);
    assert_eq!(stage.actions(), [Action::Settle(first, Verdict::Cancelled)]);
}

#[test]
fn too_big_a_task_is_not_run_again() {
    let (mut stage, task, worker) = Stage::with_worker(Call {
        retries: 5,
        ..Call::default()
    });
    stage.policy.too_big(worker, task, &mut stage.out);
    assert_eq!(stage.actions(), [Action::Kill(worker)]);
    stage.policy.died(worker, None, &mut stage.out);
    assert_eq!(stage.actions(), [Action::Settle(task, Verdict::OutOfMemory)]);
}

#[test]
fn higher_priority_goes_first_then_the_order_of_submission() {
    let (mut stage, first, worker) = Stage::with_worker(Call::default());
    stage
        .policy
        .finished(worker, first, 1_000_000_000, &mut stage.out);
    let running = stage.submit(Call::default());
    let behind = stage.submit(Call::default());
    stage.actions();
    // Long tasks: the ring holds two, the rest waits.
    let ranks = [0, 5, -1, 5, 0];
    let tasks = ranks.map(|priority| {
        stage.submit(Call {
            priority,
            ..Call::default()
        })
    });
    assert_eq!(stage.actions(), []);
    let mut order = Vec::new();
    for task in [running, behind, tasks[1], tasks[3], tasks[0], tasks[4]] {
        stage.policy.finished(worker, task, 1_000_000_000, &mut stage.out);
        for action in stage.actions() {
            let Action::Send(_, task) = action else {
                panic!("{action:?}")
            };
            order.push(task);
        }
    }
    assert_eq!(order, [1, 3, 0, 4, 2].map(|i: usize| tasks[i]));
}

#[test]
fn a_worn_worker_is_replaced_when_it_has_done_what_it_has() {
    let mut stage = Stage::new(Settings {
        workers: 1,
        tasks_per_worker: Some(2),
        ..SETTINGS
    });
    let tasks = [0; 3].map(|_| stage.submit(Call::default()));
    let worker = stage.policy_worker();
    stage.policy.up(worker, &mut stage.out);
    assert_eq!(
        stage.actions(),
        [
            Action::Start(worker),
            Action::Send(worker, tasks[0]),
            Action::Send(worker, tasks[1])
        ]
    );
    assert!(stage.policy.finished(worker, tasks[0], 1, &mut stage.out));
    assert_eq!(stage.actions(), []);
    assert!(stage.policy.finished(worker, tasks[1], 1, &mut stage.out));
    assert_eq!(stage.actions(), [Action::Retire(worker)]);
    stage.policy.died(worker, None, &mut stage.out);
    let other = stage.policy_worker();
    assert_eq!(stage.actions(), [Action::Start(other)]);
}

#[test]
fn a_pool_none_of_whose_workers_comes_up_gives_up() {
    let mut stage = Stage::new(Settings {
        workers: 1,
        ..SETTINGS
    });
    let task = stage.submit(Call::default());
    for _ in 0..SETTINGS.stillborn {
        let worker = stage.policy_worker();
        stage.policy.died(worker, None, &mut stage.out);
    }
    assert_eq!(
        stage.actions().last(),
        Some(&Action::Settle(task, Verdict::Broken))
    );
    assert!(stage.policy.is_over());
    assert_eq!(stage.policy.submit(Call::default(), &mut stage.out), None);
}

#[test]
fn a_pool_whose_workers_have_done_something_is_patient() {
    let (mut stage, task, worker) = Stage::with_worker(Call::default());
    stage.policy.finished(worker, task, 1, &mut stage.out);
    stage.policy.died(worker, None, &mut stage.out);
    stage.actions();
    stage.submit(Call::default());
    for _ in 0..SETTINGS.stillborn * crate::policy::PROVEN {
        assert!(!stage.policy.is_broken());
        let worker = stage.policy_worker();
        stage.policy.died(worker, None, &mut stage.out);
    }
    assert!(stage.policy.is_broken());
}

#[test]
fn closing_lets_the_rest_be_done_or_settles_it() {
    for cancel in [false, true] {
        let (mut stage, running, worker) = Stage::with_worker(Call::default());
        stage
            .policy
            .finished(worker, running, 1_000_000_000, &mut stage.out);
        let tasks = [0; 4].map(|_| stage.submit(Call::default()));
        stage.actions();
        stage.policy.close(cancel, &mut stage.out);
        for task in tasks {
            stage.policy.finished(worker, task, 1_000_000_000, &mut stage.out);
        }
        let actions = stage.actions();
        let count = |wanted: fn(&Action) -> bool| actions.iter().filter(|action| wanted(action)).count();
        assert_eq!(
            count(|action| matches!(action, Action::Settle(..))),
            if cancel { 2 } else { 0 }
        );
        assert_eq!(count(|action| matches!(action, Action::Retire(_))), 1);
        stage.policy.died(worker, None, &mut stage.out);
        assert!(stage.policy.is_over());
    }
}

#[test]
fn what_lies_behind_a_long_task_goes_to_a_worker_that_has_nothing_to_do() {
    let mut stage = Stage::new(SETTINGS);
    let tasks = [0; 4].map(|_| stage.submit(Call::default()));
    let [Action::Start(one), Action::Start(two)] = stage.actions()[..] else {
        panic!("two workers are started")
    };
    stage.policy.up(one, &mut stage.out);
    stage.policy.up(two, &mut stage.out);
    stage.actions();
    assert!(!stage.policy.is_lopsided());
    stage
        .policy
        .finished(two, tasks[2], 1_000_000_000, &mut stage.out);
    stage
        .policy
        .finished(two, tasks[3], 1_000_000_000, &mut stage.out);
    assert!(stage.policy.is_lopsided());
    stage.policy.rebalance(&mut stage.out);
    assert_eq!(stage.actions(), [Action::Reclaim(one, tasks[1])]);
    stage.policy.reclaimed(one, tasks[1], &mut stage.out);
    assert_eq!(stage.actions(), [Action::Send(two, tasks[1])]);
    assert!(!stage.policy.is_lopsided());
}

#[test]
fn what_lies_behind_a_long_task_of_the_only_worker_has_another_started() {
    let mut stage = Stage::new(SETTINGS);
    let quick = stage.submit(Call::default());
    let [Action::Start(one)] = stage.actions()[..] else {
        panic!("one worker is started")
    };
    stage.policy.up(one, &mut stage.out);
    stage.policy.finished(one, quick, 1000, &mut stage.out);
    stage.actions();
    let tasks: Vec<_> = (0..3).map(|_| stage.submit(Call::default())).collect();
    assert_eq!(
        stage.actions(),
        [0, 1, 2].map(|at| Action::Send(one, tasks[at])),
        "quick tasks need no second worker"
    );
    assert!(stage.policy.is_lopsided());
    stage.policy.rebalance(&mut stage.out);
    let [Action::Start(two)] = stage.actions()[..] else {
        panic!("another worker is started")
    };
    assert!(!stage.policy.is_lopsided(), "while it is being started");
    stage.policy.up(two, &mut stage.out);
    assert!(stage.policy.is_lopsided());
    stage.policy.rebalance(&mut stage.out);
    assert_eq!(stage.actions(), [Action::Reclaim(one, tasks[2])]);
    stage.policy.reclaimed(one, tasks[2], &mut stage.out);
    assert_eq!(stage.actions(), [Action::Send(two, tasks[2])]);
}

#[test]
fn closing_takes_back_what_lies_in_rings() {
    let (mut stage, running, worker) = Stage::with_worker(Call::default());
    let leased = stage.submit(Call::default());
    stage.actions();
    stage.policy.close(true, &mut stage.out);
    assert_eq!(
        stage.actions(),
        [
            Action::Reclaim(worker, leased),
            Action::Reclaim(worker, running),
            Action::Retire(worker)
        ]
    );
    stage.policy.reclaimed(worker, leased, &mut stage.out);
    assert_eq!(stage.actions(), [Action::Settle(leased, Verdict::Cancelled)]);
    assert!(stage.policy.finished(worker, running, 1, &mut stage.out));
    stage.policy.died(worker, None, &mut stage.out);
    assert!(stage.policy.is_over());
}

#[test]
fn workers_that_are_called_off_are_no_deaths() {
    let mut stage = Stage::new(Settings {
        workers: 3,
        stillborn: 1,
        deaths: Some(0),
        ..SETTINGS
    });
    stage.policy.fill(&mut stage.out);
    let starts = stage.actions();
    assert_eq!(starts.len(), 3);
    assert!(!stage.policy.needs_no_more());
    stage.policy.close(false, &mut stage.out);
    assert!(stage.policy.needs_no_more());
    for start in starts {
        let Action::Start(worker) = start else {
            panic!("three are started")
        };
        stage.policy.call_off(worker, &mut stage.out);
    }
    assert_eq!(stage.actions(), []);
    assert!(!stage.policy.is_broken() && stage.policy.is_over());
}
