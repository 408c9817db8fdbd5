"""What the loop has of its own for sockets and pipes: native transports, under the standard library's private names.

The standard library's `create_connection`, `create_server` and the rest, which the loop inherits, come here for
their transports.
"""

from __future__ import annotations

import socket
from asyncio import constants, transports

from plait._engine import asyncio as _engine

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of this
if TYPE_CHECKING:
    from typing import Any

    _Loop = _engine.LoopCore
else:
    _Loop = object  # the loop's other bases have it


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


def _is_address(host: object) -> bool:
    """Whether host is a numeric address, as getaddrinfo() would take it."""
    if not isinstance(host, str):
        return False
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return True
    return False


class Net(_Loop):
    """The part of the loop that is about sockets and pipes."""

    def _make_socket_transport(
        self,
        sock: Any,
        protocol: Any,
        waiter: Any = None,
        *,
        extra: Any = None,
        server: Any = None,
        context: Any = None,  # from 3.15 on
    ) -> Any:
        self._ensure_fd_no_transport(sock)
        return _engine._stream_transport(self, sock, protocol, waiter, extra, server, context)

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

    def _start_serving(
        self,
        protocol_factory: Any,
        sock: Any,
        sslcontext: Any = None,
        server: Any = None,
        backlog: int = 100,
        ssl_handshake_timeout: Any = constants.SSL_HANDSHAKE_TIMEOUT,
        ssl_shutdown_timeout: Any = constants.SSL_SHUTDOWN_TIMEOUT,
        context: Any = None,
    ) -> None:
        self._check_closed()
        _engine._listen(
            self,
            protocol_factory,
            sock,
            sslcontext,
            server,
            backlog,
            ssl_handshake_timeout,
            ssl_shutdown_timeout,
            context,
        )

    # --- sockets of the program's own: coroutines, which begin when they are awaited --------------------------

    def sock_recv(self, sock: Any, n: int) -> Any:
        """Receive up to n bytes from the socket, as bytes."""
        return _engine._sock_recv(self, sock, n)

    def sock_recv_into(self, sock: Any, buf: Any) -> Any:
        """Receive data from the socket into buf. Return how many bytes."""
        return _engine._sock_recv_into(self, sock, buf)

    def sock_recvfrom(self, sock: Any, bufsize: int) -> Any:
        """Receive a datagram of up to bufsize bytes. Return its bytes and the address that it is from."""
        return _engine._sock_recvfrom(self, sock, bufsize)

    def sock_recvfrom_into(self, sock: Any, buf: Any, nbytes: int = 0) -> Any:
        """Receive a datagram into buf. Return how many bytes, and the address that it is from."""
        return _engine._sock_recvfrom_into(self, sock, buf, nbytes)

    def sock_sendall(self, sock: Any, data: Any) -> Any:
        """Send all of data to the connected socket."""
        return _engine._sock_sendall(self, sock, data)

    def sock_sendto(self, sock: Any, data: Any, address: Any) -> Any:
        """Send data as one datagram to address. Return how many bytes."""
        return _engine._sock_sendto(self, sock, data, address)

    def sock_connect(self, sock: Any, address: Any) -> Any:
        """Connect the socket to address."""
        return _engine._sock_connect(self, sock, address)

    def sock_accept(self, sock: Any) -> Any:
        """Accept a connection on the listening socket. Return its socket and the address that it is from."""
        return _engine._sock_accept(self, sock)

    # --- names ------------------------------------------------------------------------------------------------

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        """As socket.getaddrinfo(), without a thread for an address that is no name."""
        if not self._debug and isinstance(port, int) and _is_address(host):
            return socket.getaddrinfo(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)
        return await super().getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)
