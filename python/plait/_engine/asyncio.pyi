"""Types of the native half of `plait.asyncio`. One section a module.

The native classes do not derive from the standard library's, but have all that these have: here they are said to
derive from them, so that a type checker takes the ones where it asks for the others.
"""

import asyncio as _asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Coroutine, Generator, Iterator
from typing import Any, Generic, TypeVar, final

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)

# --- the loop ------------------------------------------------------------------------------------

class LoopCore(_asyncio.BaseEventLoop):
    """What is native of `EventLoop`."""

    _stopping: bool
    _debug: bool
    _default_executor: Any
    _check_callback: Any
    _check_default_executor: Any
    _add_reader: Any
    _remove_reader: Any
    _make_socket_transport: Any
    _make_subprocess_transport: Any
    _check_closed: Any
    _ensure_fd_no_transport: Any
    _transports: Transports
    _thread_id: int | None
    def __new__(cls, *args: Any, **kwargs: Any) -> LoopCore: ...
    def _run(self) -> None: ...
    def _create_task(
        self, coro: Any, name: object = None, context: Any = None, eager_start: bool | None = None
    ) -> Task[Any]: ...
    def _watched(self) -> dict[int, tuple[Any, Any]]: ...
    @staticmethod
    def _pidfd_open(pid: int) -> int: ...
    def _time_callbacks(self, on: bool) -> None: ...
    def _callback_running(self) -> tuple[int, float] | None: ...
    def _ready_count(self) -> int: ...
    def _timer_count(self) -> int: ...
    def _drop_all(self) -> None: ...

class Handle(_asyncio.Handle):
    """A callback that will be called; as `asyncio.Handle`."""

class TimerHandle(Handle, _asyncio.TimerHandle):
    """A callback that will be called at a time; as `asyncio.TimerHandle`."""

# --- sockets and pipes ---------------------------------------------------------------------------

class StreamTransport(_asyncio.Transport):
    """A TCP or UNIX connection."""

    _start_tls_compatible: bool
    _sendfile_compatible: Any

class DatagramTransport(_asyncio.DatagramTransport):
    """An end of UDP or UNIX datagrams."""

class ReadPipeTransport(_asyncio.ReadTransport):
    """The end of a pipe that is read."""

class WritePipeTransport(_asyncio.WriteTransport):
    """The end of a pipe that is written."""

@final
class Transports:
    """The transports of a loop, by descriptor."""

    def get(self, fd: int, default: Any = None) -> Any: ...
    def __getitem__(self, fd: int, /) -> Any: ...
    def __setitem__(self, fd: int, transport: Any, /) -> None: ...
    def __delitem__(self, fd: int, /) -> None: ...
    def __contains__(self, fd: int, /) -> bool: ...
    def __iter__(self) -> Iterator[int]: ...
    def __len__(self) -> int: ...
    def keys(self) -> list[int]: ...
    def values(self) -> list[Any]: ...
    def items(self) -> list[tuple[int, Any]]: ...

@final
class Listener:
    """A listening socket, watched by the loop."""

def _use_transports(stream: type, datagram: type, read_pipe: type, write_pipe: type) -> None: ...
def _stream_transport(
    event_loop: LoopCore,
    sock: Any,
    protocol: Any,
    waiter: Any = None,
    extra: Any = None,
    server: Any = None,
    context: Any = None,
) -> StreamTransport: ...
def _datagram_transport(
    event_loop: LoopCore, sock: Any, protocol: Any, address: Any = None, waiter: Any = None, extra: Any = None
) -> DatagramTransport: ...
def _read_pipe_transport(
    event_loop: LoopCore, pipe: Any, protocol: Any, waiter: Any = None, extra: Any = None
) -> ReadPipeTransport: ...
def _write_pipe_transport(
    event_loop: LoopCore, pipe: Any, protocol: Any, waiter: Any = None, extra: Any = None
) -> WritePipeTransport: ...
def _listen(
    event_loop: LoopCore,
    factory: Any,
    sock: Any,
    sslcontext: Any,
    server: Any,
    backlog: int,
    handshake_timeout: Any,
    shutdown_timeout: Any,
    context: Any,
) -> None: ...
def _sock_recv(event_loop: LoopCore, sock: Any, n: int) -> Coroutine[Any, Any, bytes]: ...
def _sock_recv_into(event_loop: LoopCore, sock: Any, buf: Any) -> Coroutine[Any, Any, int]: ...
def _sock_recvfrom(event_loop: LoopCore, sock: Any, bufsize: int) -> Coroutine[Any, Any, tuple[bytes, Any]]: ...
def _sock_recvfrom_into(
    event_loop: LoopCore, sock: Any, buf: Any, nbytes: int = 0
) -> Coroutine[Any, Any, tuple[int, Any]]: ...
def _sock_sendall(event_loop: LoopCore, sock: Any, data: Any) -> Coroutine[Any, Any, None]: ...
def _sock_sendto(event_loop: LoopCore, sock: Any, data: Any, address: Any) -> Coroutine[Any, Any, int]: ...
def _sock_connect(event_loop: LoopCore, sock: Any, address: Any) -> Coroutine[Any, Any, None]: ...
def _sock_accept(event_loop: LoopCore, sock: Any) -> Coroutine[Any, Any, tuple[Any, Any]]: ...

# --- futures and tasks ---------------------------------------------------------------------------

class Future(_asyncio.Future[_T]):
    """A result that will exist, awaited in an event loop; as `asyncio.Future`."""

class Task(Future[_T], _asyncio.Task[_T]):
    """A coroutine that an event loop steps; as `asyncio.Task`."""

