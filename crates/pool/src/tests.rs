//! Histories: some written down, and thousands made up by a generator over a world of workers that die at any moment.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use crate::{Action, Call, Cancelling, Policy, Settings, TaskId, Verdict, WorkerId};
use std::collections::{BTreeMap, HashMap, VecDeque};

const SETTINGS: Settings = Settings {
    workers: 2,
    tasks_per_worker: None,
    grace: 100,
    stillborn: 3,
};

/// A policy with workers that are up, and what it wants done since it was last asked.
struct Stage {
    policy: Policy,
    out: Vec<Action>,
}

impl Stage {
    fn new(settings: Settings) -> Self {
        Self {
            policy: Policy::new(settings),
            out: Vec::new(),
        }
    }

    fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.out)
    }

    fn submit(&mut self, call: Call) -> TaskId {
        self.policy.submit(call, &mut self.out).unwrap()
    }

    /// Submits a task, and brings up the worker that is started for it.
    fn with_worker(call: Call) -> (Self, TaskId, WorkerId) {
        let mut stage = Self::new(Settings {
            workers: 1,
            ..SETTINGS
        });
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
    assert_eq!(
        stage.actions(),
        [Action::Send(worker, second), Action::Send(worker, third)]
    );
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
fn a_late_task_is_interrupted_then_its_worker_killed_and_its_death_settles_it() {
    let (mut stage, task, worker) = Stage::with_worker(Call {
        timeout: Some(50),
        retries: 9,
        ..Call::default()
    });
    stage.policy.started(worker, task, 1000, &mut stage.out);
    assert_eq!(stage.policy.next_alarm(), Some(1050));
    stage.policy.tick(1049, &mut stage.out);
    assert_eq!(stage.actions(), []);
    stage.policy.tick(1050, &mut stage.out);
    assert_eq!(stage.actions(), [Action::Interrupt(worker, task)]);
    stage.policy.tick(1150, &mut stage.out);
    assert_eq!(stage.actions(), [Action::Kill(worker)]);
    stage.policy.died(worker, Some(task), &mut stage.out);
    assert_eq!(stage.actions(), [Action::Settle(task, Verdict::TimedOut)]);
}

#[test]
fn a_late_task_that_heeds_the_interruption_costs_no_worker() {
    let (mut stage, task, worker) = Stage::with_worker(Call {
        timeout: Some(50),
        ..Call::default()
    });
    stage.policy.started(worker, task, 0, &mut stage.out);
    stage.policy.tick(50, &mut stage.out);
    stage.actions();
    assert!(!stage.policy.finished(worker, task, 60, &mut stage.out));
    assert_eq!(stage.actions(), [Action::Settle(task, Verdict::TimedOut)]);
    stage.policy.tick(1000, &mut stage.out);
    assert_eq!(stage.actions(), []);
    let next = stage.submit(Call::default());
    assert_eq!(stage.actions(), [Action::Send(worker, next)]);
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

/// Numbers that look random, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// A worker of the made-up world.
#[derive(Default)]
struct Process {
    ring: VecDeque<TaskId>,
    runs: Option<TaskId>,
    up: bool,
    retired: bool,
    killed: bool,
    interrupted: bool,
}

/// The world that carries out what the policy wants, one step of somebody at a time.
struct World {
    stage: Stage,
    dice: Dice,
    now: u64,
    processes: BTreeMap<WorkerId, Process>,
    /// How each task ended, and how often it was begun.
    ends: HashMap<TaskId, &'static str>,
    begun: HashMap<TaskId, u32>,
    calls: HashMap<TaskId, Call>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let settings = Settings {
            workers: 1 + usize::try_from(dice.roll(4)).unwrap(),
            tasks_per_worker: (dice.roll(3) == 0).then(|| 1 + u32::try_from(dice.roll(5)).unwrap()),
            grace: dice.roll(20),
            stillborn: 1000,
        };
        Self {
            stage: Stage::new(settings),
            dice,
            now: 0,
            processes: BTreeMap::new(),
            ends: HashMap::new(),
            begun: HashMap::new(),
            calls: HashMap::new(),
        }
    }

    fn end(&mut self, task: TaskId, how: &'static str) {
        assert_eq!(self.ends.insert(task, how), None, "settled twice");
        let running = self
            .processes
            .values()
            .any(|process| process.runs == Some(task) || process.ring.contains(&task));
        assert!(!running, "{how}, and yet a worker has it");
    }

    fn carry_out(&mut self) {
        while !self.stage.out.is_empty() {
            for action in self.stage.actions() {
                match action {
                    Action::Start(worker) => {
                        assert!(self.processes.insert(worker, Process::default()).is_none())
                    }
                    Action::Send(worker, task) => {
                        let process = self.processes.get_mut(&worker).unwrap();
                        assert!(
                            process.up && !process.retired && !process.killed,
                            "given to one that goes"
                        );
                        process.ring.push_back(task);
                    }
                    Action::Withdraw(worker, task) => {
                        let process = self.processes.get_mut(&worker).unwrap();
                        match process.ring.iter().position(|its| *its == task) {
                            Some(at) => {
                                process.ring.remove(at);
                                self.stage.policy.withdrawn(worker, task, &mut self.stage.out);
                            }
                            None if process.runs == Some(task) => {
                                self.stage
                                    .policy
                                    .started(worker, task, self.now, &mut self.stage.out);
                            }
                            // Done, and the result is under way.
                            None => {}
                        }
                    }
                    Action::Interrupt(worker, task) => {
                        let process = self.processes.get_mut(&worker).unwrap();
                        process.interrupted = process.runs == Some(task);
                    }
                    Action::Kill(worker) => self.processes.get_mut(&worker).unwrap().killed = true,
                    Action::Retire(worker) => self.processes.get_mut(&worker).unwrap().retired = true,
                    Action::Settle(task, verdict) => {
                        let how = match verdict {
                            Verdict::WorkerDied => "died",
                            Verdict::TimedOut => "late",
                            Verdict::OutOfMemory => "big",
                            Verdict::Cancelled => "cancelled",
                            Verdict::Broken => "broken",
                        };
                        if how == "died" {
                            assert_eq!(
                                self.begun[&task],
                                self.calls[&task].retries + 1,
                                "retries were left"
                            );
                        }
                        self.end(task, how);
                    }
                }
            }
        }
    }

    fn submit(&mut self) {
        let call = Call {
            priority: i32::try_from(self.dice.roll(3)).unwrap() - 1,
            retries: u32::try_from(self.dice.roll(3)).unwrap(),
            timeout: (self.dice.roll(4) == 0).then_some(10),
        };
        let task = self.stage.submit(call);
        self.calls.insert(task, call);
        self.carry_out();
    }

    /// Somebody does something.
    fn step(&mut self, calm: bool) {
        self.now += self.dice.roll(4);
        self.stage.policy.tick(self.now, &mut self.stage.out);
        self.carry_out();
        if !calm && self.dice.roll(10) == 0 {
            let some: Vec<_> = self
                .calls
                .keys()
                .filter(|task| !self.ends.contains_key(task))
                .copied()
                .collect();
            if let Some(task) = some.get(usize::try_from(self.dice.roll(1 + some.len() as u64)).unwrap()) {
                self.stage.policy.cancel(*task, self.now, &mut self.stage.out);
                self.carry_out();
            }
        }
        let all: Vec<_> = self.processes.keys().copied().collect();
        if all.is_empty() {
            return;
        }
        let worker = all[usize::try_from(self.dice.roll(all.len() as u64)).unwrap()];
        let dies = !calm && self.dice.roll(12) == 0;
        let process = self.processes.get_mut(&worker).unwrap();
        let idle = process.ring.is_empty() && process.runs.is_none();
        if dies || process.killed || process.retired && idle {
            let gone = self.processes.remove(&worker).unwrap();
            self.stage.policy.died(worker, gone.runs, &mut self.stage.out);
        } else if !process.up {
            process.up = true;
            self.stage.policy.up(worker, &mut self.stage.out);
        } else if let Some(task) = process.runs {
            if !calm && self.dice.roll(20) == 0 {
                self.stage.policy.too_big(worker, task, &mut self.stage.out);
            } else if process.interrupted || self.dice.roll(3) == 0 {
                process.runs = None;
                process.interrupted = false;
                let took = self.dice.roll(2_000_000);
                if self
                    .stage
                    .policy
                    .finished(worker, task, took, &mut self.stage.out)
                {
                    self.end(task, "done");
                }
            }
        } else if let Some(task) = process.ring.pop_front() {
            process.runs = Some(task);
            *self.begun.entry(task).or_default() += 1;
            self.stage
                .policy
                .started(worker, task, self.now, &mut self.stage.out);
        }
        self.carry_out();
    }
}

#[test]
fn whatever_happens_each_task_is_settled_once() {
    let mut how_often: HashMap<&str, usize> = HashMap::new();
    for seed in 0..3000 {
        let mut world = World::new(seed);
        let count = 1 + world.dice.roll(40);
        for _ in 0..count {
            world.submit();
            for _ in 0..world.dice.roll(6) {
                world.step(false);
            }
        }
        let cancel = world.dice.roll(2) == 0;
        world.stage.policy.close(cancel, &mut world.stage.out);
        world.carry_out();
        let mut steps = 0;
        while !world.stage.policy.is_over() {
            world.step(steps > 2000);
            steps += 1;
            assert!(steps < 50_000, "seed {seed} does not come to an end");
        }
        assert_eq!(world.ends.len() as u64, count, "seed {seed}: a task was lost");
        assert!(
            world.processes.is_empty(),
            "seed {seed}: a worker was left behind"
        );
        for how in world.ends.values() {
            *how_often.entry(how).or_default() += 1;
        }
    }
    for how in ["done", "died", "late", "big", "cancelled"] {
        assert!(
            how_often[how] > 100,
            "the histories have too little of {how}: {how_often:?}"
        );
    }
}
