"""TLS over real sockets: with plait's loop, the standard library's, blocking peers, openssl's own client."""

import asyncio
import gc
import logging
import shutil
import socket
import ssl
import subprocess
import threading
import warnings
import weakref
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from plait.asyncio import streams
from plait.asyncio._tls import SSLProtocol
from plait.asyncio.loop import EventLoop

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")

Run = Callable[[Coroutine[Any, Any, Any]], Any]
BIG = 3_000_000  # bytes: more than every buffer on the way


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost, signed by itself, with its key."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    key = path.with_name("key.pem")
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    about = ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*made, *about, "-keyout", key, "-out", path], check=True, capture_output=True)
    path.write_text(path.read_text() + key.read_text())
    return path


@pytest.fixture
def serving(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate)


@pytest.fixture
def reports() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def run(reports: list[dict[str, Any]]) -> Iterator[Run]:
    loop = EventLoop()
    loop.set_exception_handler(lambda _loop, context: reports.append(context))
    try:
        yield lambda coroutine: loop.run_until_complete(asyncio.wait_for(coroutine, 30))
    finally:
        loop.run_until_complete(ended(loop))
        loop.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(100_000):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


async def ended(loop: Any) -> None:
    """Wait for the other ends of the connections to see that they are over."""
    async with asyncio.timeout(5):
        while any(transport._sock for transport in [*loop._transports.values()]):
            await asyncio.sleep(0.002)


class Recorder(asyncio.Protocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.told: list[Any] = []
        self.data = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        self.data += data

    def eof_received(self) -> None:
        self.told.append("eof")

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.told.append(("lost", type(error).__name__ if error else None))

    @property
    def lost(self) -> bool:
        return any(isinstance(told, tuple) for told in self.told)


class Buffered(Recorder, asyncio.BufferedProtocol):
    """The same through a buffer of its own, too small for a record."""

    def __init__(self, size: int = 1000) -> None:
        Recorder.__init__(self)
        self.buffer = bytearray(size)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data += self.buffer[:nbytes]


def test_echo_and_what_is_known(run: Run, serving: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    serving.set_alpn_protocols(["h2", "http/1.1"])
    trusting.set_alpn_protocols(["http/1.1"])
    names = []
    serving.sni_callback = lambda _socket, name, _context: names.append(name)

    async def main() -> None:
        server = await streams.start_server(echo, "127.0.0.1", 0, ssl=serving)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await streams.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="localhost")
        transport = writer.transport
        assert isinstance(transport, asyncio.Transport)
        assert isinstance(transport.get_protocol(), streams.StreamReaderProtocol)
        for data in (b"x", bytes(1000), bytes(16_384), bytes(range(256)) * 4000, bytes(BIG)):
            writer.write(data)
            assert await reader.readexactly(len(data)) == data
        writer.writelines([b"a", bytearray(b"b"), memoryview(b"cd")[::2], bytes(20_000), b"e"])
        assert await reader.readexactly(20_004) == b"abc" + bytes(20_000) + b"e"
        writer.write(bytearray(b"f"))
        writer.write(memoryview(b"gh")[:1])
        writer.write(b"")
        assert await reader.readexactly(2) == b"fg"
        with pytest.raises(TypeError, match="expecting a bytes-like instance, got str"):
            writer.write("text")  # type: ignore[arg-type]
        known = transport.get_extra_info
        assert known("ssl_object").selected_alpn_protocol() == "http/1.1"
        assert known("sslcontext") is trusting
        assert known("peercert")["subject"] == ((("commonName", "localhost"),),)
        assert known("cipher") == known("ssl_object").cipher()
        assert known("compression") is None
        assert known("peername")[1] == port
        assert known("nothing", 5) == 5
        assert not transport.can_write_eof()
        with pytest.raises(NotImplementedError):
            transport.write_eof()
        assert transport.get_write_buffer_limits() == (128 * 1024, 512 * 1024)
        assert transport.get_write_buffer_size() == 0
        writer.close()
        await writer.wait_closed()
        assert transport.is_closing()
        server.close()
        await server.wait_closed()
        assert names == ["localhost"]

    run(main())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("plait_serves", [True, False])
def test_with_the_standard_loop(
    run: Run, serving: ssl.SSLContext, trusting: ssl.SSLContext, version: ssl.TLSVersion, plait_serves: bool
) -> None:
    serving.maximum_version = version
    ports: list[int] = []
    there = threading.Event()
    ends: list[Any] = []

    async def serve() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=serving)
        end = asyncio.Event()
        ports.append(server.sockets[0].getsockname()[1])
        ends.append((asyncio.get_running_loop(), end))
        there.set()
        await end.wait()
        server.close()

    async def use() -> None:
        name = "localhost"
        reader, writer = await asyncio.open_connection("127.0.0.1", ports[0], ssl=trusting, server_hostname=name)
        for size in (1, 5000, 200_000, BIG):
            writer.write(bytes(size))
            assert await reader.readexactly(size) == bytes(size)
        assert writer.get_extra_info("ssl_object").version() == version.name.replace("_", ".")
        writer.close()
        await writer.wait_closed()

    def standard(coroutine: Coroutine[Any, Any, Any]) -> None:
        loop = asyncio.SelectorEventLoop()
        loop.run_until_complete(coroutine)
        loop.close()

    server, client = (run, standard) if plait_serves else (standard, run)
    if plait_serves:

        def other() -> None:
            there.wait(10)
            try:
                client(use())
            finally:
                ends[0][0].call_soon_threadsafe(ends[0][1].set)

        thread = threading.Thread(target=other)
        thread.start()
        server(serve())
    else:
        thread = threading.Thread(target=server, args=(serve(),))
        thread.start()
        there.wait(10)
        client(use())
        ends[0][0].call_soon_threadsafe(ends[0][1].set)
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_buffered_protocols(run: Run, serving: ssl.SSLContext, trusting: ssl.SSLContext, size: int) -> None:
    made: list[Buffered] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: made.append(Buffered(size)) or made[-1], "127.0.0.1", 0, ssl=serving
        )
        port = server.sockets[0].getsockname()[1]
        _transport, client = await loop.create_connection(
            Recorder, "127.0.0.1", port, ssl=trusting, server_hostname="localhost"
        )
        client.transport.write(data)
        client.transport.close()
        await until(lambda: client.lost and made[0].lost)
        server.close()

    data = bytes(index * index % 251 for index in range(2000 if size == 1 else 200_000))
    run(main())
    assert made[0].data == data
    assert made[0].told == ["made", "eof", ("lost", None)]


