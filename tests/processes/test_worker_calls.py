"""What calls do in workers, and what comes of it in the parent: errors, prints, log records, children, large things."""

import concurrent.futures
import ctypes
import logging
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

import plait.concurrent.futures  # noqa: F401  # the engine's futures are of its class
from plait._engine import ProcessPoolCore
from plait._processes.start import context_starter
from tests.processes.driver_pools import PATIENCE, Open, opened

__all__ = ["opened"]


class TwoArguments(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")
        self.both = a, b


class Unsendable(Exception):
    def __reduce__(self):
        raise TypeError("not me")


class Trap:
    """Goes wrong where it is unpickled."""

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        return throw, (self.error,)


def throw(error):
    raise error


def test_exceptions_of_every_kind(opened: Open) -> None:
    pool = opened(1)
    with pytest.raises(TwoArguments) as caught:
        pool.submit(two).result(PATIENCE)
    assert caught.value.both == (1, 2)
    with pytest.raises(TypeError, match="not me"):
        pool.submit(unsendable).result(PATIENCE)
    with pytest.raises(ValueError, match=f"^{'x' * 1000000}$"):
        pool.submit(long_error).result(PATIENCE)
    for kind in (SystemExit, KeyboardInterrupt, GeneratorExit):
        with pytest.raises(kind):
            pool.submit(throw, kind("stop")).result(PATIENCE)
    with pytest.raises(concurrent.futures.process.BrokenProcessPool, match="ValueError: here"):
        pool.submit(id, Trap(ValueError("here"))).result(PATIENCE)
    with pytest.raises(TypeError, match="cannot pickle"):
        pool.submit(threading.Lock).result(PATIENCE)
    assert pool.submit(os.getpid).result(PATIENCE) == pool._workers()[0].pid, "one worker did all that"


def two():
    raise TwoArguments(1, 2)


def unsendable():
    raise Unsendable


def long_error():
    raise ValueError("x" * 1_000_000)


def talk(n):
    logger = logging.getLogger("tests.talk")
    for i in range(n):
        print(f"out {i}")
        logger.info("log %d", i)
    return n


def test_prints_and_log_records_reach_the_parent_in_order(
    opened: Open, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    # The level counts when the worker is started.
    with caplog.at_level(logging.INFO, "tests.talk"):
        pool = opened(1)
        assert pool.submit(talk, 50).result(PATIENCE) == 50
        pool.submit(int).result(PATIENCE)
        pool._close(False)
        assert pool._wait(PATIENCE)
    assert capsys.readouterr().out.splitlines() == [f"out {i}" for i in range(50)]
    assert [record.getMessage() for record in caplog.records] == [f"log {i}" for i in range(50)]
    assert {record.process for record in caplog.records} != {os.getpid()}


def flood():
    for _ in range(2000):
        print("y" * 9999)


def test_a_flood_of_prints_is_waited_for(opened: Open, capfd: pytest.CaptureFixture[str]) -> None:
    pool = opened(1)
    assert pool.submit(flood).result(60) is None
    pool._close(False)
    assert pool._wait(PATIENCE)
    assert len(capfd.readouterr().out) == 20_000_000


def fork_and_return():
    pid = os.fork()
    if pid == 0:
        return "from the child"
    return os.waitpid(pid, 0)[1]


def fork_and_leave():
    """A child that outlives the call, and works on."""
    if os.fork() == 0:
        time.sleep(0.2)
        os._exit(0)
    return os.getpid()


def run_a_process():
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    process = fork.Process(target=lambda: sender.send(multiprocessing.parent_process().pid))
    process.start()
    told = receiver.recv()
    process.join()
    return told == os.getpid(), process.exitcode


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_children_that_a_call_forks_do_no_harm(opened: Open) -> None:
    pool = opened(1)
    pid = pool.submit(os.getpid).result(PATIENCE)
    assert pool.submit(fork_and_return).result(PATIENCE) == 0
    assert pool.submit(fork_and_leave).result(PATIENCE) == pid
    assert pool.submit(run_a_process).result(PATIENCE) == (True, 0)
    assert pool.submit(os.getpid).result(PATIENCE) == pid


def nested(depth):
    from plait._processes.start import zygote_starter

    if depth == 0:
        return [os.getpid()]
    pool = ProcessPoolCore()
    pool._open(1, zygote_starter(), pickle.dumps({}))
    try:
        return [os.getpid(), *pool.submit(nested, depth - 1).result(60)]
    finally:
        pool._close(False)
        pool._wait(PATIENCE)


def test_pools_in_workers_of_pools(opened: Open) -> None:
    assert len(set(opened(1).submit(nested, 2).result(60))) == 3


def crash():
    ctypes.string_at(0)


def test_a_crash_tells_where_it_was(opened: Open) -> None:
    pool = opened(1)
    with pytest.raises(concurrent.futures.process.BrokenProcessPool) as caught:
        pool.submit(crash).result(PATIENCE)
    assert caught.value.exitcode == -11
    assert "Segmentation fault" in caught.value.stderr
    assert "in crash" in caught.value.stderr


SEEN = None


def see(value):
    global SEEN
    SEEN = value


def seen():
    return SEEN, multiprocessing.current_process().name != "MainProcess"


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_of_the_contexts_of_multiprocessing(method: str) -> None:
    context = multiprocessing.get_context(method)
    # A lock of multiprocessing goes to its own children only.
    hello = {"initializer": see, "initargs": (context.Lock(),)}
    pool = ProcessPoolCore()
    pool._open(1, context_starter(context, hello), b"")
    try:
        assert pool.submit(acquire).result(60) is True
        assert pool.submit(lambda: seen()[1]).result(PATIENCE) is True
        worker = pool._workers()[0]
    finally:
        pool._close(False)
        assert pool._wait(PATIENCE)
    worker.join(PATIENCE)
    assert worker.exitcode == 0


def acquire():
    return SEEN.acquire(timeout=1)


PROGRAM = """
import atexit, sys, time, weakref
import plait.concurrent.futures
from plait._engine import ProcessPoolCore
from plait._processes.pickling import whole
from plait._processes.start import zygote_starter

STATE = None

class Shape:
    def __init__(self, n):
        self.n = n

def begin(n):
    global STATE
    STATE = n
    atexit.register(print, "worker's exit")

def area(shape):
    return STATE * shape.n, Shape(shape.n), type(shape) is Shape

def main():
    pool = ProcessPoolCore()
    hello = {"initializer": begin, "initargs": (3,), "finalizer": print, "finargs": ("end",)}
    pool._open(2, zygote_starter(), whole(hello))
    value, shape, same = pool.submit(area, Shape(5)).result(30)
    assert (value, shape.n, same, type(shape)) == (15, 5, True, Shape)
    k = 4
    assert pool.submit(lambda x: x * k * STATE, 2).result(30) == 24
    pool._close(False)
    assert pool._wait(30)
    print("done", STATE)

if __name__ == "__main__":
    main()
"""


def test_what_a_program_defines_in_its_main_module(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split("\n")
    assert set(lines) >= {"end", "worker's exit", "done None"}, done.stdout
    assert lines.index("end") < lines.index("worker's exit")
