//! Between threads and between processes, and what remains when one is killed.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use crate::barrier::{Barrier, Entered};
use crate::lock::Lock;
use crate::owner::Identity;
use crate::queue::{AllDone, Queue};
use crate::semaphore::{Semaphore, TooMany};
use crate::slab::Place;
use crate::{How, Patience, Site, life};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

const SLICE: How = How {
    patience: Patience::Slice,
    thorough: true,
    slept: true,
};

/// Runs `f` in a child that then sleeps until it is killed here.
fn in_a_child_that_dies(f: impl FnOnce()) -> libc::pid_t {
    let mut pipe = [0; 2];
    // SAFETY: the child runs `f`, which allocates nothing that a lock of the parent could guard, and is killed.
    unsafe {
        assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
        let child = libc::fork();
        if child == 0 {
            f();
            libc::write(pipe[1], b"!".as_ptr().cast(), 1);
            loop {
                libc::pause();
            }
        }
        let mut byte = 0_u8;
        assert_eq!(libc::read(pipe[0], (&raw mut byte).cast(), 1), 1);
        libc::kill(child, libc::SIGKILL);
        libc::close(pipe[0]);
        libc::close(pipe[1]);
        child
    }
}

fn reap(child: libc::pid_t) {
    // SAFETY: our own child.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
}

