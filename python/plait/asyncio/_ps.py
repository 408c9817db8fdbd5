"""What `plait ps` shows, from within the process: every loop's tasks, where each stands and what it waits for.

Two ways lead here. From 3.14 on `plait ps` has this process run a line of Python (PEP 768, `sys.remote_exec`), which
calls `write`. On every version a process started with PLAIT_PS=1 answers on a socket: the loop itself does, when it
comes to it, so there is no thread for it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import struct
from reprlib import Repr

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of this
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["address", "listen", "snapshot", "write"]

FRAMES = 50  # of one task's stack; the innermost are shown
_short = Repr()
_short.maxother = 120


def snapshot() -> str:
    """The tasks of all loops of this process, as text."""
    lines: list[str] = []
    loops = [thing for thing in gc.get_objects() if _is_loop(thing)]
    for number, loop in enumerate(loops, 1):
        tasks = sorted(asyncio.all_tasks(loop), key=_order)
        state = "running" if loop.is_running() else "not running"
        lines.append(f"loop {number}: {type(loop).__module__}.{type(loop).__qualname__}, {state}, {_count(tasks)}")
        waiting: dict[int, list[str]] = {}
        for task in tasks:
            waiting.setdefault(id(_waits_for(task)), []).append(_name(task))
        for task in tasks:
            lines += _task(task, waiting.get(id(task), []))
    return "\n".join(lines or ["no event loop"]) + "\n"


def _is_loop(thing: object) -> bool:
    kind = type(thing)  # not isinstance: it would ask a proxy's __class__
    return issubclass(kind, asyncio.AbstractEventLoop) and hasattr(thing, "_closed") and not thing._closed


def _count(tasks: list[Any]) -> str:
    return "1 task" if len(tasks) == 1 else f"{len(tasks)} tasks"


def _name(task: Any) -> str:
    return str(task.get_name()) if hasattr(task, "get_name") else repr(task)


def _order(task: Any) -> tuple[int, str]:
    """Task-2 comes before Task-10."""
    name = _name(task)
    return (int(name[5:]) if name.startswith("Task-") and name[5:].isdecimal() else 0, name)


def _waits_for(task: Any) -> Any:
    return getattr(task, "_fut_waiter", None)


def _task(task: Any, awaited_by: list[str]) -> Iterator[str]:
    waits = _waits_for(task)
    if task.done():
        state = "done"
    elif waits is None:
        state = "running or ready"
    elif isinstance(waits, asyncio.Task) or hasattr(waits, "get_coro"):
        state = f"waits for task {_name(waits)}"
    else:
        state = f"waits for {_short.repr(waits)}"
    cancelling = " (being cancelled)" if getattr(task, "cancelling", int)() else ""
    yield ""
    yield f"  {_name(task)}{cancelling}: {state}"
    if awaited_by:
        yield f"    awaited by {', '.join(awaited_by)}"
    yield from _stack(task.get_coro() if hasattr(task, "get_coro") else None)


def _stack(coroutine: Any) -> Iterator[str]:
    """Where it stands, from the outermost call inwards."""
    frames: list[str] = []
    seen: set[int] = set()
    while coroutine is not None and id(coroutine) not in seen:
        seen.add(id(coroutine))
        frame = _first(coroutine, "cr_frame", "gi_frame", "ag_frame")
        code = _first(coroutine, "cr_code", "gi_code", "ag_code")
        if frame is not None:
            name = getattr(frame.f_code, "co_qualname", frame.f_code.co_name)
            frames.append(f"    {name} ({frame.f_code.co_filename}:{frame.f_lineno})")
        elif code is None and not isinstance(coroutine, asyncio.Future) and not asyncio.isfuture(coroutine):
            frames.append(f"    {_short.repr(coroutine)}")
        coroutine = _first(coroutine, "cr_await", "gi_yieldfrom", "ag_await")
    if len(frames) > FRAMES:
        yield f"    ... {len(frames) - FRAMES} frames more"
    yield from frames[-FRAMES:]


def _first(thing: Any, *names: str) -> Any:
    for name in names:
        value = getattr(thing, name, None)
        if value is not None:
            return value
    return None


def write(path: str) -> None:
    """Write the snapshot to `path`: what `plait ps` has this process do."""
    try:
        text = snapshot()
    except Exception as error:
        text = f"plait ps: {type(error).__name__}: {error}\n"
    with open(path, "r+", encoding="utf-8") as file:
        file.write(text + "\0")


def address(process: int) -> str:
    """Where the process `process` answers: an abstract socket, which leaves nothing behind."""
    return f"\0plait-ps-{process}"


def listen(loop: asyncio.AbstractEventLoop) -> socket.socket | None:
    """Have `loop` answer, unless another loop of this process does. Close the socket at the end."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.setblocking(False)
    try:
        listener.bind(address(os.getpid()))
        listener.listen(4)
    except OSError:
        listener.close()
        return None
    loop.add_reader(listener, _answer, listener)
    return listener


def _answer(listener: socket.socket) -> None:
    try:
        connection, _ = listener.accept()
    except OSError:
        return
    with connection:
        _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if user in (0, os.geteuid()):
            connection.settimeout(5.0)  # the asker reads at once
            try:
                connection.sendall(snapshot().encode(errors="replace"))
            except OSError:
                pass
