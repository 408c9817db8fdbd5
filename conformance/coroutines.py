"""The suites of `test.test_asyncio`, and the seams at which they are put on plait.

After `plait.install()` most tests are on plait by themselves: they say `asyncio.Lock`, `asyncio.new_event_loop()`.
Two seams remain. Tests of "the C implementation" take it by private names, which some modules copy as they are
imported: these names become plait's first. And `create_event_loop` of the loop's tests names a selector: the class
for epoll makes plait's loop.

Left out on both sides is what tests another implementation only: the Windows ones, the loops on `poll` and
`select`, the pure-Python Future and Task where they are not beside plait's, and the pure-Python functions for the
running loop and the running task.
"""

import asyncio
import importlib
import types
import unittest
from pathlib import Path

from conformance.suite import Suite

PACKAGE = "test.test_asyncio"

# Other implementations. The loop's tests are in `test_events`, `test_sendfile` and `test_sock_lowlevel`.
OTHERS = {
    "PollEventLoopTests",
    "SelectEventLoopTests",
    "PyTask_PyFuture_Tests",
    "PyTask_PyFuture_SubclassTests",
    "PyFutureTests",
    "PyFutureDoneCallbackTests",
    "PyFutureInheritanceTests",
    "PyIntrospectionTests",
    # These put the pure-Python functions for the running loop and the running task in place of the C ones.
    # Native code asks the C ones, as `_asyncio` itself does.
    "TestPyGetEventLoop",
    "TestPyFreeThreading",
    "TestEagerPyFreeThreading",
    "TestCallStackPy",
    "PyEagerTaskFactoryLoopTests",
    "EagerPyTaskTests",
    "NonEagerPyTaskTests",
}


def _wanted(case: type[unittest.TestCase]) -> bool:
    return case.__name__ not in OTHERS


def _as_c() -> None:
    """The private names by which tests take the C implementation mean plait's from here on."""
    import plait.asyncio as face

    asyncio.futures._CFuture = face.Future  # type: ignore[attr-defined]
    asyncio.tasks._CTask = face.Task  # type: ignore[attr-defined]


def _own_loop(module: types.ModuleType) -> None:
    """The class that asks for a loop on epoll gets plait's."""
    import plait.asyncio as face

    case = getattr(module, "EPollEventLoopTests", None)
    if case is not None:
        case.create_event_loop = lambda self: face.EventLoop()


def _suite(name: str, *parts: str) -> Suite:
    """A suite of those of the modules `test_<part>` that this version has (all of them where it has none)."""
    folder = Path(next(iter(importlib.import_module("test").__path__))) / "test_asyncio"
    there = [part for part in parts if (folder / f"test_{part}.py").exists()] or parts
    return Suite(
        f"asyncio_{name}",
        tuple(f"{PACKAGE}.test_{part}" for part in there),
        _own_loop,
        _wanted,
        ("threading", "asyncio"),
        _as_c,
    )


COROUTINES = (
    _suite("ssl", "ssl"),
    _suite("events", "events"),
    _suite("free_threading", "free_threading"),
    _suite("tasks", "tasks", "eager_task_factory"),
    _suite("subprocess", "subprocess"),
    _suite("sendfile", "sendfile"),
    _suite("streams", "streams", "buffered_proto", "server", "sslproto", "transports", "protocols"),
    _suite("sockets", "sock_lowlevel", "unix_events", "base_events"),
    _suite("locks", "locks", "queues", "pep492"),
    _suite("groups", "taskgroups", "timeouts", "waitfor", "staggered"),
    _suite("futures", "futures", "futures2", "graph", "context"),
    _suite("runners", "runners", "threads"),
)
