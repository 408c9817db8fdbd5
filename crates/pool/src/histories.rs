//! Thousands of histories, made up over a world of workers that die at any moment: each task is settled once.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use crate::tests::Stage;
use crate::{Action, Call, Settings, TaskId, Verdict, WorkerId};
use std::collections::{BTreeMap, HashMap, VecDeque};

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
            deaths: None,
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
                    Action::Reclaim(worker, task) => {
                        let process = self.processes.get_mut(&worker).unwrap();
                        if let Some(at) = process.ring.iter().position(|its| *its == task) {
                            process.ring.remove(at);
                            self.stage.policy.reclaimed(worker, task, &mut self.stage.out);
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
        if self.dice.roll(5) == 0 {
            self.stage.policy.rebalance(&mut self.stage.out);
            self.carry_out();
        }
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
            if self.dice.roll(4) == 0 {
                self.stage
                    .policy
                    .loads(worker, task, self.now, &mut self.stage.out);
                self.now += self.dice.roll(5);
            }
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
