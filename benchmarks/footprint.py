"""What is not a call's time: bytes an object, CPU used while all wait, milliseconds to import.

Each figure comes from a fresh process.
"""

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace

from benchmarks import contenders


@dataclass(frozen=True, slots=True)
class Footprint:
    """One row of this kind; `order` is what the child needs beside the contender's name."""

    name: str
    title: str
    group: str
    unit: str
    order: dict[str, object]
    rivals: tuple[str, ...] = ()
    rounds: int = 3
    floor: float | None = None
    goal: float | None = None
    others: Mapping[str, float] = field(default_factory=dict)  # floors against other contenders
    limit: float | None = None  # in the row's unit, where a ratio means nothing
    quick: Mapping[str, object] = field(default_factory=dict)  # what a quick run orders instead

    @property
    def contenders(self) -> tuple[str, ...]:
        """Who takes part, the baseline first."""
        return (contenders.BASELINE, contenders.CANDIDATE, *self.rivals)


def _memory(type_name: str, *rivals: str, floor: float | None = 1) -> Footprint:
    order = {"kind": "memory", "type": type_name, "count": 20_000}
    name, title = f"memory-{type_name.lower()}", f"bytes of a fresh {type_name}"
    return Footprint(name, title, "Memory", "B", order, rivals, floor=floor)


def _idle(what: str, title: str) -> Footprint:
    order = {"kind": "idle", "what": what, "seconds": 2.0}
    return Footprint(f"idle-{what}", title, "Idle engine", "% CPU", order, rounds=1, limit=0.5)


FOOTPRINTS = {
    row.name: row
    for row in (
        _memory("Queue", "aiologic", "culsans"),
        _memory("Semaphore", "aiologic"),
        _memory("Event", "aiologic"),
        _memory("Future"),
        _memory("Lock", "aiologic", floor=None),
        _idle("queue", "four getters of an empty Queue"),
        _idle("event", "four threads waiting for an Event"),
        _idle("pool", "a ThreadPoolExecutor(4) without work"),
        Footprint(
            "import",
            "import of the three modules, or of plait's",
            "Import",
            "ms",
            {"kind": "import"},
            rounds=9,
        ),
    )
}


def measure(order: dict[str, object]) -> dict[str, object]:
    """In the child: the one figure that is asked for."""
    kind, contender = order["kind"], str(order["contender"])
    if kind == "import":
        return {"value": _import_milliseconds(contender)}
    lib = contenders.load(contender)
    if kind == "memory":
        return {"value": _bytes_each(getattr(lib, str(order["type"])), int(str(order["count"])))}
    return {"value": _idle_percent(lib, str(order["what"]), float(str(order["seconds"])))}


def _bytes_each(make: type, count: int) -> float:
    """Growth of the resident set: it sees what the Rust side allocates too, which tracemalloc does not."""
    kept: list[object] = [make() for _ in range(100)]  # what is made once only is made now
    kept.extend([None] * count)
    gc.collect()
    gc.disable()
    before = resident_bytes()
    for place in range(100, count + 100):
        kept[place] = make()
    return (resident_bytes() - before) / count


def resident_bytes() -> int:
    """What of this process lies in memory."""
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _idle_percent(lib: SimpleNamespace, what: str, seconds: float) -> float:
    """CPU time of the process while all its threads wait, after some traffic, as a share of one core."""
    if what == "pool":
        with lib.ThreadPoolExecutor(4) as pool:
            for _ in range(5):
                list(pool.map(int, range(200)))
            return _cpu_percent_over(seconds)
    if what == "event":
        event = lib.Event()
        waiters = [threading.Thread(target=event.wait) for _ in range(4)]
        release = event.set
    else:
        queue = lib.Queue()

        def get_until_none() -> None:
            while queue.get() is not None:
                pass

        waiters = [threading.Thread(target=get_until_none) for _ in range(4)]

        def release() -> None:
            for _ in waiters:
                queue.put(None)

    for waiter in waiters:
        waiter.start()
    if what == "queue":
        for number in range(1000):
            queue.put(number)
    percent = _cpu_percent_over(seconds)
    release()
    for waiter in waiters:
        waiter.join()
    return percent


def _cpu_percent_over(seconds: float) -> float:
    time.sleep(0.3)  # whatever still runs after the traffic comes to rest
    start, cpu = time.perf_counter(), time.process_time()
    time.sleep(seconds)
    return 100 * (time.process_time() - cpu) / (time.perf_counter() - start)


_IMPORTS = {
    contenders.BASELINE: "import threading, queue, concurrent.futures as futures",
    contenders.CANDIDATE: "import plait, plait.threading, plait.queue, plait.concurrent.futures as futures",
}


def _import_milliseconds(contender: str) -> float:
    """In an interpreter of its own, for this one has loaded most of it; executors are loaded on demand."""
    code = f"""
import time
start = time.perf_counter()
{_IMPORTS[contender]}
futures.ThreadPoolExecutor
print(1000 * (time.perf_counter() - start))"""
    return float(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    )
