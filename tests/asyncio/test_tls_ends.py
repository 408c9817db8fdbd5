"""How a TLS connection ends: cleanly, by the peer's fault, by the program's; and that nothing is left of it."""

import asyncio
import gc
import logging
import shutil
import socket
import ssl
import threading
import warnings
import weakref
from typing import Any

import pytest
from secured import BIG, Recorder, Run, certificate, echo, reports, run, serving, trusting, until

from plait.asyncio import streams
from plait.asyncio._tls import SSLProtocol

__all__ = ["certificate", "reports", "run", "serving", "trusting"]  # fixtures
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")


def test_garbage_instead_of_a_handshake(run: Run, serving: ssl.SSLContext, reports: list[dict[str, Any]]) -> None:
    async def main() -> None:
        server = await streams.start_server(echo, "127.0.0.1", 0, ssl=serving)
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", bytes(100), b"\x16\x03\x01\xff\xff" + bytes(70_000), b""):
            reader, writer = await streams.open_connection(*server.sockets[0].getsockname())
            writer.write(garbage)
            if not garbage:
                writer.write_eof()
            try:
                await reader.read()
            except ConnectionError:
                pass
            writer.close()
        server.close()
        await server.wait_closed()

    gc.collect()
    before = sum(isinstance(thing, SSLProtocol) for thing in gc.get_objects())
    run(main())
    gc.collect()
    assert sum(isinstance(thing, SSLProtocol) for thing in gc.get_objects()) == before
    assert reports == []


@pytest.mark.parametrize("garbage", [bytes(50), b"\x17\x03\x03\x00\x10" + bytes(16)], ids=["none", "forged"])
def test_garbage_after_the_handshake(
    run: Run, serving: ssl.SSLContext, trusting: ssl.SSLContext, garbage: bytes
) -> None:
    """The protocol is told that it is the peer's fault."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        here, there = socket.socketpair()
        there.settimeout(10)

        def peer() -> None:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = serving.wrap_bio(incoming, outgoing, server_side=True)
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    there.sendall(outgoing.read())
                    incoming.write(there.recv(65536))
            tls.write(b"hello")
            there.sendall(outgoing.read() + garbage)
            while there.recv(65536):
                pass
            there.close()

        thread = threading.Thread(target=peer)
        thread.start()
        _transport, protocol = await loop.create_connection(
            Recorder, sock=here, ssl=trusting, server_hostname="localhost"
        )
        await until(lambda: protocol.lost)
        assert protocol.data == b"hello"
        assert protocol.told[-1][1] in ("SSLError", "SSLEOFError")
        await asyncio.to_thread(thread.join)

    run(main())


def test_the_ends(run: Run, serving: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    """A clean close_notify, an end without one, and a reset; all while data are under way."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        made: list[Recorder] = []
        server = await loop.create_server(lambda: made.append(Recorder()) or made[-1], "127.0.0.1", 0, ssl=serving)
        port = server.sockets[0].getsockname()[1]

        async def connect() -> Recorder:
            return (
                await loop.create_connection(Recorder, "127.0.0.1", port, ssl=trusting, server_hostname="localhost")
            )[1]

        clean = await connect()
        clean.transport.write(bytes(BIG))
        clean.transport.close()
        clean.transport.write(b"too late")
        await until(lambda: made[0].lost and clean.lost)
        assert len(made[0].data) == BIG
        assert made[0].told == ["made", "eof", ("lost", None)]
        assert clean.told[0] == "made"
        assert clean.told[-1] == ("lost", None)

        ragged = await connect()
        ragged.transport.write(b"data")
        ragged.transport.get_extra_info("socket").shutdown(socket.SHUT_WR)
        await until(lambda: made[1].lost)
        assert made[1].told == ["made", "eof", ("lost", None)]
        assert made[1].data == b"data"

        aborted = await connect()
        aborted.transport.write(b"data")
        aborted.transport.abort()
        aborted.transport.abort()
        await until(lambda: made[2].lost and aborted.lost)
        assert aborted.told == ["made", ("lost", None)]
        server.close()

    run(main())


