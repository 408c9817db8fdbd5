"""Arrays to a worker, back, and both: through shared memory or through a pipe."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from benchmarks.calls import length, ones, plus_one
from benchmarks.contenders import BASELINE, CANDIDATE
from benchmarks.pools import Processes, needs_numpy, processes
from benchmarks.row import Group, Run

GROUP = Group("Processes: arrays")
LARGE = 100_000_000
NAMES = (BASELINE, CANDIDATE)


@contextmanager
def _set_up(name: str, size: int, body: Callable[[Processes, Any], Run]) -> Iterator[Run]:
    array = needs_numpy().ones(size, dtype="u1")
    with processes(name) as pool:
        yield body(pool, array)


def _there(pool: Processes, array: Any) -> Run:
    def run(n: int) -> object:
        return [pool.call(length, array) for _ in range(n)][-1]

    return run


def _back(pool: Processes, array: Any) -> Run:
    def run(n: int) -> object:
        for _ in range(n):
            # What came before is let go of first, as in a program that works through its results.
            last = None
            last = pool.call(ones, LARGE)
        return length(last)

    return run


def _both(pool: Processes, array: Any) -> Run:
    def run(n: int) -> object:
        for _ in range(n):
            last = pool.call(plus_one, array)
        return length(last)

    return run


def _add(name: str, title: str, size: int, body: Any, rivals: tuple[str, ...] = (), **fields: Any) -> None:
    GROUP.add(name, title, {each: partial(_set_up, each, size, body) for each in (*NAMES, *rivals)}, **fields)


_add("process_array_there", "a 100 MB array to a worker", LARGE, _there, ("loky",), whole=True, floor=15, goal=28)
_add("process_array_back", "a 100 MB array from a worker", 1, _back, whole=True, floor=4, goal=6)
_add("process_array_1k", "a 1 kB array there and back", 1_000, _both, floor=5, goal=11)
_add("process_array_100k", "a 100 kB array there and back", 100_000, _both, floor=5, goal=11)
_add("process_array_1m", "a 1 MB array there and back", 1_000_000, _both, floor=5, goal=11)