@final
class Line:
    """Objects in order, as `collections.deque`: what a queue shows as `_queue`."""

    def append(self, item: Any) -> None: ...
    def appendleft(self, item: Any) -> None: ...
    def extend(self, objects: Any) -> None: ...
    def pop(self) -> Any: ...
    def popleft(self) -> Any: ...
    def remove(self, item: Any) -> None: ...
    def clear(self) -> None: ...

if sys.version_info >= (3, 14):
    def future_add_to_awaited_by(fut: Any, waiter: Any, /) -> None: ...
    def future_discard_from_awaited_by(fut: Any, waiter: Any, /) -> None: ...

# --- awaiting ------------------------------------------------------------------------------------

@final
class function:
    """A native function with attributes: `sleep`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

@final
class coroutine(Coroutine[Any, Any, Any]):
    """A native coroutine."""

    __name__: str
    __qualname__: str
    cr_running: bool
    cr_suspended: bool
    cr_frame: None
    cr_code: None
    cr_origin: None
    def __await__(self) -> Generator[Any, Any, Any]: ...
    def __iter__(self) -> Generator[Any, Any, Any]: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any) -> Any: ...
    def throw(self, kind: Any, value: Any = None, _traceback: Any = None, /) -> Any: ...
    def close(self) -> None: ...

# --- locks, queues, timeouts, sleep --------------------------------------------------------------

Barrier = _asyncio.Barrier
BoundedSemaphore = _asyncio.BoundedSemaphore
Condition = _asyncio.Condition
Event = _asyncio.Event
LifoQueue = _asyncio.LifoQueue
Lock = _asyncio.Lock
PriorityQueue = _asyncio.PriorityQueue
Queue = _asyncio.Queue
Semaphore = _asyncio.Semaphore
Timeout = _asyncio.Timeout
sleep = _asyncio.sleep
timeout = _asyncio.timeout
timeout_at = _asyncio.timeout_at

# --- streams -------------------------------------------------------------------------------------

class StreamReaderCore(_asyncio.StreamReader):
    """What is native of `StreamReader`."""

class StreamReaderProtocolCore(_asyncio.StreamReaderProtocol):
    """What is native of `StreamReaderProtocol`."""

    _client_connected_cb: Any
    _loop: Any
    _reject_connection: bool
    _stream_reader: Any

class StreamWriterCore(_asyncio.StreamWriter):
    """What is native of `StreamWriter`."""

def _use_streams(
    reader: tuple[type[Any], type[Any]],
    writer: tuple[type[Any], type[Any]],
    protocol: tuple[type[Any], type[Any]],
) -> None: ...

# --- group ---------------------------------------------------------------------------------------

run_coroutine_threadsafe = _asyncio.run_coroutine_threadsafe
to_thread = _asyncio.to_thread
wrap_future = _asyncio.wrap_future
ensure_future = _asyncio.ensure_future
gather = _asyncio.gather
shield = _asyncio.shield
wait = _asyncio.wait

class TaskGroup(_asyncio.TaskGroup):
    """A block that ends when all its tasks have ended. See `asyncio.TaskGroup`."""

    def __init__(self, *, limit: int | None = None) -> None: ...
    def spawn(
        self, coro: Coroutine[Any, Any, _T], **kwargs: Any
    ) -> Coroutine[Any, Any, _asyncio.Task[_T]]: ...
    def cancel(self) -> None: ...
    @property
    def limit(self) -> int | None: ...

@final
class _GatheringFuture(Future[_T]):
    """What `gather` returns."""

@final
class _AsCompletedIterator:
    """Gives futures, or what they end with, as they are done."""

    def __new__(cls, aws: Any, timeout: float | None) -> _AsCompletedIterator: ...
    def __iter__(self) -> Iterator[Coroutine[Any, Any, Any]]: ...
    def __next__(self) -> Coroutine[Any, Any, Any]: ...
    def __aiter__(self) -> AsyncIterator[Any]: ...
    def __anext__(self) -> Awaitable[Any]: ...

@final
class AsyncMap(Generic[_T_co]):
    """The results of `amap`: `async for` them one by one, or `await` them all as a list."""

    def __new__(
        cls,
        function: Any,
        source: Any,
        asynchronous: bool,
        limit: int,
        buffer: int,
        ordered: bool,
        return_exceptions: bool,
        bar: Any,
    ) -> AsyncMap[Any]: ...
    def __aiter__(self) -> AsyncIterator[_T_co]: ...
    def __anext__(self) -> Coroutine[Any, Any, _T_co]: ...
    def __await__(self) -> Generator[Any, None, list[_T_co]]: ...
    async def __aenter__(self) -> AsyncMap[_T_co]: ...
    async def __aexit__(self, *error: object) -> None: ...
    async def aclose(self) -> None: ...

@final
class Work:
    """One `amap`, as its calls see it."""

    def _gate(self) -> Awaitable[None] | None: ...
    def _start(self, item: Any) -> None: ...
    def _end(self) -> None: ...

# --- tasks ---------------------------------------------------------------------------------------

def _create_task_function(original: Any) -> function: ...
def _every_task() -> list[Any]: ...

# --- tls -----------------------------------------------------------------------------------------

class TlsProtocol(_asyncio.BufferedProtocol):
    """What is native of `SSLProtocol`."""

    _app_transport: Any
    def _begin(self, *args: Any) -> None: ...
    def _feed(self, data: Any) -> None: ...

class TlsTransport(_asyncio.Transport):
    """What the program's protocol writes to."""

    _closed: bool
    def __new__(cls, *args: Any) -> TlsTransport: ...
    def __init__(self, *args: Any) -> None: ...
