"""TLS over real sockets: with plait's loop, the standard library's, blocking peers, openssl's own client."""

import asyncio
import shutil
import ssl
import subprocess
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from secured import BIG, Buffered, Recorder, Run, certificate, echo, reports, run, serving, trusting, until

from plait.asyncio import streams

__all__ = ["certificate", "reports", "run", "serving", "trusting"]  # fixtures
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")


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
