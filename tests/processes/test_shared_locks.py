"""Locks between processes: what a killed holder leaves, who may pass them on, what a signal does to a wait."""

import multiprocessing
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from plait.concurrent.futures import ProcessPoolExecutor
from plait.multiprocessing import _passing, queues, synchronize

METHODS = ("fork", "forkserver", "spawn")
SOON = 20.0


@contextmanager
def child(method: str, target: Callable[..., None], *args: Any) -> Iterator[Any]:
    """A process that is killed at the end."""
    process = multiprocessing.get_context(method).Process(target=target, args=args, daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def kill(process: Any) -> None:
    """Ends it with SIGKILL, and leaves it unreaped: dead to us all the same."""
    os.kill(process.pid, signal.SIGKILL)


def hold(lock: Any, there: Any, times: int = 1) -> None:
    for _ in range(times):
        lock.acquire()
    there.set()
    time.sleep(SOON)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_the_next_one_has_what_a_killed_process_had(method: str, kind: str) -> None:
    lock, there = getattr(synchronize, kind)(), synchronize.Event()
    with child(method, hold, lock, there) as process:
        assert there.wait(SOON)
        assert lock.locked()
        assert not lock.acquire(timeout=0.05)
        kill(process)
        assert lock.acquire(timeout=SOON)
        assert lock.holder_died
        lock.release()
        assert lock.acquire(False)
        assert not lock.holder_died
        lock.release()


def test_a_lock_is_had_without_waiting_once_its_holder_is_dead() -> None:
    lock, there = synchronize.Lock(), synchronize.Event()
    with child("fork", hold, lock, there) as process:
        assert there.wait(SOON)
        assert not lock.acquire(False)
        process.kill()
        process.join()
        assert lock.acquire(False)
        assert lock.holder_died


def test_all_permits_of_a_killed_process_come_back_and_no_more() -> None:
    semaphore, there = synchronize.Semaphore(3), synchronize.Event()
    with child("fork", hold, semaphore, there, 3) as process:
        assert there.wait(SOON)
        kill(process)
        assert semaphore.acquire(timeout=SOON)
        assert semaphore.get_value() == 2


def take_and_end(semaphore: Any) -> None:
    semaphore.acquire()


@pytest.mark.parametrize("method", METHODS)
def test_permits_of_a_process_that_ended_in_order_stay_taken(method: str) -> None:
    semaphore = synchronize.BoundedSemaphore(1)
    with child(method, take_and_end, semaphore) as process:
        process.join(SOON)
        assert process.exitcode == 0
        assert not semaphore.acquire(timeout=0.3)
        semaphore.release()
        with pytest.raises(ValueError, match="released too many times"):
            semaphore.release()


def test_a_signal_is_not_given_back() -> None:
    semaphore, there = synchronize.Semaphore(0), synchronize.Event()
    semaphore.release()
    with child("fork", hold, semaphore, there) as process:
        assert there.wait(SOON)
        kill(process)
        assert not semaphore.acquire(timeout=0.3)


def wait_for(condition: Any, there: Any, out: Any) -> None:
    with condition:
        there.release()
        condition.wait()
    out.release()


def test_a_notification_passes_a_dead_waiter_by() -> None:
    condition, there, out = synchronize.Condition(), synchronize.Semaphore(0), synchronize.Semaphore(0)
    with child("fork", wait_for, condition, there, out) as first:
        assert there.acquire(timeout=SOON)
        with child("fork", wait_for, condition, there, out):
            assert there.acquire(timeout=SOON)
            with condition:
                kill(first)
                time.sleep(0.1)
                assert "2" in repr(condition)
                condition.notify()
            assert out.acquire(timeout=SOON)
            with condition:
                condition.notify_all()
            assert condition._table.waiting() == 0


def act_for_ever() -> None:
    time.sleep(SOON)


def come(barrier: Any, there: Any) -> None:
    there.release()
    barrier.wait()


def test_a_barrier_breaks_when_its_action_dies_and_can_be_reset() -> None:
    barrier, there = synchronize.Barrier(2, act_for_ever), synchronize.Semaphore(0)
    broken = []

    def wait() -> None:
        try:
            barrier.wait()
        except threading.BrokenBarrierError as error:
            broken.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while not barrier.n_waiting:
        time.sleep(0.001)
    with child("fork", come, barrier, there) as process:
        assert there.acquire(timeout=SOON)
        time.sleep(0.2)
        kill(process)
        thread.join(SOON)
    assert broken
    assert barrier.broken
    barrier.reset()
    assert (barrier.broken, barrier.n_waiting, barrier.parties) == (False, 0, 2)


INTERRUPTED = """
import os, signal, threading, time
from plait.multiprocessing import synchronize, queues
lock, event, condition = synchronize.Lock(), synchronize.Event(), synchronize.Condition()
semaphore, barrier, queue = synchronize.Semaphore(0), synchronize.Barrier(2), queues.Queue()
full, tasks = queues.Queue(1), queues.JoinableQueue()
lock.acquire(); condition.acquire(); full.put(1); tasks.put(1)
for wait in (lock.acquire, event.wait, condition.wait, semaphore.acquire, barrier.wait, queue.get,
             lambda: full.put(2), tasks.join, lambda: lock.acquire(timeout=30)):
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    begin = time.monotonic()
    try:
        wait()
    except KeyboardInterrupt:
        print(int(time.monotonic() - begin < 1.5), flush=True)
condition.notify_all()
assert barrier.n_waiting == 0 and not barrier.broken
"""


def test_ctrl_c_ends_every_wait() -> None:
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout.split() == ["1"] * 9, ended.stderr


def test_locks_are_pickled_for_a_process_that_is_being_started_only() -> None:
    made = [getattr(synchronize, name)() for name in ("Lock", "RLock", "Semaphore", "Event", "Condition")]
    for one in [*made, synchronize.Barrier(1)]:
        with pytest.raises(RuntimeError, match="should only be shared between processes through inheritance"):
            pickle.dumps(one)
    with _passing.spawning():
        pickled = pickle.dumps([*made, synchronize.Barrier(2, timeout=3)])
    lock, *_, event, condition, barrier = pickle.loads(pickled)
    made[0].acquire()
    assert lock.locked()
    assert repr(lock) == "<Lock(owner=MainProcess)>" or not lock._is_mine()
    made[3].set()
    assert event.is_set()
    assert barrier.parties == 2
    assert not condition._lock.locked()
    with _passing.spawning(), pytest.raises(RuntimeError):
        raise RuntimeError
    assert multiprocessing.context.get_spawning_popen() is None


def add(lock: Any, value: Any, times: int) -> None:
    for _ in range(times):
        with lock:
            value[0] += 1


@pytest.mark.parametrize("kind", ["Lock", "RLock", "BoundedSemaphore"])
def test_one_at_a_time_between_processes_and_threads(kind: str) -> None:
    context = multiprocessing.get_context("fork")
    lock, value = getattr(synchronize, kind)(), context.RawArray("q", 1)
    processes = [context.Process(target=add, args=(lock, value, 3000)) for _ in range(3)]
    threads = [threading.Thread(target=add, args=(lock, value, 3000)) for _ in range(3)]
    for each in [*processes, *threads]:
        each.start()
    for each in [*processes, *threads]:
        each.join(SOON)
    assert value[0] == 6 * 3000


def test_many_objects_take_few_descriptors_and_leave_none() -> None:
    synchronize.Lock()
    before = len(os.listdir("/proc/self/fd"))
    many = [synchronize.Lock() for _ in range(3000)] + [synchronize.Condition() for _ in range(20)]
    assert len(os.listdir("/proc/self/fd")) - before < 12
    del many
    synchronize.Condition()
    for _ in range(10):
        synchronize.Condition()  # until what is made next lies on another page
    assert len(os.listdir("/proc/self/fd")) - before <= 2
    assert not [name for name in os.listdir("/dev/shm") if "plait" in name]


_given: list[Any] = []


def keep(*given: Any) -> None:
    _given.extend(given)


def use() -> bool:
    lock, items = _given
    with lock:
        items.put(os.getpid())
    return bool(lock.acquire(timeout=0.1))


def test_arguments_of_an_initializer_reach_the_zygotes_workers() -> None:
    lock, items = synchronize.RLock(), queues.Queue()
    with ProcessPoolExecutor(2, initializer=keep, initargs=(lock, items)) as pool:
        assert lock.acquire()
        future = pool.submit(use)
        with pytest.raises(queue.Empty):
            items.get(timeout=0.2)
        lock.release()
        assert items.get(timeout=SOON) in [process.pid for process in pool._processes.values()]
        assert future.result(SOON)
