"""What a pool can do beyond the standard library's: time limits, retries, priorities, memory, hooks, telemetry."""

import contextlib
import os
import time
from concurrent.futures.process import BrokenProcessPool

import pytest

from plait.concurrent.futures import ProcessPoolExecutor
from plait.concurrent.futures._errors import MemoryLimitExceeded, TaskTimeout, WorkerDied


def square(number):
    return number * number


def nap(seconds):
    time.sleep(seconds)
    return seconds


def sleep_through(seconds):
    """Takes no notice of what is raised in it, so that its process has to be killed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(BaseException):
            time.sleep(0.01)


def end_once(path):
    """Ends its process, unless it has done so before."""
    if not os.path.exists(path):
        open(path, "x").close()
        os._exit(3)
    return "done"


def end_always(path):
    with open(path, "a") as file:
        file.write("x")
    os._exit(3)


def note(path, text):
    with open(path, "a") as file:
        file.write(f"{text}\n")


def take(megabytes):
    block = bytearray(megabytes << 20)
    for place in range(0, len(block), 4096):
        block[place] = 1
    time.sleep(20)
    return len(block)


def test_a_call_that_takes_too_long_is_stopped():
    with ProcessPoolExecutor(1) as pool:
        begun = time.monotonic()
        with pytest.raises(TaskTimeout):
            pool.options(timeout=0.2).submit(nap, 60).result(timeout=30)
        assert time.monotonic() - begun < 20
        assert pool.options(timeout=20).submit(square, 3).result() == 9
        assert pool.submit(square, 4).result() == 16


def test_a_pool_has_a_time_limit_for_all_its_calls():
    with ProcessPoolExecutor(1, timeout=0.2) as pool:
        assert isinstance(pool.submit(nap, 60).exception(timeout=30), TaskTimeout)
        assert pool.options(timeout=20).submit(nap, 0.4).result() == 0.4
        assert list(pool.map(square, range(5))) == [0, 1, 4, 9, 16]


def test_a_call_whose_process_died_is_made_again(tmp_path):
    with ProcessPoolExecutor(1) as pool:
        with pytest.raises(WorkerDied):
            pool.submit(end_once, str(tmp_path / "a")).result(timeout=30)
        assert pool.options(retries=1).submit(end_once, str(tmp_path / "b")).result(timeout=30) == "done"
    with ProcessPoolExecutor(1, retries=2) as pool:
        assert pool.submit(end_once, str(tmp_path / "c")).result(timeout=30) == "done"
        with pytest.raises(WorkerDied):
            pool.submit(end_always, str(tmp_path / "d")).result(timeout=30)
    assert (tmp_path / "d").read_text() == "xxx"


def test_more_deaths_than_may_be_break_the_pool():
    with ProcessPoolExecutor(2, max_deaths=1) as pool:
        long = pool.submit(nap, 60)
        while not long.running():
            time.sleep(0.01)
        with pytest.raises(WorkerDied):
            pool.submit(os._exit, 3).result(timeout=30)
        assert pool.submit(square, 3).result(timeout=30) == 9
        assert not long.done()
        with pytest.raises(WorkerDied, match="code 4"):
            pool.submit(os._exit, 4).result(timeout=30)
        assert isinstance(long.exception(timeout=30), BrokenProcessPool)
        with pytest.raises(BrokenProcessPool, match="max_deaths=1 may be: exit code 4"):
            pool.submit(square, 3)


class SlowToLoad:
    """An argument that takes 0.6 s to be unpickled, as one whose module imports much."""

    def __reduce__(self):
        return time.sleep, (0.6,)


def test_what_is_loaded_before_a_call_is_not_counted():
    with ProcessPoolExecutor(1, timeout=0.5) as pool:
        assert pool.submit(repr, [SlowToLoad()] * 100).result(timeout=30) == repr([None] * 100)
        assert pool.submit(nap, 0.01).result(timeout=30) == 0.01
        with pytest.raises(TaskTimeout):
            pool.submit(nap, 60).result(timeout=30)


def test_what_the_pool_itself_ends_is_no_death():
    with ProcessPoolExecutor(1, max_deaths=0, max_tasks_per_child=1, timeout=1) as pool:
        assert [pool.submit(square, number).result(timeout=30) for number in range(3)] == [0, 1, 4]
        assert isinstance(pool.submit(sleep_through, 60).exception(timeout=30), TaskTimeout)
        assert pool.submit(square, 3).result(timeout=30) == 9


def test_a_worker_that_cannot_begin_uses_up_the_deaths():
    with ProcessPoolExecutor(1, max_deaths=0, initializer=os._exit, initargs=(5,)) as pool:
        with pytest.raises(BrokenProcessPool, match="exit code 5"):
            pool.submit(square, 3).result(timeout=30)


@pytest.mark.parametrize("number", [-1, -100])
def test_deaths_cannot_be_fewer_than_none(number):
    with pytest.raises(ValueError, match=f"max_deaths must be None or at least 0, not {number}"):
        ProcessPoolExecutor(1, max_deaths=number)


def test_what_is_urgent_goes_first(tmp_path):
    path = str(tmp_path / "order")
    with ProcessPoolExecutor(1) as pool:
        pool.submit(nap, 0.3)
        pool.submit(note, path, "usual")
        pool.options(priority=-1).submit(note, path, "late")
        pool.options(priority=5).submit(note, path, "urgent")
    order = (tmp_path / "order").read_text().split()
    assert order.index("late") == 2


def test_memory_has_a_limit():
    with ProcessPoolExecutor(1, memory_limit=200 << 20) as pool:
        with pytest.raises(MemoryLimitExceeded) as caught:
            pool.submit(take, 400).result(timeout=60)
        assert caught.value.limit == 200 << 20
        assert pool.submit(square, 3).result() == 9


def test_a_running_call_can_be_cancelled():
    with ProcessPoolExecutor(1) as pool:
        future = pool.submit(nap, 60)
        while not future.running():
            time.sleep(0.01)
        assert future.cancel()
        assert future.cancelled()
        assert pool.submit(square, 3).result(timeout=30) == 9


def test_hooks_are_called_first_and_last(tmp_path):
    path = tmp_path / "hooks"
    hooks = {"initargs": (str(path), "first"), "finargs": (str(path), "last")}
    with ProcessPoolExecutor(1, initializer=note, finalizer=note, **hooks) as pool:
        pool.submit(note, str(path), "call").result()
    assert path.read_text().split() == ["first", "call", "last"]


def test_a_future_tells_what_it_cost():
    with ProcessPoolExecutor(1) as pool:
        future = pool.submit(nap, 0.05)
        future.result()
        telemetry = future.telemetry
        assert 0.04 < telemetry["ran"] < 5
        assert telemetry["submitted"] <= telemetry["started"] <= telemetry["ended"]
        assert telemetry["worker"] in pool._processes
        assert telemetry["attempts"] == 1


def test_a_pool_sums_up():
    with ProcessPoolExecutor(1) as pool:
        list(pool.map(square, range(10)))
        pool.submit(os._exit, 1).exception()
        stats = pool.stats()
        assert stats["submitted"] == 11
        assert stats["finished"] == 10
        assert stats["workers_died"] == 1
