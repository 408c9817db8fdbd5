"""TLS on the loop: the native protocol between a transport and the program's protocol, around the program's SSLContext.

What is done once for a connection is here: the arguments, the SSLObject, the upgrade by `start_tls`.
"""

from __future__ import annotations

import ssl
import warnings
from asyncio import constants, protocols, sslproto

from plait._engine import asyncio as _engine

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of this
if TYPE_CHECKING:
    from typing import Any

    _Loop = _engine.LoopCore
else:
    _Loop = object  # the loop's other bases have it

__all__ = ["SSLProtocol", "Tls"]


class _SSLProtocolTransport(_engine.TlsTransport):
    """What the program's protocol writes to; an `asyncio.Transport` to isinstance."""

    _start_tls_compatible = True
    _sendfile_compatible = constants._SendfileMode.FALLBACK

    @property  # type: ignore[misc]  # isinstance asks it
    def __class__(self) -> type:
        return sslproto._SSLProtocolTransport

    def __del__(self, _warnings: Any = warnings) -> None:
        if not self._closed:
            self._closed = True
            _warnings.warn("unclosed transport <asyncio._SSLProtocolTransport object>", ResourceWarning, stacklevel=1)


def _seconds(name: str, value: float | None, default: float) -> float:
    if value is None:
        return default
    if value <= 0:
        raise ValueError(f"{name} should be a positive number, got {value}")
    return value


class SSLProtocol(_engine.TlsProtocol, protocols.BufferedProtocol):
    """TLS over a transport; as `asyncio.sslproto.SSLProtocol`, with the same arguments."""

    max_size = sslproto.SSLProtocol.max_size

    def __init__(
        self,
        loop: Any,
        app_protocol: Any,
        sslcontext: Any,
        waiter: Any,
        server_side: bool = False,
        server_hostname: str | None = None,
        call_connection_made: bool = True,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> None:
        handshake = _seconds("ssl_handshake_timeout", ssl_handshake_timeout, constants.SSL_HANDSHAKE_TIMEOUT)
        shutdown = _seconds("ssl_shutdown_timeout", ssl_shutdown_timeout, constants.SSL_SHUTDOWN_TIMEOUT)
        if not sslcontext:
            sslcontext = sslproto._create_transport_context(server_side, server_hostname)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = None if server_side else server_hostname or None
        sslobj = sslcontext.wrap_bio(incoming, outgoing, server_side=server_side, server_hostname=name)
        self._begin(
            loop,
            app_protocol,
            waiter,
            (sslobj, incoming, outgoing),
            {"sslcontext": sslcontext},
            not call_connection_made,
            (handshake, shutdown),
            _SSLProtocolTransport(loop, self),
        )


class Tls(_Loop):
    """The part of the loop that is about TLS."""

    def _make_ssl_transport(
        self,
        rawsock: Any,
        protocol: Any,
        sslcontext: Any,
        waiter: Any = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: Any = None,
        server: Any = None,
        ssl_handshake_timeout: float | None = constants.SSL_HANDSHAKE_TIMEOUT,
        ssl_shutdown_timeout: float | None = constants.SSL_SHUTDOWN_TIMEOUT,
        context: Any = None,
    ) -> Any:
        self._ensure_fd_no_transport(rawsock)
        tls = SSLProtocol(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        self._make_socket_transport(rawsock, tls, extra=extra, server=server, context=context)
        return tls._app_transport

    async def start_tls(
        self,
        transport: Any,
        protocol: Any,
        sslcontext: Any,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> Any:
        """Put TLS on an open connection; return the transport that protocol has to use from now on."""
        if not isinstance(sslcontext, ssl.SSLContext):
            raise TypeError(f"sslcontext is expected to be an instance of ssl.SSLContext, got {sslcontext!r}")
        if not getattr(transport, "_start_tls_compatible", False):
            raise TypeError(f"transport {transport!r} is not supported by start_tls()")
        waiter = self.create_future()
        tls = SSLProtocol(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
            call_connection_made=False,
        )
        # Nothing may be received before connection_made() was called.
        transport.pause_reading()
        if server_side:
            _feed_what_was_read(protocol, tls)
        transport.set_protocol(tls)
        made = self.call_soon(tls.connection_made, transport)
        resumed = self.call_soon(transport.resume_reading)
        try:
            await waiter
        except BaseException:
            transport.close()
            made.cancel()
            resumed.cancel()
            raise
        return tls._app_transport


def _feed_what_was_read(protocol: Any, tls: SSLProtocol) -> None:
    """The client's first words may have come already: then they are in the stream's buffer."""
    reader = getattr(protocol, "_stream_reader", None)
    buffer = getattr(reader, "_buffer", None)
    if buffer and isinstance(buffer, bytearray):
        tls._feed(buffer)
        buffer.clear()
