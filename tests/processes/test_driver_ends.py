"""How workers and pools end: deaths, retries, limits, closing, the interpreter's exit, forks."""

import gc
import os
import pickle
import signal
import subprocess
import sys
import time
import weakref
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

import plait.concurrent.futures as futures
from plait._engine import ProcessPoolCore
from plait._processes.start import zygote_starter
from plait.concurrent.futures._errors import MemoryLimitExceeded, WorkerDied
from tests.processes.driver_pools import (
    PATIENCE,
    Odd,
    Open,
    appears,
    descriptors,
    die,
    die_once,
    nap,
    opened,
    scribble,
    touch,
)

__all__ = ["opened"]
pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_death_costs_the_call_that_ran_and_no_other(opened: Open, how: int) -> None:
    pool = opened(2)
    before = [pool.submit(nap, 0.01, i) for i in range(10)]
    dying = pool.submit(die, how)
    after = [pool.submit(nap, 0.01, i) for i in range(10)]
    error = dying.exception(PATIENCE)
    assert isinstance(error, WorkerDied)
    assert isinstance(error, BrokenProcessPool)
    assert error.exitcode == -how
    assert error.call.startswith("tests.processes.driver_pools.die(")
    assert "farewell" in error.stderr
    assert [future.result(PATIENCE) for future in before + after] == [*range(10), *range(10)]
    assert pool._stats()["workers_died"] == 1


def test_a_worker_that_writes_nonsense_is_ended_alone(opened: Open) -> None:
    pool = opened(2)
    steady = [pool.submit(nap, 0.05, i) for i in range(10)]
    scribbled = pool.submit(scribble)
    deadline = time.monotonic() + PATIENCE
    # It rings no bell for its nonsense: the parent meets it when it reads for another reason.
    while not scribbled.done() and time.monotonic() < deadline:
        time.sleep(0.01)
        steady.append(pool.submit(nap, 0, len(steady)))
    assert isinstance(scribbled.exception(0), WorkerDied)
    assert [future.result(PATIENCE) for future in steady] == list(range(len(steady)))
    assert pool._stats()["workers_died"] == 1


def test_a_future_that_was_asked_is_not_kept(opened: Open) -> None:
    pool = opened(1)
    futures_ = [pool.submit(abs, i) for i in range(10)]
    gone = [weakref.ref(future) for future in futures_]
    assert [future.result(PATIENCE) for future in futures_] == list(range(10))
    del futures_
    deadline = time.monotonic() + PATIENCE
    while any(ref() is not None for ref in gone) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(ref() for ref in gone)


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
    assert len(set(pids)) == 3
    assert sorted(pids, key=pids.index) == pids


def grow(mebibytes: int) -> int:
    kept = bytearray(mebibytes << 20)
    time.sleep(1)
    return len(kept)


def test_who_takes_too_much_memory_is_stopped(opened: Open) -> None:
    pool = opened(1, memory_limit=200 << 20)
    assert pool.submit(grow, 1).result(PATIENCE) == 1 << 20
    error = pool.submit(grow, 400).exception(PATIENCE)
    assert isinstance(error, MemoryLimitExceeded)
    assert error.limit == 200 << 20
    assert error.used > error.limit
    assert pool.submit(abs, -1).result(PATIENCE) == 1


def test_long_tasks_do_not_wait_behind_others_while_a_worker_is_free(opened: Open, tmp_path: Path) -> None:
    pool = opened(2)
    futures.wait([pool.submit(abs, i) for i in range(200)], PATIENCE)  # short ones: the rings are filled deep
    long = pool.submit(appears, tmp_path / "enough")
    for future in [pool.submit(nap, 0.01) for _ in range(29)]:
        future.result(PATIENCE)
    assert not long.done()
    (tmp_path / "enough").touch()
    assert long.result(PATIENCE)


def explode() -> None:
    raise Odd("no")


def test_a_failed_initializer_breaks_the_pool(opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    pool = ProcessPoolCore()
    crew = pool._open(2, zygote_starter(), pickle.dumps({"initializer": explode, "initargs": ()}))
    with pytest.raises(BrokenProcessPool, match="initializ"):
        pool.submit(abs, 1).result(PATIENCE)
    assert crew.gate() == "broken"
    assert "Odd" in crew.why()
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
    assert pool._wait(PATIENCE)
    assert [future.result(0) for future in calls] == list(range(20))
    pool = opened(1)
    first = pool.submit(touch, str(tmp_path / "began"), 0.2)
    rest = [pool.submit(nap, 0.01) for _ in range(10)]
    assert appears(tmp_path / "began")
    pool._close(True)
    assert all(future.cancelled() for future in rest)
    assert pool._wait(PATIENCE)
    assert first.result(0) is None


def test_killing_ends_everything_now(opened: Open) -> None:
    pool = opened(2)
    calls = [pool.submit(nap, PATIENCE) for _ in range(6)]
    pool._kill_workers(signal.SIGKILL)
    for future in calls:
        assert isinstance(future.exception(PATIENCE), BrokenProcessPool)
    assert pool._wait(PATIENCE)
    assert pool._workers() == []


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
