"""Streams on plait's engine: as `asyncio.streams`.

Each class derives from its native half, which has what happens for every read and every write, and from the running
version's own class, which has the rest. So subclasses and instances of these are subclasses and instances of those.
"""

from __future__ import annotations

import asyncio as _asyncio
import sys
from abc import ABCMeta
from asyncio import streams as _streams

from plait._engine import asyncio as _engine

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of this
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = [
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "open_connection",
    "open_unix_connection",
    "start_server",
    "start_unix_server",
]

_LIMIT = 2**16  # bytes; a reader keeps up to twice as many before it pauses its transport
_KEEPS_WRITER = sys.version_info < (3, 13)  # since then a writer that its owner forgets is closed, and reported


_StandardReader = _streams.StreamReader


class _OrStandard(ABCMeta):
    """Of a class that takes another's name in a running program: the objects that are there already are its own.

    The standard library's StreamWriter asks whether its reader is a StreamReader, by the name that gave way.
    """

    def __instancecheck__(cls, instance: object) -> bool:
        return super().__instancecheck__(instance) or (cls is StreamReader and isinstance(instance, _StandardReader))


class StreamReader(_engine.StreamReaderCore, _StandardReader, metaclass=_OrStandard):
    """Bytes that came and were not read yet, in order; as `asyncio.StreamReader`.

    limit (bytes) is the longest line; with more than twice as much unread, the transport is paused.
    """


class StreamWriter(_engine.StreamWriterCore, _streams.StreamWriter):
    """The write side of a transport, and `drain` to wait while it is full; as `asyncio.StreamWriter`."""


class StreamReaderProtocol(_engine.StreamReaderProtocolCore, _streams.StreamReaderProtocol):
    """Stands between a transport and a StreamReader; as `asyncio.StreamReaderProtocol`."""

    def connection_made(self, transport: Any) -> None:
        """Give the transport to the reader, and call or start client_connected_cb."""
        callback = self._client_connected_cb
        if callback is None or self._reject_connection:
            super().connection_made(transport)
            return
        self._transport = transport
        reader = self._stream_reader
        if reader is not None:
            reader.set_transport(transport)
        self._over_ssl = transport.get_extra_info("sslcontext") is not None
        writer = StreamWriter(transport, self, reader, self._loop)
        if _KEEPS_WRITER:
            self._stream_writer = writer
        try:
            result = callback(reader, writer)
        except Exception as error:
            self._report(error, transport)
        else:
            if _asyncio.iscoroutine(result):
                self._task = self._loop.create_task(result)
                self._task.add_done_callback(lambda task: self._served(task, transport))
        self._strong_reader = None

    def _served(self, task: Any, transport: Any) -> None:
        """Close a connection whose task was cancelled or has failed."""
        if task.cancelled():
            transport.close()
        elif (error := task.exception()) is not None:
            self._report(error, transport)

    def _report(self, error: BaseException, transport: Any) -> None:
        message = "Unhandled exception in client_connected_cb"
        self._loop.call_exception_handler({"message": message, "exception": error, "transport": transport})
        transport.close()


_engine._use_streams(
    (StreamReader, _StandardReader),
    (StreamWriter, _streams.StreamWriter),
    (StreamReaderProtocol, _streams.StreamReaderProtocol),
)


def __getattr__(name: str) -> Any:
    """What is not here is the standard library's."""
    return getattr(_streams, name)


def _pair(limit: int, loop: Any) -> tuple[StreamReader, StreamReaderProtocol]:
    reader = StreamReader(limit=limit, loop=loop)
    return reader, StreamReaderProtocol(reader, loop=loop)


def _factory(callback: Any, limit: int, loop: Any) -> Callable[[], StreamReaderProtocol]:
    return lambda: StreamReaderProtocol(StreamReader(limit=limit, loop=loop), callback, loop=loop)


async def open_connection(
    host: Any = None, port: Any = None, *, limit: int = _LIMIT, **kwds: Any
) -> tuple[StreamReader, StreamWriter]:
    """Connect to host and port; return a reader and a writer. Keywords are those of `create_connection`.

    limit is the reader's, in bytes. As `asyncio.open_connection`.
    """
    loop = _asyncio.get_running_loop()
    reader, protocol = _pair(limit, loop)
    transport, _ = await loop.create_connection(lambda: protocol, host, port, **kwds)
    return reader, StreamWriter(transport, protocol, reader, loop)


async def start_server(
    client_connected_cb: Any, host: Any = None, port: Any = None, *, limit: int = _LIMIT, **kwds: Any
) -> _asyncio.Server:
    """Serve at host and port: client_connected_cb(reader, writer) for each client, as a task if it is a coroutine.

    limit is the readers', in bytes; keywords are those of `create_server`. As `asyncio.start_server`.
    """
    loop = _asyncio.get_running_loop()
    return await loop.create_server(_factory(client_connected_cb, limit, loop), host, port, **kwds)


async def open_unix_connection(
    path: Any = None, *, limit: int = _LIMIT, **kwds: Any
) -> tuple[StreamReader, StreamWriter]:
    """As `open_connection`, to a UNIX socket."""
    loop = _asyncio.get_running_loop()
    reader, protocol = _pair(limit, loop)
    transport, _ = await loop.create_unix_connection(lambda: protocol, path, **kwds)
    return reader, StreamWriter(transport, protocol, reader, loop)


async def start_unix_server(
    client_connected_cb: Any, path: Any = None, *, limit: int = _LIMIT, **kwds: Any
) -> _asyncio.Server:
    """As `start_server`, at a UNIX socket."""
    loop = _asyncio.get_running_loop()
    return await loop.create_unix_server(_factory(client_connected_cb, limit, loop), path, **kwds)
