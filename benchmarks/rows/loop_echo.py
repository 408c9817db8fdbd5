"""Echo servers: the contender's loop serves in the measured process, one client process sends (`echo_client.py`).

The figure is the time of a message and its echo, which on loopback is mostly the kernel's; CPU is the server's.
Every server sets TCP_NODELAY: asyncio's transports do so by themselves, and so do the rivals'.
"""

import os
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import contenders
from benchmarks.echo_client import CONNECTIONS
from benchmarks.row import Run
from benchmarks.rows.loops import NAMES, LoopGroup, open_loop

GROUP = LoopGroup("Loop: echo")
KIB = 1024
READ_AT_ONCE = 256 * KIB

# Serves until the block ends; yields the port.
Serving = Callable[[Any, ssl.SSLContext | None], AbstractAsyncContextManager[int]]


@asynccontextmanager
async def protocol(asyncio: Any, context: ssl.SSLContext | None) -> AsyncIterator[int]:
    """A Protocol that writes what it is given."""

    class Echo(asyncio.Protocol):  # type: ignore[misc, name-defined]
        def connection_made(self, transport: Any) -> None:
            self.write = transport.write

        def data_received(self, data: bytes) -> None:
            self.write(data)

    async with _server(asyncio, Echo, context) as port:
        yield port


@asynccontextmanager
async def buffered_protocol(asyncio: Any, context: ssl.SSLContext | None) -> AsyncIterator[int]:
    """A BufferedProtocol: the transport reads into its buffer, which is written from there."""

    class Echo(asyncio.BufferedProtocol):  # type: ignore[misc, name-defined]
        def connection_made(self, transport: Any) -> None:
            self.write = transport.write
            self.buffer = memoryview(bytearray(READ_AT_ONCE))

        def get_buffer(self, _sizehint: int) -> memoryview:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            # A copy: the next read may come before a full socket has taken what is in the buffer now.
            self.write(bytes(self.buffer[:nbytes]))

    async with _server(asyncio, Echo, context) as port:
        yield port


@asynccontextmanager
async def _server(asyncio: Any, factory: Callable[[], Any], context: Any) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(factory, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def streams(asyncio: Any, context: ssl.SSLContext | None) -> AsyncIterator[int]:
    """`start_server`: read what is there, write it, drain."""

    async def echo(reader: Any, writer: Any) -> None:
        while data := await reader.read(READ_AT_ONCE):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def sock_methods(asyncio: Any, _context: ssl.SSLContext | None) -> AsyncIterator[int]:
    """The loop's `sock_accept`, `sock_recv` and `sock_sendall`, a task for each connection."""
    loop = asyncio.get_running_loop()
    tasks = []

    async def echo(connection: socket.socket) -> None:
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while data := await loop.sock_recv(connection, READ_AT_ONCE):
                await loop.sock_sendall(connection, data)

    async def accept() -> None:
        while True:
            connection, _ = await loop.sock_accept(listener)
            connection.setblocking(False)
            tasks.append(asyncio.create_task(echo(connection)))

    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        listener.setblocking(False)
        accepting = asyncio.create_task(accept())
        try:
            yield listener.getsockname()[1]
        finally:
            accepting.cancel()
            await asyncio.wait([accepting])
            if tasks:
                await asyncio.wait(tasks, timeout=5)


@contextmanager
def _echo(name: str, serving: Serving, size: int, tls: bool) -> Iterator[Run]:
    if tls and name == "rloop":
        raise contenders.LeftOut("rloop has no TLS")
    with tempfile.TemporaryDirectory() as folder, open_loop(name) as (asyncio, loop):
        context, certificates = _certificates(Path(folder)) if tls else (None, [])
        server = serving(asyncio, context)
        port = loop.run_until_complete(server.__aenter__())
        command = [sys.executable, "-m", "benchmarks.echo_client", str(port), str(size), *certificates]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
            try:
                assert client.stdin
                assert client.stdout
                stdin, stdout = client.stdin, client.stdout

                async def line() -> str:
                    """What the client says next; the loop serves until then."""
                    said = loop.create_future()
                    loop.add_reader(stdout.fileno(), _read_line, stdout.fileno(), bytearray(), said)
                    try:
                        return str(await said)
                    finally:
                        loop.remove_reader(stdout.fileno())

                if (first := loop.run_until_complete(line())) != "ready":
                    raise AssertionError(f"the client said {first!r}")

                def run(n: int) -> object:
                    stdin.write(b"%d\n" % (n // CONNECTIONS))
                    stdin.flush()
                    return loop.run_until_complete(line())

                yield run
            finally:
                client.kill()
                client.wait()
                loop.run_until_complete(asyncio.sleep(0.05))  # the server sees its connections end
                loop.run_until_complete(server.__aexit__(None, None, None))


def _read_line(descriptor: int, so_far: bytearray, said: Any) -> None:
    """Called when there is something to read, and by uvloop at times when there is not."""
    try:
        data = os.read(descriptor, 100)
    except BlockingIOError:
        return
    so_far += data
    if (not data or so_far.endswith(b"\n")) and not said.done():
        said.set_result(so_far.decode().strip())


def _certificates(folder: Path) -> tuple[ssl.SSLContext, list[str]]:
    """A server's context with a certificate for localhost, and the file of the authority that signed it."""
    try:
        import trustme
    except ModuleNotFoundError:
        raise contenders.LeftOut("trustme is not installed (pip install trustme)") from None
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    return context, [str(folder / "authority.pem")]


def _add(name: str, title: str, serving: Serving, size: int, best: float, tls: bool = False) -> None:
    GROUP.add(
        name,
        title,
        {contender: partial(_echo, contender, serving, size, tls) for contender in NAMES},
        floor=1,
        others={"uvloop": best},
        batch=CONNECTIONS,
    )


# Against uvloop: "at least 1.1 on protocol, 1.3 on streams, never behind", TLS 1.2.
for _size in (1, 10, 100):
    _add(f"echo_protocol_{_size}", f"echo {_size} KiB, protocol", protocol, _size * KIB, 1.1)
for _size in (1, 10, 100):
    _add(f"echo_buffered_{_size}", f"echo {_size} KiB, buffered protocol", buffered_protocol, _size * KIB, 1)
for _size in (1, 10, 100):
    _add(f"echo_streams_{_size}", f"echo {_size} KiB, streams", streams, _size * KIB, 1.3)
for _size in (1, 10, 100):
    _add(f"echo_sock_{_size}", f"echo {_size} KiB, `sock_*`", sock_methods, _size * KIB, 1)
for _size in (1, 10, 100):
    _add(f"echo_tls_{_size}", f"echo {_size} KiB, protocol over TLS", protocol, _size * KIB, 1.2, tls=True)
