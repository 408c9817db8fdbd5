"""What the loop has of its own for sockets and pipes: native transports, under the standard library's private names.

The standard library's `create_connection`, `create_server` and the rest, which the loop inherits, come here for
their transports.
"""

from __future__ import annotations

from asyncio import constants, transports

from plait._engine import asyncio as _engine

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of this
if TYPE_CHECKING:
    from typing import Any


class SocketTransport(transports._FlowControlMixin, transports.Transport):
    """What a native stream transport says that it is."""

    __slots__ = ()


class DatagramTransport(transports._FlowControlMixin, transports.DatagramTransport):
    """What a native datagram transport says that it is."""

    __slots__ = ()


class ReadPipeTransport(transports.ReadTransport):
    """What the native transport of a pipe that is read says that it is."""

    __slots__ = ()


class WritePipeTransport(transports._FlowControlMixin, transports.WriteTransport):
    """What the native transport of a pipe that is written says that it is."""

    __slots__ = ()


_engine._use_transports(SocketTransport, DatagramTransport, ReadPipeTransport, WritePipeTransport)
_engine.StreamTransport._start_tls_compatible = True
_engine.StreamTransport._sendfile_compatible = constants._SendfileMode.TRY_NATIVE


class Net:
    """The part of the loop that is about sockets and pipes."""

    def _make_socket_transport(
        self, sock: Any, protocol: Any, waiter: Any = None, *, extra: Any = None, server: Any = None
    ) -> Any:
        self._ensure_fd_no_transport(sock)
        return _engine._stream_transport(self, sock, protocol, waiter, extra, server)

    def _make_datagram_transport(
        self, sock: Any, protocol: Any, address: Any = None, waiter: Any = None, extra: Any = None
    ) -> Any:
        self._ensure_fd_no_transport(sock)
        return _engine._datagram_transport(self, sock, protocol, address, waiter, extra)

    def _make_read_pipe_transport(
        self, pipe: Any, protocol: Any, waiter: Any = None, extra: Any = None
    ) -> Any:
        return _engine._read_pipe_transport(self, pipe, protocol, waiter, extra)

    def _make_write_pipe_transport(
        self, pipe: Any, protocol: Any, waiter: Any = None, extra: Any = None
    ) -> Any:
        return _engine._write_pipe_transport(self, pipe, protocol, waiter, extra)