fn until<T>(mut f: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(got) = f() {
            return got;
        }
        assert!(begin.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_forked_child_is_somebody_else_and_a_zombie_is_dead() {
    let me = life::me();
    assert_eq!(me.pid(), std::process::id().cast_signed());
    assert!(life::is_alive(me) && life::seems_alive(me));
    assert!(!life::is_alive(Identity::new(
        std::process::id(),
        me.start().wrapping_add(1)
    )));
    let seen = Place::<Lock>::new().unwrap();
    let child = in_a_child_that_dies(|| assert!(seen.get().try_take()));
    let holder = seen.get().holder().unwrap();
    assert_eq!(holder.pid(), child);
    // Not waited for yet.
    until(|| (!life::is_alive(holder)).then_some(()));
    assert!(!life::seems_alive(holder));
    reap(child);
    assert!(!life::is_alive(holder) && !life::seems_alive(holder));
}

#[test]
fn the_lock_of_a_killed_process_is_taken_over() {
    let lock = Place::<Lock>::new().unwrap();
    let child = in_a_child_that_dies(|| assert!(lock.get().try_take()));
    let died = until(|| lock.get().attempt(SLICE).unwrap());
    assert!(died);
    assert_eq!(lock.get().holder(), Some(life::me()));
    assert!(lock.get().free());
    assert!(!lock.get().free());
    reap(child);
}

#[test]
fn permits_of_a_killed_process_come_back_but_not_those_of_one_that_ended_in_order() {
    let semaphore = Place::<Semaphore>::new().unwrap();
    semaphore.get().init(2, 2);
    assert_eq!(semaphore.get().release(Patience::Slice), Ok(Err(TooMany)));
    let take = || assert_eq!(semaphore.get().attempt(SLICE), Ok(Some(false)));
    let child = in_a_child_that_dies(|| {
        take();
        take();
    });
    assert_eq!(semaphore.get().value(), 0);
    assert!(until(|| semaphore.get().attempt(SLICE).unwrap()));
    assert_eq!(semaphore.get().value(), 1);
    reap(child);
    let child = in_a_child_that_dies(|| {
        take();
        semaphore.get().forget(Patience::Slice).unwrap();
    });
    reap(child);
    assert_eq!(semaphore.get().attempt(SLICE), Ok(None));
    assert_eq!(semaphore.get().release(Patience::Slice), Ok(Ok(())));
    assert_eq!(semaphore.get().value(), 1);
}

#[test]
fn a_barrier_whose_action_dies_is_broken() {
    let barrier = Place::<Barrier>::new().unwrap();
    barrier.get().init(2);
    let here = barrier.get().enter(true, Patience::Slice);
    assert_eq!(here, Ok(Entered::Waits(0, 0)));
    let child = in_a_child_that_dies(|| {
        let last = barrier.get().enter(true, Patience::Slice);
        assert_eq!(last, Ok(Entered::Last(1, 0)));
    });
    reap(child);
    assert!(barrier.get().is_round(0));
    barrier.get().look_after(0, Patience::Slice).unwrap();
    assert!(!barrier.get().is_round(0) && barrier.get().ended_broken(0) && barrier.get().is_broken());
    barrier.get().reset(Patience::Slice).unwrap();
    assert_eq!(
        barrier.get().enter(true, Patience::Slice),
        Ok(Entered::Waits(0, 1))
    );
}

fn put(queue: &Queue, bytes: &[u8]) -> bool {
    queue
        .put(
            1,
            bytes,
            How {
                slept: false,
                ..SLICE
            },
        )
        .unwrap()
}

fn get(queue: &Queue) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let form = queue
        .get(
            &mut bytes,
            How {
                slept: false,
                ..SLICE
            },
        )
        .unwrap();
    form.map(|_| bytes)
}

#[test]
fn records_of_every_length_come_out_in_order_however_far_ahead_the_producer_is() {
    let queue = Queue::new(0).unwrap();
    let record = |n: usize| vec![n as u8; n * 7 % 5003];
    for ahead in [1, 3, 50, 500] {
        for n in 0..3000 {
            assert!(put(&queue, &record(n)));
            if n >= ahead {
                assert_eq!(get(&queue), Some(record(n - ahead)), "{n}, {ahead} ahead");
            }
        }
        for n in 3000 - ahead..3000 {
            assert_eq!(get(&queue), Some(record(n)));
        }
        assert_eq!(get(&queue), None);
        assert_eq!(queue.len(), 0);
    }
    let large = vec![7; 40 << 20];
    assert!(put(&queue, &large));
    assert!(put(&queue, b"small"));
    assert_eq!(get(&queue), Some(large));
    assert_eq!(get(&queue), Some(b"small".to_vec()));
}

#[test]
fn a_bounded_queue_is_full_and_tasks_are_counted() {
    let queue = Queue::new(2).unwrap();
    let twin = Queue::open(queue.as_fd().try_clone_to_owned().unwrap()).unwrap();
    assert!(put(&queue, b"a") && put(&twin, b"b") && !put(&queue, b"c"));
    assert_eq!((twin.len(), twin.has_room()), (2, false));
    assert_eq!(get(&twin), Some(b"a".to_vec()));
    assert!(twin.task_done());
    assert_eq!(AllDone::of(&queue).attempt(SLICE), Ok(None));
    assert!(queue.task_done() && !queue.task_done());
    assert_eq!(AllDone::of(&twin).attempt(SLICE), Ok(Some(())));
}

#[test]
fn producers_and_consumers_that_are_killed_leave_whole_records() {
    let queue = Queue::new(0).unwrap();
    for round in 0..20_u8 {
        let mut children = Vec::new();
        for consumer in [false, true] {
            // SAFETY: the child touches the queue only and is killed; what it allocates is behind locks of its own thread.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let mut bytes = Vec::with_capacity(1 << 16);
                let record = [round; 300];
                loop {
                    if consumer {
                        bytes.clear();
                        let _ = queue.get(&mut bytes, SLICE);
                    } else if queue.len() < 1000 {
                        let _ = queue.put(round, &record, SLICE);
                    }
                }
            }
            children.push(child);
        }
        std::thread::sleep(Duration::from_micros(3000 + 317 * u64::from(round)));
        for child in children {
            // SAFETY: our own child.
            unsafe { libc::kill(child, libc::SIGKILL) };
            reap(child);
        }
        while let Some(bytes) = until(|| {
            let mut bytes = Vec::new();
            match queue.get(&mut bytes, SLICE) {
                Ok(Some(_)) => Some(Some(bytes)),
                Ok(None) => Some(None),
                Err(crate::queue::Trouble::Busy) => None,
                Err(other) => panic!("{other:?}"),
            }
        }) {
            assert_eq!(bytes, [round; 300]);
        }
        assert_eq!(queue.len(), 0);
    }
}
