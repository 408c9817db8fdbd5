"""The parent's side of a pool of processes, with real workers: calls, results, who hears of them, cancelling."""

import asyncio
import os
import threading
import time
from concurrent.futures import CancelledError, wait
from pathlib import Path
from typing import Any

import pytest

import plait.concurrent.futures as futures
from plait.concurrent.futures._errors import TaskTimeout
from tests.processes.driver_pools import PATIENCE, Odd, Open, appears, fail, nap, opened, touch

__all__ = ["opened"]
pytestmark = pytest.mark.timeout(60)


def test_simple_and_pickled_arguments_and_results(opened: Open) -> None:
    pool = opened()
    assert pool.submit(divmod, 7, 2).result(PATIENCE) == (3, 1)
    assert pool.submit(int, "ff", base=16).result(PATIENCE) == 255
    assert pool.submit("{}-{x}".format, [1], x={2: None}).result(PATIENCE) == "[1]-{2: None}"
    closed_over = [1, 2]
    add = lambda more: closed_over + more  # noqa: E731
    assert pool.submit(add, [3]).result(PATIENCE) == [1, 2, 3]
    closed_over = [9]
    assert pool.submit(add, [3]).result(PATIENCE) == [9, 3]
    error = pool.submit(fail, "so").exception(PATIENCE)
    assert isinstance(error, Odd)
    assert error.args == ("so",)
    assert "in fail" in str(error.__cause__)
    unsendable = pool.submit(id, threading.Lock())
    assert isinstance(unsendable.exception(PATIENCE), TypeError)
    assert isinstance(pool.submit(threading.Lock).exception(PATIENCE), TypeError)
    assert pool._stats()["finished"] == 7


def test_many_calls_from_many_threads_each_get_their_own_result(opened: Open) -> None:
    pool = opened()
    wrong = []

    def submits(base: int) -> None:
        calls = [(i, pool.submit(pow, base, i)) for i in range(300)]
        wrong.extend((base, i) for i, future in calls if future.result(PATIENCE) != base**i)

    threads = [threading.Thread(target=submits, args=(base,)) for base in range(2, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert list(pool._map(abs, (range(-3000, 0),))) == list(range(3000, 0, -1))
    assert list(pool._map(pow, ([2, 3], [4, 5, 6]))) == [16, 243]


def test_a_result_is_unpacked_once_and_knows_how_it_came_about(opened: Open) -> None:
    pool = opened(1)
    future = pool.submit(nap, 0.05, ["value"])
    assert future.telemetry is None
    assert future.result(PATIENCE) is future.result()
    told = future.telemetry
    assert told["worker"] == pool._workers()[0].pid
    assert told["attempts"] == 1
    assert 0.04 < told["ran"] < PATIENCE
    assert told["cpu"] < told["ran"]
    assert told["queued"] >= 0
    assert told["submitted"] <= told["started"] < told["ended"] <= time.monotonic()


def test_callbacks_collectors_and_tasks_hear_of_results(opened: Open) -> None:
    pool = opened()
    heard: list[object] = []
    rung = threading.Event()

    def hear(future: Any) -> None:
        # A callback may wait for another result of the same pool.
        heard.append((future.result(), pool.submit(abs, -5).result(PATIENCE), threading.current_thread().name))
        rung.set()

    future = pool.submit(nap, 0.05, 1)
    future.add_done_callback(hear)
    assert rung.wait(PATIENCE)
    assert heard[0][:2] == (1, 5)
    assert heard[0][2] != threading.current_thread().name
    calls = [pool.submit(nap, 0.01 * (i % 3), i) for i in range(12)]
    assert sorted(future.result() for future in futures.as_completed(calls, timeout=PATIENCE)) == list(range(12))
    done, pending = futures.wait([pool.submit(nap, 0), pool.submit(nap, 3)], PATIENCE, futures.FIRST_COMPLETED)
    assert (len(done), len(pending)) == (1, 1)
    assert wait([pool.submit(nap, 0.01) for _ in range(3)], PATIENCE).not_done == set()  # the standard library's

    async def main() -> list[object]:
        return await asyncio.gather(*[pool.submit(nap, 0.01, i) for i in range(20)])

    assert asyncio.run(main()) == list(range(20))


def test_running_is_what_the_worker_says(opened: Open, tmp_path: Path) -> None:
    pool = opened(1)
    first = pool.submit(touch, str(tmp_path / "began"), 0.3)
    second = pool.submit(abs, 1)
    assert appears(tmp_path / "began")
    assert first.running()
    assert not second.running()
    assert "state=running" in repr(first)
    assert "state=pending" in repr(second)
    assert second.result(PATIENCE) == 1
    assert not first.running()
    assert first.done()


def test_cancelling_takes_back_what_waits_and_stops_what_runs(opened: Open, tmp_path: Path) -> None:
    pool = opened(1)
    running = pool.submit(touch, str(tmp_path / "began"), PATIENCE)
    behind = pool.submit(touch, str(tmp_path / "never"))
    after = pool.submit(os.getpid)
    assert appears(tmp_path / "began")
    pid = pool._workers()[0].pid
    assert behind.cancel()
    assert behind.cancelled()
    begin = time.monotonic()
    assert running.cancel()
    assert not running.running()
    with pytest.raises(CancelledError):
        running.result(PATIENCE)
    assert after.result(PATIENCE) == pid, "an exception was enough: the worker lives"
    assert time.monotonic() - begin < 5
    assert not (tmp_path / "never").exists()
    assert not after.cancel()


def test_who_does_not_heed_an_interruption_is_killed(opened: Open, tmp_path: Path) -> None:
    pool = opened(1, grace=0.1)
    deaf = pool.submit(exec, f"""
import pathlib, time
while True:
    try:
        pathlib.Path({str(tmp_path / "began")!r}).touch()
        time.sleep(60)
    except BaseException:
        pass
""")
    assert appears(tmp_path / "began")
    assert deaf.cancel()
    assert pool.submit(abs, -1).result(PATIENCE) == 1


def test_a_call_that_takes_too_long_is_stopped(opened: Open) -> None:
    pool = opened(1)
    late = pool._submit(nap, (PATIENCE,), timeout=0.1)
    error = late.exception(PATIENCE)
    assert isinstance(error, TaskTimeout)
    assert error.seconds == 0.1
    assert "nap" in error.call
    assert pool._submit(nap, (0.01, 2), timeout=PATIENCE).result(PATIENCE) == 2
    assert pool._stats()["workers_died"] == 0


def test_higher_priorities_go_first(opened: Open, tmp_path: Path) -> None:
    pool = opened(1)
    first = pool.submit(touch, str(tmp_path / "began"), 0.3)
    pool.submit(nap, 0.1)
    assert appears(tmp_path / "began")
    done: list[int] = []
    calls = []
    for rank in (0, 1, 5, 3):
        future = pool._submit(nap, (0.02,), priority=rank)
        future.add_done_callback(lambda _, rank=rank: done.append(rank))
        calls.append(future)
    futures.wait([first, *calls], PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while len(done) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert done == [5, 3, 1, 0]