# Early versions' create_connection leaves the socket to the collector where the arguments are wrong.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning")
def test_timeouts(run: Run, serving: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)
        writer.close()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await streams.start_server(silent, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        with pytest.raises(ConnectionAbortedError, match="SSL handshake is taking longer than 0.05 seconds"):
            await loop.create_connection(Recorder, *address, ssl=trusting, ssl_handshake_timeout=0.05)
        for timeouts in ({"ssl_handshake_timeout": 0}, {"ssl_shutdown_timeout": -1}):
            with pytest.raises(ValueError, match="should be a positive number"):
                await loop.create_connection(Recorder, *address, ssl=trusting, **timeouts)
        server.close()

        # A peer that never answers a close_notify.
        here, there = socket.socketpair()
        peer = serving.wrap_socket(there, server_side=True, do_handshake_on_connect=False)
        answers = loop.run_in_executor(None, peer.do_handshake)
        _transport, client = await loop.create_connection(
            Recorder, sock=here, ssl=trusting, server_hostname="localhost", ssl_shutdown_timeout=0.1
        )
        await answers
        client.transport.close()
        await until(lambda: client.lost)
        assert client.told == ["made", ("lost", "TimeoutError")]
        peer.close()
        await loop.shutdown_default_executor()

    run(main())


def test_errors_of_the_program(
    run: Run, serving: ssl.SSLContext, trusting: ssl.SSLContext, reports: list[dict[str, Any]]
) -> None:
    class Failing(Recorder):
        def data_received(self, data: bytes) -> None:
            raise ZeroDivisionError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Failing, "127.0.0.1", 0, ssl=serving)
        port = server.sockets[0].getsockname()[1]
        _transport, client = await loop.create_connection(
            Recorder, "127.0.0.1", port, ssl=trusting, server_hostname="localhost"
        )
        client.transport.write(b"x")
        await until(lambda: client.lost)
        server.close()

    run(main())
    assert [report["message"] for report in reports] == ["Fatal error on SSL protocol"]
    assert isinstance(reports[0]["exception"], ZeroDivisionError)
    assert isinstance(reports[0]["protocol"], SSLProtocol)


def test_writing_to_what_is_closed_is_logged(
    run: Run, serving: ssl.SSLContext, trusting: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Recorder, "127.0.0.1", 0, ssl=serving)
        port = server.sockets[0].getsockname()[1]
        _transport, client = await loop.create_connection(
            Recorder, "127.0.0.1", port, ssl=trusting, server_hostname="localhost"
        )
        client.transport.abort()
        for _ in range(10):
            client.transport.write(b"x")
        await until(lambda: client.lost)
        server.close()

    with caplog.at_level(logging.WARNING, "asyncio"):
        run(main())
    assert {record.getMessage() for record in caplog.records} == {"SSL connection is closed"}
    assert 4 <= len(caplog.records) <= 6


def test_nothing_is_left(run: Run, serving: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async def main() -> list[weakref.ref[Any]]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Recorder, "127.0.0.1", 0, ssl=serving)
        port = server.sockets[0].getsockname()[1]
        watched = []
        for _ in range(20):
            transport, client = await loop.create_connection(
                Recorder, "127.0.0.1", port, ssl=trusting, server_hostname="localhost"
            )
            watched += [weakref.ref(transport), weakref.ref(client), weakref.ref(transport._ssl_protocol)]
            transport.write(b"x")
            transport.close()
            await until(lambda client=client: client.lost)
        server.close()
        return watched

    watched = run(main())
    gc.collect()
    assert not any(thing() for thing in watched)
    assert not any(isinstance(thing, SSLProtocol) for thing in gc.get_objects())


def test_an_open_transport_complains(run: Run, serving: ssl.SSLContext) -> None:
    async def main() -> None:
        protocol = SSLProtocol(asyncio.get_running_loop(), Recorder(), serving, None, server_side=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del protocol
            gc.collect()
        assert [str(w.message) for w in caught] == ["unclosed transport <asyncio._SSLProtocolTransport object>"]

    run(main())