def test_certificates_are_checked(
    run: Run, serving: ssl.SSLContext, trusting: ssl.SSLContext, reports: list[dict[str, Any]]
) -> None:
    async def main() -> None:
        server = await streams.start_server(echo, "127.0.0.1", 0, ssl=serving)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ssl.SSLCertVerificationError, match="doesn't match|Hostname mismatch"):
            await streams.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="example.org")
        with pytest.raises(ssl.SSLCertVerificationError, match="self-signed|self signed"):
            await streams.open_connection("127.0.0.1", port, ssl=True, server_hostname="localhost")
        _reader, writer = await streams.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="localhost")
        writer.close()
        await writer.wait_closed()
        server.close()

    run(main())
    assert reports == []


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


def test_flow_control(run: Run, serving: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        made: list[Recorder] = []
        server = await loop.create_server(lambda: made.append(Recorder()) or made[-1], "127.0.0.1", 0, ssl=serving)
        port = server.sockets[0].getsockname()[1]
        _transport, client = await loop.create_connection(
            Recorder, "127.0.0.1", port, ssl=trusting, server_hostname="localhost"
        )
        await until(lambda: made and made[0].transport)
        made[0].transport.pause_reading()
        assert not made[0].transport.is_reading()
        total = 0
        while "pause" not in client.told:
            client.transport.write(bytes(100_000))
            total += 100_000
            await asyncio.sleep(0)
        assert client.transport.get_write_buffer_size() >= 512 * 1024
        await asyncio.sleep(0.05)
        assert made[0].data == b""
        assert made[0].transport.get_read_buffer_size() < 2 * 256 * 1024
        made[0].transport.resume_reading()
        await until(lambda: len(made[0].data) == total)
        assert client.told == ["made", "pause", "resume"]
        client.transport.close()
        await until(lambda: made[0].lost)
        server.close()

    run(main())


def test_upgrade(run: Run, serving: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        await writer.start_tls(serving)
        await echo(reader, writer)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await streams.start_server(serve, "127.0.0.1", 0)
        reader, writer = await streams.open_connection(*server.sockets[0].getsockname())
        assert writer.get_extra_info("sslcontext") is None
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"STARTTLS\n"
        await writer.start_tls(trusting, server_hostname="localhost")
        assert writer.get_extra_info("sslcontext") is trusting
        writer.write(bytes(100_000))
        assert await reader.readexactly(100_000) == bytes(100_000)
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        with pytest.raises(TypeError, match="sslcontext is expected to be an instance of ssl.SSLContext"):
            await loop.start_tls(writer.transport, None, None)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"is not supported by start_tls\(\)"):
            await loop.start_tls(object(), None, trusting)  # type: ignore[arg-type]

    run(main())


def test_tls_in_tls(run: Run, serving: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        await writer.start_tls(serving)
        await echo(reader, writer)

    async def main() -> None:
        server = await streams.start_server(serve, "127.0.0.1", 0, ssl=serving)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await streams.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="localhost")
        writer.write(b"again\n")
        assert await reader.readline() == b"again\n"
        await writer.start_tls(trusting, server_hostname="localhost")
        for size in (1, 100, 300_000):
            writer.write(bytes(size))
            assert await reader.readexactly(size) == bytes(size)
        writer.close()
        await writer.wait_closed()
        server.close()

    run(main())


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


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_client(run: Run, serving: ssl.SSLContext, certificate: Path, version: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        writer.close()

    async def main() -> None:
        server = await streams.start_server(serve, "127.0.0.1", 0, ssl=serving)
        port = server.sockets[0].getsockname()[1]
        client = await asyncio.create_subprocess_exec(
            *["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", str(certificate), "-quiet"],
            *["-verify_return_error", "-servername", "localhost", version],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert client.stdin
        assert client.stdout
        client.stdin.write(b"hello\n")
        assert await client.stdout.readline() == b"HELLO\n"
        client.stdin.close()
        await client.wait()
        server.close()

    run(main())
