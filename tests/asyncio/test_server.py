"""Servers: accepting, limits, clients that go, what leaks."""

import asyncio
import contextlib
import contextvars
import gc
import os
import resource
import socket
import struct
import sys
import threading
from typing import Any

import pytest
from peers import SECONDS, Recorder, run, turns

import plait.asyncio

# The whole of it is for `make`: it takes a minute and more.
CONNECTIONS = int(os.environ.get("PLAIT_TEST_CONNECTIONS", "5000"))


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def connected(server: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*server.sockets[0].getsockname()[:2])


def test_many_connect_at_once() -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)

        async def talk(i: int) -> None:
            reader, writer = await connected(server)
            writer.write(b"%d\n" % i)
            assert await reader.readline() == b"%d\n" % i
            writer.close()
            await writer.wait_closed()

        async with server:
            await asyncio.gather(*map(talk, range(200)))

    run(main())


def test_each_connection_has_a_context_of_its_own() -> None:
    variable = contextvars.ContextVar("variable", default="none")
    seen: list[str] = []

    class Marks(asyncio.Protocol):
        def __init__(self) -> None:
            seen.append(variable.get())
            variable.set("by the factory")

        def connection_made(self, transport: Any) -> None:
            seen.append(variable.get())
            transport.close()

    async def main() -> None:
        variable.set("of the server")
        server = await asyncio.get_running_loop().create_server(Marks, "127.0.0.1", 0)
        variable.set("later")
        async with server:
            for _ in range(2):
                reader, writer = await connected(server)
                assert await reader.read() == b""
                writer.close()
        assert seen == ["of the server", "by the factory"] * 2

    run(main())


def test_what_a_server_s_transport_knows() -> None:
    made = []

    class Knows(Echo):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            made.append(transport)

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Knows, "127.0.0.1", 0)
        async with server:
            _, writer = await connected(server)
            while not made:
                await asyncio.sleep(0.001)
            (transport,) = made
            assert transport.get_extra_info("peername") == writer.get_extra_info("sockname")
            assert transport.get_extra_info("sockname") == server.sockets[0].getsockname()
            assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert transport.get_extra_info("socket").proto == server.sockets[0].proto
            assert not os.get_inheritable(transport.get_extra_info("socket").fileno())
            writer.close()
            transport.close()

    run(main())


def test_a_factory_that_raises_closes_the_connection() -> None:
    reports: list[dict[str, Any]] = []

    def raises() -> Any:
        raise ZeroDivisionError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reports.append(context))
        server = await loop.create_server(raises, "127.0.0.1", 0)
        async with server:
            reader, writer = await connected(server)
            assert await reader.read() == b""
            writer.close()

    run(main())
    assert reports == []
    run(main(), debug=True)
    assert [report["message"] for report in reports] == [
        "Error on transport creation for incoming connection"
    ]


def test_closing_waits_for_the_connections() -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
        _, writer = await connected(server)
        await asyncio.sleep(0.01)
        server.close()
        if sys.version_info >= (3, 12, 1):
            waiting = asyncio.create_task(server.wait_closed())
            await turns()
            assert not waiting.done()
            writer.close()
            await waiting
        writer.close()
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection(*writer.get_extra_info("peername"))

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="new in 3.13")
@pytest.mark.parametrize("method", ["close_clients", "abort_clients"])
def test_clients_can_be_closed(method: str) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
        reader, writer = await connected(server)
        writer.write(b"x")
        await reader.readexactly(1)
        server.close()
        getattr(server, method)()
        assert await reader.read() == b""
        await server.wait_closed()
        writer.close()

    run(main())


def test_connect_accepted_socket() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            with socket.create_connection(listening.getsockname()) as peer:
                conn, _ = listening.accept()
                transport, protocol = await loop.connect_accepted_socket(Recorder, conn)
                peer.sendall(b"x")
                assert await protocol.got(1) == b"x"
                transport.close()
                await protocol.ended

    run(main())


def test_reuse_port_and_both_families() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        one = await loop.create_server(Echo, ["127.0.0.1", "::1"], 0, reuse_port=True)
        assert {sock.family for sock in one.sockets} == {socket.AF_INET, socket.AF_INET6}
        four = next(sock for sock in one.sockets if sock.family == socket.AF_INET)
        two = await loop.create_server(Echo, *four.getsockname(), reuse_port=True)
        for sock in one.sockets:
            reader, writer = await asyncio.open_connection(*sock.getsockname()[:2])
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            writer.close()
            await writer.wait_closed()
        one.close()
        two.close()
        await asyncio.sleep(0.01)

    run(main())


def test_a_unix_server(tmp_path: Any) -> None:
    async def main() -> None:
        path = str(tmp_path / "socket")
        server = await asyncio.get_running_loop().create_unix_server(Echo, path)
        async with server:
            reader, writer = await asyncio.open_unix_connection(path)
            assert writer.get_extra_info("peername") == path
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            writer.close()
            await writer.wait_closed()

    run(main())


def test_a_server_that_is_out_of_descriptors_rests_and_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncio.constants.ACCEPT_RETRY_DELAY", 0.1)
    reports: list[dict[str, Any]] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reports.append(context))
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        async with server:
            with socket.socket() as client:
                client.setblocking(False)
                used = max(map(int, os.listdir("/proc/self/fd")))
                held = []
                resource.setrlimit(resource.RLIMIT_NOFILE, (used + 5, hard))
                try:
                    with contextlib.suppress(OSError):
                        while True:
                            held.append(os.dup(0))
                    await loop.sock_connect(client, server.sockets[0].getsockname())
                    while not reports:
                        await asyncio.sleep(0.001)
                    await asyncio.sleep(0.05)
                    assert len(reports) == 1
                finally:
                    for fd in held:
                        os.close(fd)
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                await loop.sock_sendall(client, b"x")
                assert await loop.sock_recv(client, 1) == b"x"

    run(main())
    assert [report["message"] for report in reports] == ["socket.accept() out of system resource"]
    assert isinstance(reports[0]["exception"], OSError)


def clients(address: Any, count: int) -> None:
    """Plain sockets, which end in every way there is."""
    for i in range(count):
        with socket.create_connection(address) as sock:
            way = i % 5
            if way == 0:
                sock.sendall(b"echo")
                assert sock.recv(4) == b"echo"
            elif way == 1:
                sock.sendall(b"gone before the answer")
            elif way == 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif way == 3:
                sock.sendall(b"half")
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(100):
                    pass


def memory() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.timeout(SECONDS * 30)
def test_connections_leak_nothing() -> None:
    """Of each kind of end: no descriptor, no task, no transport, no memory."""

    async def rounds(server: Any, count: int) -> None:
        thread = threading.Thread(target=clients, args=(server.sockets[0].getsockname(), count))
        thread.start()
        while thread.is_alive():
            await asyncio.sleep(0.01)
        thread.join()
        await asyncio.sleep(0.05)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        async with server:
            await rounds(server, 1000)
            gc.collect()
            descriptors, before = len(os.listdir("/proc/self/fd")), memory()
            objects = len(gc.get_objects())
            await rounds(server, CONNECTIONS)
            gc.collect()
            assert len(os.listdir("/proc/self/fd")) == descriptors
            assert len(asyncio.all_tasks()) == 1
            assert len(gc.get_objects()) - objects < 500
            assert not loop._transports
            assert memory() - before < 2_000_000 + 20 * CONNECTIONS

    with asyncio.Runner(loop_factory=plait.asyncio.EventLoop) as runner:
        runner.run(main())
