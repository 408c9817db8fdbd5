"""`asyncio` on plait's engine: the same names, so that changing the import is enough.

Every public name of the running version's `asyncio` is here, its submodules among them. Those named in `OURS` are
plait's; all others are the standard library's own objects, which work with plait's.
"""

from __future__ import annotations

import asyncio as _asyncio
import sys

# The standard library's; what is missing here is found by __getattr__. A name that becomes plait's goes from here to
# OURS and to the imports beneath.
from asyncio import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    AbstractEventLoop,
    AbstractServer,
    BaseEventLoop,
    BaseProtocol,
    BaseTransport,
    BrokenBarrierError,
    BufferedProtocol,
    CancelledError,
    DatagramProtocol,
    DatagramTransport,
    Handle,
    IncompleteReadError,
    InvalidStateError,
    LimitOverrunError,
    Protocol,
    QueueEmpty,
    QueueFull,
    ReadTransport,
    SelectorEventLoop,
    SendfileNotAvailableError,
    Server,
    SubprocessProtocol,
    SubprocessTransport,
    TimeoutError,
    TimerHandle,
    Transport,
    WriteTransport,
    all_tasks,
    create_subprocess_exec,
    create_subprocess_shell,
    current_task,
    get_event_loop,
    get_event_loop_policy,
    get_running_loop,
    iscoroutine,
    iscoroutinefunction,
    isfuture,
    set_event_loop,
    set_event_loop_policy,
)

from plait._engine.asyncio import Future, Task, run_coroutine_threadsafe, wrap_future
from plait.asyncio._groups import TaskGroup, amap, as_completed, ensure_future, gather, shield, wait, wait_for
from plait.asyncio._tasks import create_task  # the module makes asyncio.all_tasks() know our tasks
from plait.asyncio._work import to_thread
from plait.asyncio.loop import EventLoop
from plait.asyncio.policy import new_event_loop
from plait.asyncio.runners import Runner, run
from plait.asyncio.streams import (
    StreamReader,
    StreamReaderProtocol,
    StreamWriter,
    open_connection,
    open_unix_connection,
    start_server,
    start_unix_server,
)
from plait.asyncio.sync import (
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    LifoQueue,
    Lock,
    PriorityQueue,
    Queue,
    QueueShutDown,
    Semaphore,
    Timeout,
    sleep,
    timeout,
    timeout_at,
)

if sys.version_info < (3, 16):
    from plait.asyncio.policy import EventLoopPolicy

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of this
if TYPE_CHECKING:
    from typing import Any

# What is plait's: one line for each module that it comes from.
OURS: dict[str, tuple[str, ...]] = {
    "plait._engine.asyncio": ("Future", "Task", "run_coroutine_threadsafe", "wrap_future"),
    "plait.asyncio._tasks": ("create_task",),
    "plait.asyncio._groups": (
        *("TaskGroup", "amap", "as_completed", "ensure_future", "gather", "shield", "wait", "wait_for"),
    ),
    "plait.asyncio._work": ("to_thread",),
    "plait.asyncio.loop": ("EventLoop",),
    "plait.asyncio.policy": ("new_event_loop",),
    "plait.asyncio.runners": ("Runner", "run"),
    "plait.asyncio.streams": (
        "StreamReader",
        "StreamReaderProtocol",
        "StreamWriter",
        "open_connection",
        "open_unix_connection",
        "start_server",
        "start_unix_server",
    ),
    "plait.asyncio.sync": (
        "Barrier",
        "BoundedSemaphore",
        "Condition",
        "Event",
        "LifoQueue",
        "Lock",
        "PriorityQueue",
        "Queue",
        "Semaphore",
        "Timeout",
        "sleep",
        "timeout",
        "timeout_at",
    ),
}
if sys.version_info < (3, 13):
    OURS["plait.asyncio.sync"] += ("QueueShutDown",)

if sys.version_info >= (3, 12):
    from plait.asyncio._tasks import eager_task_factory as eager_task_factory

    OURS["plait.asyncio._tasks"] += ("eager_task_factory",)

__all__ = [
    "ALL_COMPLETED",
    "AbstractEventLoop",
    "AbstractServer",
    "Barrier",
    "BaseEventLoop",
    "BaseProtocol",
    "BaseTransport",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "BufferedProtocol",
    "CancelledError",
    "Condition",
    "DatagramProtocol",
    "DatagramTransport",
    "Event",
    "EventLoop",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "Future",
    "Handle",
    "IncompleteReadError",
    "InvalidStateError",
    "LifoQueue",
    "LimitOverrunError",
    "Lock",
    "PriorityQueue",
    "Protocol",
    "Queue",
    "QueueEmpty",
    "QueueFull",
    "QueueShutDown",
    "ReadTransport",
    "Runner",
    "SelectorEventLoop",
    "Semaphore",
    "SendfileNotAvailableError",
    "Server",
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "SubprocessProtocol",
    "SubprocessTransport",
    "Task",
    "TaskGroup",
    "Timeout",
    "TimeoutError",
    "TimerHandle",
    "Transport",
    "WriteTransport",
    "all_tasks",
    "amap",
    "as_completed",
    "create_subprocess_exec",
    "create_subprocess_shell",
    "create_task",
    "current_task",
    "ensure_future",
    "gather",
    "get_event_loop",
    "get_event_loop_policy",
    "get_running_loop",
    "iscoroutine",
    "iscoroutinefunction",
    "isfuture",
    "new_event_loop",
    "open_connection",
    "open_unix_connection",
    "run",
    "run_coroutine_threadsafe",
    "set_event_loop",
    "set_event_loop_policy",
    "shield",
    "sleep",
    "start_server",
    "start_unix_server",
    "timeout",
    "timeout_at",
    "to_thread",
    "wait",
    "wait_for",
    "wrap_future",
]
if sys.version_info < (3, 16):
    __all__ += ["EventLoopPolicy"]
__all__ += [name for name in _asyncio.__all__ if name not in __all__]


def __getattr__(name: str) -> Any:
    """Names that are not here are the standard library's, its submodules among them."""
    return getattr(_asyncio, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_asyncio)})
