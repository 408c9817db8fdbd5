"""Pools as the engine has them, and calls for their workers to make: what the tests of the driver share."""

import ctypes
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plait._engine import ProcessPoolCore
from plait._processes.start import zygote_starter

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


def scribble() -> None:
    """Write nonsense where the parent reads."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "plait-ring" in line:
            ctypes.memset(int(line.split("-")[0], 16), 0xFF, 8)
    time.sleep(PATIENCE)


class Odd(Exception):
    pass


def fail(text: str) -> None:
    raise Odd(text)
