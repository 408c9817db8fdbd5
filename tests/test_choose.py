"""`plait.Pool`: one interface over every kind of worker, and what "auto" chooses by measuring."""

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import CancelledError, wait
from functools import partial
from pathlib import Path

import pytest

import plait
import plait.asyncio
from blocked import PATIENCE, outcome, until

HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
COMPUTING = "process" if HAS_GIL else "thread"
KINDS = ["thread", "process", "auto", *(["interpreter"] if sys.version_info >= (3, 14) else [])]
# Calls after which the pool has chosen, on a machine that is busy with something else too.
MANY = 40
kinds = pytest.mark.parametrize("kind", KINDS)


def burn(seconds: float) -> int:
    """Compute for so much CPU time; returns the process that did."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return os.getpid()


def nap(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


async def anap(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return threading.current_thread().name


def half(number: float) -> float:
    return 1 / number


def note(path: Path, number: int) -> None:
    burn(0.004)
    with path.open("a") as file:
        file.write(f"{number}\n")


def burn_with(_: object) -> int:
    return burn(0.01)


def burn_to_lock() -> object:
    burn(0.01)
    return threading.Lock()


def stats_of(pool: plait.Pool, fn: object) -> dict:
    return next(stats for name, stats in pool.stats()["functions"].items() if name.endswith(fn.__qualname__))


# ---------------------------------------------------------------- every kind


@kinds
def test_every_kind_has_the_same_interface(kind: str) -> None:
    with plait.Pool(2, kind) as pool:
        assert pool.submit(pow, 2, 5).result(PATIENCE) == 32
        assert pool.submit(int, "11", base=2).result(PATIENCE) == 3
        assert list(pool.map(abs, range(-5, 5))) == [5, 4, 3, 2, 1, 0, 1, 2, 3, 4]
        assert list(pool.map(pow, [1, 2, 3], [2, 2], timeout=PATIENCE)) == [1, 4]
        assert list(pool.map(abs, [-1, -2], chunksize=2)) == [1, 2]
        assert pool.map(abs, []).__next__ is not None
        assert outcome(pool.submit(half, 0).result)[0] == "ZeroDivisionError"
        stats = pool.stats()
        assert (stats["kind"], stats["workers"]) == (kind, 2)
    assert outcome(lambda: pool.submit(abs, 1))[0] == "RuntimeError"


@kinds
def test_futures_of_every_kind_can_be_awaited(kind: str) -> None:
    async def main() -> list[int]:
        return [await pool.submit(abs, -3), *await asyncio.gather(*(pool.submit(abs, -n) for n in range(3)))]

    with plait.Pool(2, kind) as pool:
        assert asyncio.run(main()) == [3, 0, 1, 2]
        assert plait.asyncio.run(main()) == [3, 0, 1, 2]


@pytest.mark.skipif("interpreter" in KINDS, reason="this version has InterpreterPoolExecutor")
def test_interpreters_that_do_not_exist_are_said_to_be_missing() -> None:
    with pytest.raises(RuntimeError, match=r"needs concurrent\.futures\.InterpreterPoolExecutor.*3\.14"):
        plait.Pool(kind="interpreter")


def test_wrong_arguments_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="kind must be one of 'thread', 'process', 'interpreter', 'auto', not 'gpu'"):
        plait.Pool(kind="gpu")
    for kind in KINDS:
        with pytest.raises(ValueError, match="max_workers must be greater than 0"):
            plait.Pool(0, kind)
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            plait.Pool(1, kind, no_such_option=1)


@kinds
def test_map_can_be_lazy(kind: str) -> None:
    def numbers():
        for number in range(100):
            read.append(number)
            yield number

    read: list[int] = []
    with plait.Pool(2, kind) as pool:
        results = pool.map(abs, numbers(), buffersize=3)
        assert [next(results), next(results)] == [0, 1]
        assert len(read) <= 6
        del results


# ---------------------------------------------------------------- what "auto" chooses


def test_what_computes_goes_to_processes() -> None:
    with plait.Pool(2) as pool:
        pids = list(pool.map(burn, [0.01] * MANY))
        stats = stats_of(pool, burn)
        assert stats["runs_on"] == COMPUTING, stats
        assert "it computes: " in stats["why"]
        assert stats["cpu"] > 0.005
        assert sum(stats["calls"].values()) == MANY
        if HAS_GIL:
            assert 2 <= len(set(pids)) <= 3, stats
            assert pids.count(os.getpid()) == stats["calls"]["trial"] < MANY - 2
        else:
            assert set(pids) == {os.getpid()}
            assert "no GIL" in stats["why"]


def test_what_waits_stays_on_threads_and_waits_together() -> None:
    with plait.Pool(20) as pool:
        begin = time.monotonic()
        assert set(pool.map(nap, [0.3] * 20)) == {os.getpid()}
        assert time.monotonic() - begin < 20 * 0.3 / 2
        stats = stats_of(pool, nap)
        assert stats["runs_on"] == "thread"
        assert "it waits: " in stats["why"]


def test_coroutine_functions_run_on_one_loop() -> None:
    with plait.Pool(2) as pool:
        begin = time.monotonic()
        names = list(pool.map(anap, [0.2] * 50))
        assert set(names) == {"plait-pool-loop"}
        assert time.monotonic() - begin < 50 * 0.2 / 2
        assert pool.submit(partial(anap, 0.01)).result(PATIENCE) == "plait-pool-loop"
        stats = stats_of(pool, anap)
        assert (stats["runs_on"], stats["why"]) == ("loop", "it is a coroutine function")
        assert stats["calls"] == {"loop": 51}
        slow = pool.submit(anap, 60)
        assert slow.cancel()
        assert outcome(slow.result)[0] == "CancelledError"


def test_no_call_is_made_twice(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with plait.Pool(2) as pool:
        list(pool.map(note, [seen] * 60, range(60)))
    assert sorted(map(int, seen.read_text().split())) == list(range(60))


def test_a_short_function_stays_on_threads() -> None:
    with plait.Pool(2) as pool:
        assert list(pool.map(half, [2.0] * 50)) == [0.5] * 50
        stats = stats_of(pool, half)
        assert stats["runs_on"] == "thread"
        if HAS_GIL:
            assert "sending it to a process takes as long" in stats["why"] or "waits" in stats["why"]


@pytest.mark.skipif(not HAS_GIL, reason="without a GIL what computes stays on threads anyway")
@pytest.mark.parametrize(
    ("fn", "args", "why"),
    [
        (burn_with, (threading.Lock(),), "its arguments cannot be pickled"),
        (burn_to_lock, (), "its result cannot be pickled"),
    ],
    ids=["arguments", "result"],
)
def test_what_cannot_be_pickled_stays_on_threads(fn, args, why: str) -> None:
    with plait.Pool(2) as pool:
        futures = [pool.submit(fn, *args) for _ in range(MANY)]
        assert [future.exception(PATIENCE) for future in futures] == [None] * MANY
        stats = stats_of(pool, fn)
        assert stats["runs_on"] == "thread"
        assert why in stats["why"]
        assert "process" not in stats["calls"]


@pytest.mark.skipif(not HAS_GIL, reason="without a GIL what computes stays on threads anyway")
def test_lambdas_and_closures_go_to_processes_too() -> None:
    pytest.importorskip("cloudpickle")
    seconds = 0.01
    with plait.Pool(2) as pool:
        for fn in (lambda: burn(0.01), lambda: burn(seconds)):
            futures = [pool.submit(fn) for _ in range(MANY)]
            assert {future.result(PATIENCE) for future in futures} - {os.getpid()}
            assert stats_of(pool, fn)["runs_on"] == "process"


@pytest.mark.skipif(not HAS_GIL, reason="without a GIL what computes stays on threads anyway")
def test_a_later_call_that_cannot_be_sent_is_made_on_a_thread() -> None:
    with plait.Pool(2) as pool:
        list(pool.map(burn_with, [[1]] * MANY))
        assert stats_of(pool, burn_with)["runs_on"] == "process"
        assert pool.submit(burn_with, threading.Lock()).result(PATIENCE) == os.getpid()
        assert pool.submit(burn_with, [2]).result(PATIENCE) != os.getpid()
        assert "; not where its arguments cannot be pickled" in stats_of(pool, burn_with)["why"]


total = 0


def add_to_total() -> None:
    global total
    burn(0.005)
    total += 1


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self) -> None:
        burn(0.005)
        self.count += 1


def test_what_changes_its_surroundings_stays_on_threads() -> None:
    def count_here() -> None:
        nonlocal here
        burn(0.005)
        here += 1

    def collect() -> None:
        burn(0.005)
        collected.append(1)

    before, here, counter = total, 0, Counter()
    collected: list[int] = []
    with plait.Pool(1) as pool:
        for _ in range(12):
            pool.submit(add_to_total)
            pool.submit(count_here)
            pool.submit(counter.add)
            pool.submit(collect)
    assert (total - before, here, counter.count, len(collected)) == (12, 12, 12, 12)
    if HAS_GIL:
        assert "it assigns to a global name" in stats_of(pool, add_to_total)["why"]
        assert "a variable of the function around it" in stats_of(pool, count_here)["why"]
        assert "an object of the function around it" in stats_of(pool, collect)["why"]
        assert "a method that assigns to attributes" in stats_of(pool, Counter.add)["why"]


# ---------------------------------------------------------------- calls that wait for the choice


def test_a_call_that_waits_for_the_choice_can_be_cancelled() -> None:
    gate = threading.Event()

    def stopped() -> bool:
        return gate.wait(PATIENCE) and burn(0.0) > 0

    with plait.Pool(1) as pool:
        first = pool.submit(stopped)
        until(first.running)
        others = [pool.submit(stopped) for _ in range(5)]
        assert others[2].cancel()
        assert others[2].cancelled()
        gate.set()
        assert [future.result(PATIENCE) for future in (first, *others[:2], *others[3:])] == [True] * 5
        assert wait(others, PATIENCE).not_done == set()


def test_a_trial_that_is_cancelled_keeps_nobody_waiting() -> None:
    gate = threading.Event()
    with plait.Pool(1) as pool:
        pool.submit(gate.wait, PATIENCE)  # has the only thread
        first = pool.submit(half, 1)
        others = [pool.submit(half, 2) for _ in range(5)]
        assert first.cancel()
        gate.set()
        assert [future.result(PATIENCE) for future in others] == [0.5] * 5


def test_shutdown_makes_what_waits() -> None:
    pool = plait.Pool(2)
    futures = [pool.submit(burn, 0.005) for _ in range(10)]
    pool.shutdown(wait=False)
    assert all(isinstance(future.result(PATIENCE), int) for future in futures)
    pool.shutdown()


def test_shutdown_can_cancel_what_waits() -> None:
    gate = threading.Event()
    pool = plait.Pool(1)
    first = pool.submit(gate.wait, PATIENCE)
    others = [pool.submit(gate.wait, PATIENCE) for _ in range(5)]
    until(first.running)
    threading.Timer(0.05, gate.set).start()
    pool.shutdown(cancel_futures=True)
    assert first.result()
    for future in others:
        with pytest.raises(CancelledError):
            future.result(0)


def test_errors_of_calls_are_theirs_wherever_they_were_made() -> None:
    with plait.Pool(2) as pool:
        futures = [pool.submit(half, n % 2) for n in range(20)]
        assert [future.exception(PATIENCE) is None for future in futures] == [False, True] * 10


def test_a_call_may_wait_for_another_of_its_function() -> None:
    def below(depth: int) -> int:
        return pool.submit(below, depth - 1).result(PATIENCE) + 1 if depth else 0

    with plait.Pool(8) as pool:
        assert pool.submit(below, 5).result(PATIENCE) == 5


def test_lambdas_of_one_line_are_one_function() -> None:
    with plait.Pool(2) as pool:
        for number in range(30):
            assert pool.submit(lambda number=number: number).result(PATIENCE) == number
        (stats,) = pool.stats()["functions"].values()
        assert sum(stats["calls"].values()) == 30


def test_what_waits_at_the_interpreters_exit_is_made(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import asyncio, time, plait

            def wait(number):
                time.sleep(0.002)
                print(f"{number}\\n", end="", flush=True)

            async def nap():
                await asyncio.sleep(0.05)
                print("slept\\n", end="", flush=True)

            if __name__ == "__main__":
                pool = plait.Pool(2)
                pool.submit(nap)
                for number in range(20):
                    pool.submit(wait, number)
            """
        )
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.split()) == sorted([*map(str, range(20)), "slept"])
