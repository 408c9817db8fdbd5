"""Footprints of loops: bytes of an idle task and connection, CPU of 10,000 connections, growth to a million tasks."""

import gc
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import repeat
from typing import Any

from benchmarks import contenders
from benchmarks.footprint import Footprint, resident_bytes

GROUP = "Loop: memory, idle connections, a million tasks"


def _row(name: str, title: str, unit: str, order: dict[str, object], **fields: Any) -> Footprint:
    return Footprint(name, title, GROUP, unit, order, contenders.LOOP_RIVALS, **fields)


FOOTPRINTS = {
    row.name: row
    for row in (
        _row(
            "loop-memory-task",
            "bytes of an idle task",
            "B",
            {"kind": "loop-memory-task", "count": 20_000},
            floor=1,
        ),
        _row(
            "loop-memory-connection",
            "bytes of an idle connection",
            "B",
            {"kind": "loop-memory-connection", "count": 5000},
            floor=1,
        ),
        _row(
            "loop-idle-connections",
            "10,000 idle connections",
            "% CPU",
            {"kind": "loop-idle-connections", "count": 10_000, "seconds": 2.0},
            rounds=1,
            limit=0.5,
        ),
        _row(
            "loop-growth",
            # Against 100,000, as 10,000 of plait's find room in the processor's cache: that step is not one of growth.
            "a task that sleeps: one of 1,000,000 against one of 100,000",
            "times",
            {"kind": "loop-growth", "count": 1_000_000, "few": 100_000},
            quick={"count": 300_000},
            rounds=1,
            limit=2.0,
        ),
    )
}


def measure(order: dict[str, object]) -> float:
    """In the child: the one figure that is asked for."""
    contender = contenders.loops(str(order["contender"]))
    count = int(str(order["count"]))
    loop = contender.new_event_loop()
    try:
        match order["kind"]:
            case "loop-memory-task":
                return loop.run_until_complete(_task_bytes(contender.asyncio, count))
            case "loop-memory-connection":
                return loop.run_until_complete(_with_connections(contender.asyncio, count, None))
            case "loop-idle-connections":
                seconds = float(str(order["seconds"]))
                return loop.run_until_complete(_with_connections(contender.asyncio, count, seconds))
            case "loop-growth":
                few = int(str(order["few"]))
                spent = sorted(_sleepers(contender.asyncio, loop, few) for _ in range(5))
                return _sleepers(contender.asyncio, loop, count) / spent[2]
            case kind:
                raise AssertionError(kind)
    finally:
        loop.close()


async def _task_bytes(asyncio: Any, count: int) -> float:
    """Growth of the resident set by tasks that wait for an event, each in a coroutine of its own."""
    event = asyncio.Event()

    async def wait() -> None:
        await event.wait()

    tasks: list[Any] = [asyncio.create_task(wait()) for _ in range(100)]
    tasks.extend(repeat(None, count))
    await asyncio.sleep(0)
    gc.collect()
    gc.disable()
    before = resident_bytes()
    for place in range(100, count + 100):
        tasks[place] = asyncio.create_task(wait())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    grown = resident_bytes() - before
    event.set()
    await asyncio.gather(*tasks)
    return grown / count


# Opens connections and holds them; says when all are there, ends with its standard input.
_CLIENT = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
kept = []
for line in sys.stdin:
    kept += [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(int(line))]
    print("ready", flush=True)
"""
_WARM_UP = 100


async def _with_connections(asyncio: Any, count: int, seconds: float | None) -> float:
    """Bytes of a connection that says nothing, or, where `seconds` are given, the CPU of `count` of them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < count + 200:
        raise contenders.LeftOut(f"{count + 200} descriptors are not allowed here, but {most}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    made = lost = 0

    class Idle(asyncio.Protocol):  # type: ignore[misc, name-defined]
        def connection_made(self, transport: Any) -> None:
            nonlocal made
            self.transport = transport
            made += 1

        def connection_lost(self, _error: Exception | None) -> None:
            nonlocal lost
            lost += 1

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Idle, "127.0.0.1", 0, backlog=1000)
    command = [sys.executable, "-c", _CLIENT, str(server.sockets[0].getsockname()[1])]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as client:
        try:
            await _connections(asyncio, client, _WARM_UP, lambda: made == _WARM_UP)
            gc.collect()
            gc.disable()
            before = resident_bytes()
            await _connections(asyncio, client, count, lambda: made == _WARM_UP + count)
            if seconds is None:
                return (resident_bytes() - before) / count
            # The loop itself measures: it has nothing else to do, and wakes up once, at the end.
            await asyncio.sleep(0.3)
            start, cpu = time.perf_counter(), time.process_time()
            await asyncio.sleep(seconds)
            return 100 * (time.process_time() - cpu) / (time.perf_counter() - start)
        finally:
            gc.enable()
            server.close()
            client.kill()
            client.wait()
            await _until(asyncio, lambda: lost == made)


async def _connections(asyncio: Any, client: "subprocess.Popen[bytes]", count: int, done: Callable[[], bool]) -> None:
    assert client.stdin
    client.stdin.write(b"%d\n" % count)
    client.stdin.flush()
    await _until(asyncio, lambda: done() or client.poll() is not None)
    if not done():
        raise AssertionError(f"{count} connections did not come about")


async def _until(asyncio: Any, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done() and time.monotonic() < deadline:
        await asyncio.sleep(0.01)


def _sleepers(asyncio: Any, loop: Any, count: int) -> float:
    """CPU seconds a task: made, asleep with all the others, woken, gathered."""

    async def main() -> None:
        # None is due before the last one was made, unless making one takes longer than this.
        due = loop.time() + max(0.05, 7e-6 * count)
        await asyncio.gather(*[asyncio.sleep(due - loop.time()) for _ in repeat(None, count)])

    gc.collect()
    start = time.process_time()
    loop.run_until_complete(main())
    return (time.process_time() - start) / count
