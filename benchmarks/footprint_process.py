"""What of a pool of processes is no sample of many calls: starting, the first of its kind, lying idle.

Each figure comes from a fresh process.
"""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.calls import length, noop
from benchmarks.contenders import CANDIDATE
from benchmarks.footprint import Footprint
from benchmarks.pools import POOL, context, executor, needs_numpy, ours, processes

GROUP = "Processes: start, idleness, memory"
LARGE = 100_000_000


def _row(name: str, title: str, unit: str, *rivals: str, **fields: Any) -> Footprint:
    return Footprint(name, title, GROUP, unit, {"kind": name, **fields.pop("order", {})}, rivals, **fields)


FOOTPRINTS = {
    row.name: row
    for row in (
        _row(
            "process-start",
            "a pool's first result, not the first pool",
            "ms",
            "fork",
            floor=10,
            goal=25,
            others={"fork": 1},
        ),
        _row(
            "process-start-eight",
            "first result of a multiprocessing.Pool of eight, not the first pool",
            "ms",
            floor=10,
            order={"count": 8},
        ),
        _row("process-start-cold", "the first pool's first result", "ms", "fork", floor=2, goal=8, rounds=5),
        _row(
            "process-after-idleness",
            "one call after 5 ms of idleness",
            "µs",
            POOL,
            floor=4,
            goal=15,
            order={"count": 100},
        ),
        _row("process-first-array", "the first 100 MB array to a worker", "ms", floor=3, goal=7),
        _row("process-memory", "memory of an idle worker (PSS)", "MB", floor=1, rounds=2),
        _row(
            "process-idle",
            "a pool of two without work, workers and parent",
            "% CPU",
            rounds=1,
            limit=0.5,
            order={"seconds": 2.0},
        ),
    )
}


def measure(order: dict[str, object]) -> float:
    """In the child: the one figure that is asked for."""
    name = str(order["contender"])
    match order["kind"]:
        case "process-start":
            _start(name)
            return statistics.median(_start(name) for _ in range(5))
        case "process-start-eight":
            count = int(str(order["count"]))
            _start_pool(name, count)
            return statistics.median(_start_pool(name, count) for _ in range(5))
        case "process-start-cold":
            return _start(name)
        case "process-after-idleness":
            return _after_idleness(name, int(str(order["count"])))
        case "process-first-array":
            return _first_array(name)
        case "process-memory":
            return _memory(name)
        case "process-idle":
            return _idle(name, float(str(order["seconds"])))
        case kind:
            raise AssertionError(kind)


def _start(name: str) -> float:
    """Milliseconds from nothing to the first result; the end of the pool is not counted."""
    make = executor(name)
    begin = time.perf_counter()
    with make() as pool:
        pool.submit(noop).result()
        return 1e3 * (time.perf_counter() - begin)


def _start_pool(name: str, count: int) -> float:
    """As `_start`, of a pool that starts all its processes at once."""
    make = ours("Pool") if name == CANDIDATE else context().Pool
    begin = time.perf_counter()
    with make(count) as pool:
        pool.apply(noop)
        return 1e3 * (time.perf_counter() - begin)


def _after_idleness(name: str, count: int) -> float:
    def one() -> float:
        time.sleep(0.005)
        begin = time.perf_counter()
        pool.call(noop, 1)
        return 1e6 * (time.perf_counter() - begin)

    with processes(name) as pool:
        return statistics.median(one() for _ in range(count))


def _first_array(name: str) -> float:
    """Milliseconds of the first large array of a pool that has made small calls."""
    array = needs_numpy().ones(LARGE, dtype="u1")
    with processes(name) as pool:
        pool.call(length, array[:1000])
        begin = time.perf_counter()
        pool.call(length, array)
        return 1e3 * (time.perf_counter() - begin)


def _memory(name: str) -> float:
    """Megabytes of a worker that has made calls: its own, and its share of what it shares with others."""
    with processes(name) as pool:
        sizes = [_pss(pid) for pid in pool.pool._processes]
        return sum(sizes) / len(sizes) / 1e6


def _pss(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    (kilobytes,) = [line.split()[1] for line in text.splitlines() if line.startswith("Pss:")]
    return 1024 * int(kilobytes)


def _idle(name: str, seconds: float) -> float:
    """CPU time of this process and of the workers while there is nothing to do, as a share of one core."""
    with processes(name) as pool:
        pids = [os.getpid(), *pool.pool._processes]
        time.sleep(0.3)  # whatever still runs after the traffic comes to rest
        begin, before = time.perf_counter(), _total(_cpu, pids)
        time.sleep(seconds)
        return 100 * (_total(_cpu, pids) - before) / (time.perf_counter() - begin)


def _total(figure: Callable[[int], float], pids: list[int]) -> float:
    return sum(figure(pid) for pid in pids)


def _cpu(pid: int) -> float:
    """Seconds of CPU time, of all threads of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_bytes().split()[0]) for task in tasks) / 1e9
