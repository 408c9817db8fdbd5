"""The parent's side of a pool of processes, with real workers: calls, results, their order, cancelling, ends of workers."""

import asyncio
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

import plait.concurrent.futures as futures
from plait._engine import ProcessPoolCore
from plait._processes.start import zygote_starter
from plait.concurrent.futures._errors import MemoryLimitExceeded, TaskTimeout, WorkerDied

pytestmark = pytest.mark.timeout(60)
PATIENCE = 20
Open = Callable[..., ProcessPoolCore]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens pools, and has them end with the test."""
    pools = []

    def opens(workers: int = 2, hello: dict[str, Any] | None = None, **options: Any) -> ProcessPoolCore:
        pool = ProcessPoolCore()
        pools.append(pool)
        pool._open(workers, zygote_starter(), pickle.dumps(hello or {}), **options)
        return pool

    yield opens
    for pool in pools:
        pool._close(True)
    for pool in pools:
        if not pool._wait(PATIENCE):
            pool._kill_workers(signal.SIGKILL)
            assert pool._wait(PATIENCE), pool._stats()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def nap(seconds: float, value: object = None) -> object:
    time.sleep(seconds)
    return value


def touch(path: str, seconds: float = 0) -> None:
    Path(path).touch()
    time.sleep(seconds)


def appears(path: Path) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    return path.exists()


def die(how: int = signal.SIGKILL) -> None:
    print("farewell", file=sys.stderr, flush=True)
    os.kill(os.getpid(), how)
    time.sleep(PATIENCE)


def die_once(path: str) -> str:
    if not Path(path).exists():
        Path(path).touch()
        die()
    return "survived"


class Odd(Exception):
    pass


def fail(text: str) -> None:
    raise Odd(text)


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
    assert isinstance(error, Odd) and error.args == ("so",)
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
    assert told["worker"] == pool._workers()[0].pid and told["attempts"] == 1
    assert 0.04 < told["ran"] < PATIENCE and told["cpu"] < told["ran"] and told["queued"] >= 0
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
    assert heard[0][:2] == (1, 5) and heard[0][2] != threading.current_thread().name
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
    assert first.running() and not second.running()
    assert "state=running" in repr(first) and "state=pending" in repr(second)
    assert second.result(PATIENCE) == 1 and not first.running() and first.done()


def test_cancelling_takes_back_what_waits_and_stops_what_runs(opened: Open, tmp_path: Path) -> None:
    pool = opened(1)
    running = pool.submit(touch, str(tmp_path / "began"), PATIENCE)
    behind = pool.submit(touch, str(tmp_path / "never"))
    after = pool.submit(os.getpid)
    assert appears(tmp_path / "began")
    pid = pool._workers()[0].pid
    assert behind.cancel() and behind.cancelled()
    begin = time.monotonic()
    assert running.cancel() and not running.running()
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
    assert isinstance(error, TaskTimeout) and error.seconds == 0.1 and "nap" in error.call
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


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_death_costs_the_call_that_ran_and_no_other(opened: Open, how: int) -> None:
    pool = opened(2)
    before = [pool.submit(nap, 0.01, i) for i in range(10)]
    dying = pool.submit(die, how)
    after = [pool.submit(nap, 0.01, i) for i in range(10)]
    error = dying.exception(PATIENCE)
    assert isinstance(error, WorkerDied) and isinstance(error, BrokenProcessPool)
    assert error.exitcode == -how and error.call.startswith("test_driver.die(")
    assert "farewell" in error.stderr
    assert [future.result(PATIENCE) for future in before + after] == [*range(10), *range(10)]
    assert pool._stats()["workers_died"] == 1


def test_retries_run_a_call_again(opened: Open, tmp_path: Path) -> None:
    pool = opened(1, retries=1)
    again = pool.submit(die_once, str(tmp_path / "died"))
    assert again.result(PATIENCE) == "survived"
    assert again.telemetry["attempts"] == 2
    assert isinstance(pool.submit(die).exception(PATIENCE), WorkerDied)
    assert pool._stats()["retried"] >= 1


def test_a_worker_is_replaced_after_its_share(opened: Open) -> None:
    pool = opened(1, tasks_per_worker=3)
    pids = [future.result(PATIENCE) for future in [pool.submit(os.getpid) for _ in range(9)]]
    assert len(set(pids)) == 3 and sorted(pids, key=pids.index) == pids


def grow(mebibytes: int) -> int:
    kept = bytearray(mebibytes << 20)
    time.sleep(1)
    return len(kept)


def test_who_takes_too_much_memory_is_stopped(opened: Open) -> None:
    pool = opened(1, memory_limit=200 << 20)
    assert pool.submit(grow, 1).result(PATIENCE) == 1 << 20
    error = pool.submit(grow, 400).exception(PATIENCE)
    assert isinstance(error, MemoryLimitExceeded)
    assert error.limit == 200 << 20 and error.used > error.limit
    assert pool.submit(abs, -1).result(PATIENCE) == 1


def test_long_tasks_do_not_wait_behind_others_while_a_worker_is_free(opened: Open) -> None:
    pool = opened(2)
    futures.wait([pool.submit(abs, i) for i in range(200)], PATIENCE)  # short ones: the rings are filled deep
    begin = time.monotonic()
    calls = [pool.submit(nap, 0.5 if i == 0 else 0.01) for i in range(30)]
    for future in calls[1:]:
        future.result(PATIENCE)
    assert time.monotonic() - begin < 0.5 or not calls[0].done()


def explode() -> None:
    raise Odd("no")


def test_a_failed_initializer_breaks_the_pool(opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    pool = ProcessPoolCore()
    crew = pool._open(2, zygote_starter(), pickle.dumps({"initializer": explode, "initargs": ()}))
    with pytest.raises(BrokenProcessPool, match="initializ"):
        pool.submit(abs, 1).result(PATIENCE)
    assert crew.gate() == "broken" and "Odd" in crew.why()
    assert crew.wait(PATIENCE)


class Starterless:
    def start(self, link: int, stderr: int) -> None:
        raise OSError("no more processes")


def test_workers_that_cannot_be_started_break_the_pool(opened: Open) -> None:
    pool = ProcessPoolCore()
    crew = pool._open(2, Starterless(), b"")
    with pytest.raises(BrokenProcessPool, match="no more processes"):
        pool.submit(abs, 1).result(PATIENCE)
    assert crew.gate() == "broken"
    assert crew.wait(PATIENCE)


def test_closing_lets_calls_be_made_or_cancels_what_has_not_begun(opened: Open, tmp_path: Path) -> None:
    pool = opened(1)
    calls = [pool.submit(nap, 0.01, i) for i in range(20)]
    pool._close(False)
    assert pool._wait(PATIENCE) and [future.result(0) for future in calls] == list(range(20))
    pool = opened(1)
    first = pool.submit(touch, str(tmp_path / "began"), 0.2)
    rest = [pool.submit(nap, 0.01) for _ in range(10)]
    assert appears(tmp_path / "began")
    pool._close(True)
    assert all(future.cancelled() for future in rest)
    assert pool._wait(PATIENCE) and first.result(0) is None


def test_killing_ends_everything_now(opened: Open) -> None:
    pool = opened(2)
    calls = [pool.submit(nap, PATIENCE) for _ in range(6)]
    pool._kill_workers(signal.SIGKILL)
    for future in calls:
        assert isinstance(future.exception(PATIENCE), BrokenProcessPool)
    assert pool._wait(PATIENCE) and pool._workers() == []


def test_a_pool_that_nobody_has_ends_and_leaves_nothing() -> None:
    def use() -> None:
        pool = ProcessPoolCore()
        crew = pool._open(2, zygote_starter(), pickle.dumps({}))
        calls = [pool.submit(nap, 0.01, i) for i in range(5)]
        dying = pool.submit(die)
        gone = weakref.ref(calls[0])
        del pool
        assert [future.result(PATIENCE) for future in calls] == list(range(5))
        assert isinstance(dying.exception(PATIENCE), WorkerDied)
        assert crew.wait(PATIENCE)
        del calls
        gc.collect()
        assert gone() is None

    use()
    before = descriptors()
    for _ in range(5):
        use()
    gc.collect()
    deadline = time.monotonic() + PATIENCE
    while descriptors() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert descriptors() <= before


def test_an_idle_pool_uses_no_processor(opened: Open) -> None:
    pool = opened(2)
    assert pool.submit(abs, -1).result(PATIENCE) == 1
    sleeping = pool.submit(nap, 1)
    time.sleep(0.3)
    begin = time.process_time()
    time.sleep(0.6)
    assert time.process_time() - begin < 0.05
    sleeping.result(PATIENCE)


EXIT = """
import pickle, threading, time
import plait.concurrent.futures
from plait._engine import ProcessPoolCore
from plait._processes.start import zygote_starter

def slow(number):
    time.sleep(0.05)
    return number

if __name__ == "__main__":
    pool = ProcessPoolCore()
    crew = pool._open(2, zygote_starter(), pickle.dumps({}))
    calls = [pool.submit(slow, i) for i in range(10)]
    calls[-1].add_done_callback(lambda future: print("last", future.result(), flush=True))

    def leave():
        crew.close(False, "exit")
        crew.wait()

    threading._register_atexit(leave)
"""


def test_the_exit_of_the_interpreter_waits_for_what_was_submitted(tmp_path: Path) -> None:
    script = tmp_path / "exit.py"
    script.write_text(EXIT, encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "last 9\n", "")


def test_a_fork_of_the_parent_has_no_part_in_the_pool(opened: Open) -> None:
    pool = opened(1)
    assert pool.submit(abs, -1).result(PATIENCE) == 1
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            pool.submit(abs, -1)
        except RuntimeError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    assert b"forked from" in os.read(read, 1000)
    os.close(read)
    os.waitpid(pid, 0)
    assert pool.submit(abs, -2).result(PATIENCE) == 2
