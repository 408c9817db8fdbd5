"""Peers that reset, close one half, flood, never read, never answer, or speak garbage where TLS is due."""

import asyncio
import gc
import os
import resource
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sides import SIDES, Reports, new_loop

pytestmark = [pytest.mark.parametrize("side", SIDES.values(), ids=SIDES), pytest.mark.timeout(60)]
CONNECTIONS = int(os.environ.get("PLAIT_LEAK_CONNECTIONS", "1000"))
SECONDS = 20


@pytest.fixture
def loop(side: Any) -> Iterator[Any]:
    with new_loop(side) as loop:
        yield loop


class Recorder(asyncio.Protocol):
    """Writes down what happens to it."""

    def __init__(self, loop: Any) -> None:
        self.events: list[Any] = []
        self.received = bytearray()
        self.lost = loop.create_future()
        self.changed = loop.create_future()
        self.loop = loop

    def _note(self, event: Any) -> None:
        self.events.append(event)
        changed, self.changed = self.changed, self.loop.create_future()
        changed.set_result(None)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._note("made")

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._note("data")

    def eof_received(self) -> bool | None:
        self._note("eof")
        return self.keeps_open

    keeps_open: bool | None = None

    def pause_writing(self) -> None:
        self._note("pause")

    def resume_writing(self) -> None:
        self._note("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self._note(("lost", type(error)))
        if not self.lost.done():
            self.lost.set_result(error)

    async def until(self, event: Any) -> None:
        while event not in self.events:
            await asyncio.wait_for(asyncio.shield(self.changed), SECONDS)


class Served:
    """A server of recorders on loopback; what they are is told by `make`."""

    def __init__(self, loop: Any, **options: Any) -> None:
        self.loop = loop
        self.options = options
        self.made: list[Recorder] = []

    def make(self) -> Recorder:
        recorder = Recorder(self.loop)
        self.made.append(recorder)
        return recorder

    async def __aenter__(self) -> "Served":
        self.server = await self.loop.create_server(self.make, "127.0.0.1", 0, **self.options)
        self.address = self.server.sockets[0].getsockname()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for recorder in self.made:
            recorder.transport.abort()
        for recorder in self.made:
            if "made" in recorder.events:
                await asyncio.wait_for(recorder.lost, SECONDS)

    async def peer(self) -> tuple[socket.socket, Recorder]:
        """A plain socket that is connected, and the recorder on the server's side."""
        before = len(self.made)
        peer = socket.create_connection(self.address, timeout=SECONDS)
        end = self.loop.time() + SECONDS
        while len(self.made) == before or "made" not in self.made[-1].events:
            assert self.loop.time() < end
            await asyncio.sleep(0.001)
        return peer, self.made[-1]


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def test_a_peer_that_resets(loop: Any) -> None:
    reports = Reports(loop)

    async def main() -> None:
        async with Served(loop) as served:
            peer, recorder = await served.peer()
            reset(peer)
            error = await asyncio.wait_for(recorder.lost, SECONDS)
            assert isinstance(error, ConnectionResetError)
            assert recorder.events == ["made", ("lost", ConnectionResetError)]
            recorder.transport.write(b"too late")
            recorder.transport.close()

    loop.run_until_complete(main())
    assert reports.contexts == []


def test_a_peer_that_resets_while_much_is_to_be_written(loop: Any) -> None:
    async def main() -> None:
        async with Served(loop) as served:
            peer, recorder = await served.peer()
            recorder.transport.write(b"x" * 10_000_000)
            await recorder.until("pause")
            reset(peer)
            error = await asyncio.wait_for(recorder.lost, SECONDS)
            assert isinstance(error, (ConnectionResetError, BrokenPipeError))
            assert recorder.transport.is_closing()
            assert recorder.transport.get_write_buffer_size() == 0

    loop.run_until_complete(main())


@pytest.mark.parametrize("keeps_open", [None, True], ids=["closes", "goes on"])
def test_a_peer_that_closes_its_half(loop: Any, keeps_open: bool | None) -> None:
    async def main() -> None:
        async with Served(loop) as served:
            peer, recorder = await served.peer()
            recorder.keeps_open = keeps_open
            peer.sendall(b"question")
            peer.shutdown(socket.SHUT_WR)
            await recorder.until("eof")
            assert recorder.received == b"question"
            if keeps_open:
                recorder.transport.write(b"answer")
                await asyncio.sleep(0.01)
                assert recorder.events[-1] == "eof"
                recorder.transport.close()
            await recorder.until(("lost", type(None)))
            assert peer.recv(100) == (b"answer" if keeps_open else b"")
            peer.close()

    loop.run_until_complete(main())


def test_we_close_our_half(loop: Any) -> None:
    async def main() -> None:
        async with Served(loop) as served:
            peer, recorder = await served.peer()
            assert recorder.transport.can_write_eof()
            recorder.transport.write(b"all")
            recorder.transport.write_eof()
            with pytest.raises(RuntimeError):
                recorder.transport.write(b"more")
            peer.sendall(b"still heard")
            await recorder.until("data")
            assert (peer.recv(100), peer.recv(100)) == (b"all", b"")
            assert recorder.received == b"still heard"
            peer.close()
            await recorder.until(("lost", type(None)))

    loop.run_until_complete(main())


def test_a_peer_that_never_reads_pauses_the_writer_and_memory_is_held(side: Any, loop: Any) -> None:
    async def main() -> None:
        ended = loop.create_future()

        async def serve(_reader: Any, writer: Any) -> None:
            written = 0
            try:
                while written < 1 << 30:
                    writer.write(b"x" * 65536)
                    written += 65536
                    await asyncio.wait_for(writer.drain(), 0.3)
            except TimeoutError:
                ended.set_result((written, writer.transport.get_write_buffer_size()))
            writer.transport.abort()

        server = await side.start_server(serve, "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()):
            written, buffered = await asyncio.wait_for(ended, SECONDS)
            assert buffered <= 2 * 65536 + 65536
            assert written < 64 << 20
        server.close()
        await server.wait_closed()

    loop.run_until_complete(main())


def test_a_peer_that_floods_is_held_back(loop: Any) -> None:
    """Reading is paused: what the peer sends waits in the sockets, not in our memory."""

    async def main() -> None:
        async with Served(loop) as served:
            peer, recorder = await served.peer()
            recorder.transport.pause_reading()
            peer.setblocking(False)
            sent, stuck = 0, 0
            while stuck < 20:
                try:
                    sent += peer.send(b"f" * 65536)
                    stuck = 0
                except BlockingIOError:
                    stuck += 1
                    await asyncio.sleep(0.005)
            assert len(recorder.received) <= 262144
            recorder.transport.resume_reading()
            end = loop.time() + SECONDS
            while len(recorder.received) < sent:
                assert loop.time() < end
                await asyncio.sleep(0.001)
            assert set(recorder.received) == {ord("f")}
            peer.close()
            await recorder.until(("lost", type(None)))

    loop.run_until_complete(main())


def test_a_stream_without_a_reader_holds_two_limits_at_most(side: Any, loop: Any) -> None:
    async def main() -> None:
        readers = loop.create_future()

        async def serve(reader: Any, writer: Any) -> None:
            readers.set_result(reader)
            await done.wait()
            writer.close()

        done = side.Event()
        server = await side.start_server(serve, "127.0.0.1", 0, limit=10_000)
        with socket.create_connection(server.sockets[0].getsockname()) as peer:
            reader = await readers
            peer.setblocking(False)
            sent, stuck = 0, 0
            while stuck < 20 and sent < 256 << 20:
                try:
                    sent += peer.send(b"f" * 65536)
                    stuck = 0
                except BlockingIOError:
                    stuck += 1
                    await asyncio.sleep(0.005)
            assert stuck == 20
            with pytest.raises(asyncio.LimitOverrunError):
                await reader.readuntil(b"\n")
            assert len(await reader.read(1 << 30)) <= 2 * 10_000 + (256 << 10)
        done.set()
        server.close()
        await server.wait_closed()

    loop.run_until_complete(main())


def test_a_peer_that_never_answers(side: Any, loop: Any) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            reader, writer = await side.open_connection(*silent.getsockname())
            with pytest.raises(TimeoutError):
                async with side.timeout(0.05):
                    await reader.readline()
            with pytest.raises(TimeoutError):
                await side.wait_for(reader.read(1), 0.05)
            writer.close()
            await writer.wait_closed()

    loop.run_until_complete(main())


@pytest.mark.parametrize("where", ["connection_made", "data_received", "eof_received", "connection_lost"])
def test_an_error_in_a_protocol_is_reported_once_and_the_server_goes_on(loop: Any, where: str) -> None:
    reports = Reports(loop)

    def fail(*_: object) -> None:
        raise ZeroDivisionError(where)

    async def main() -> None:
        async with Served(loop) as served:
            make = served.make

            def make_bad() -> Recorder:
                recorder = make()
                called = getattr(recorder, where)

                def call_and_fail(*arguments: object) -> None:
                    called(*arguments)
                    fail()

                setattr(recorder, where, call_and_fail)
                return recorder

            served.make = make_bad  # type: ignore[method-assign]
            served.server.close()
            served.server = await loop.create_server(lambda: served.make(), "127.0.0.1", 0)
            served.address = served.server.sockets[0].getsockname()
            peer, bad = await served.peer()
            peer.sendall(b"data")
            if where != "connection_made":
                await bad.until("data")
            peer.shutdown(socket.SHUT_WR)
            if where == "connection_made":
                await asyncio.sleep(0.05)
                bad.transport.abort()
            await asyncio.wait_for(bad.lost, SECONDS)
            peer.close()
            served.make = make  # type: ignore[method-assign]
            peer, good = await served.peer()
            peer.sendall(b"fine")
            await good.until("data")
            assert good.received == b"fine"
            peer.close()
            await good.until(("lost", type(None)))
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert reports.errors == [f"ZeroDivisionError('{where}')"]


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\x00" * 70_000, bytes(range(255)) * 4],
    ids=["plain", "a header that lies", "noise"],
)
def test_garbage_where_tls_is_due(side: Any, loop: Any, contexts: Contexts, garbage: bytes) -> None:
    """The peer is dropped, no protocol is made for it, and the server serves the next one."""
    Reports(loop)

    async def main() -> None:
        async with Served(loop, ssl=contexts[0], ssl_handshake_timeout=2) as served:
            peer = socket.create_connection(served.address, timeout=SECONDS)
            peer.sendall(garbage)
            if garbage[0] == 0x16:
                peer.shutdown(socket.SHUT_WR)

            def drain() -> None:
                try:
                    while peer.recv(65536):
                        pass
                except ConnectionResetError:
                    pass
                peer.close()

            await side.to_thread(drain)
            assert all("made" not in recorder.events for recorder in served.made)
            served.made.clear()
            reader, writer = await side.open_connection(
                *served.address[:2], ssl=contexts[1], server_hostname="localhost"
            )
            writer.write(b"fine")
            end = loop.time() + SECONDS
            while not (served.made and served.made[-1].received == b"fine"):
                assert loop.time() < end
                await asyncio.sleep(0.001)
            writer.close()
            await writer.wait_closed()

    loop.run_until_complete(main())


def test_a_tls_server_that_speaks_garbage(side: Any, loop: Any, contexts: Contexts) -> None:
    def serve(listener: socket.socket) -> None:
        with listener.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=serve, args=(listener,))
            thread.start()
            with pytest.raises(ssl.SSLError):
                await side.open_connection(
                    *listener.getsockname(), ssl=contexts[1], server_hostname="localhost"
                )
            thread.join()

    loop.run_until_complete(main())


def test_a_tls_peer_that_never_answers(side: Any, loop: Any, contexts: Contexts) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            with pytest.raises((ConnectionAbortedError, TimeoutError), match="SSL handshake"):
                await side.open_connection(
                    *silent.getsockname(), ssl=contexts[1], server_hostname="localhost", ssl_handshake_timeout=0.1
                )

    loop.run_until_complete(main())


def test_a_tls_peer_that_resets_and_one_that_never_says_goodbye(side: Any, loop: Any, contexts: Contexts) -> None:
    async def main() -> None:
        async with Served(loop, ssl=contexts[0], ssl_shutdown_timeout=0.2) as served:

            def connect() -> ssl.SSLSocket:
                raw = socket.create_connection(served.address, timeout=SECONDS)
                return contexts[1].wrap_socket(raw, server_hostname="localhost")

            peer = await side.to_thread(connect)
            await asyncio.sleep(0.05)
            reset(peer)
            first = served.made[0]
            await asyncio.wait_for(first.lost, SECONDS)
            silent = await side.to_thread(connect)
            await asyncio.sleep(0.05)
            second = served.made[1]
            second.transport.close()  # the peer never answers close_notify
            await asyncio.wait_for(second.lost, SECONDS)
            silent.close()

    loop.run_until_complete(main())


# ---------------------------------------------------------------- what is left behind


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_connections_leave_nothing_behind(side: Any, loop: Any) -> None:
    """Each is opened, used, and ended in one of four ways; then descriptors, tasks and memory are as before."""
    Reports(loop)

    async def serve(reader: Any, writer: Any) -> None:
        try:
            while data := await reader.read(100):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    async def use(address: tuple[str, int], number: int) -> None:
        reader, writer = await side.open_connection(*address)
        writer.write(b"%d\n" % number)
        assert await reader.readline() == b"%d\n" % number
        match number % 4:
            case 0:
                writer.close()
                await writer.wait_closed()
            case 1:
                writer.transport.abort()
            case 2:
                writer.write_eof()
                assert await reader.read() == b""
                writer.close()
            case 3:
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                writer.close()

    async def many(address: tuple[str, int], count: int) -> tuple[int, int, int]:
        for start in range(0, count, 50):
            await asyncio.gather(*[use(address, number) for number in range(start, start + 50)])
        end = loop.time() + SECONDS
        while len(side.all_tasks()) > 1 and loop.time() < end:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        gc.collect()
        with open("/proc/self/statm", "rb") as statm:
            pages = int(statm.read().split()[1])
        return open_descriptors(), len(side.all_tasks()), pages * resource.getpagesize()

    async def main() -> None:
        server = await side.start_server(serve, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        before = await many(address, 200)
        after = await many(address, CONNECTIONS)
        assert after[0] <= before[0]
        assert after[1] == before[1] == 1
        assert after[2] - before[2] < 300 * CONNECTIONS + (4 << 20)
        server.close()
        await server.wait_closed()

    loop.run_until_complete(main())


# In a process of its own: few descriptors for it, many connections from here.
_FEW_DESCRIPTORS = """
import asyncio, importlib, resource, sys, time
side = importlib.import_module(sys.argv[1])
reports = []

async def serve(reader, writer):
    while data := await reader.read(100):
        writer.write(data)
        await writer.drain()
    writer.close()

async def main():
    loop = side.get_running_loop()
    loop.set_exception_handler(lambda _, context: reports.append(context["message"]))
    server = await side.start_server(serve, "127.0.0.1", 0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)   # all have connected
    cpu = time.process_time()
    await side.sleep(0.5)
    print("busy" if time.process_time() - cpu > 0.25 else "calm", len(set(reports)), reports[0], flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    server.close()

side.run(main())
"""


def test_descriptors_run_out_in_accept(side: Any, tmp_path: Path) -> None:
    """The server reports it, does not spin, and takes the rest once there is room."""
    with subprocess.Popen(
        [sys.executable, "-c", _FEW_DESCRIPTORS, side.__name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin
        assert server.stdout
        try:
            port = int(server.stdout.readline())
            peers = [socket.create_connection(("127.0.0.1", port), timeout=SECONDS) for _ in range(60)]
            for peer in peers:
                peer.sendall(b"hello")
            assert peers[0].recv(10) == b"hello"
            server.stdin.write("\n")
            server.stdin.flush()
            assert server.stdout.readline().strip() == "calm 1 socket.accept() out of system resource"
            # One after the other leaves: in the end all have been served.
            for peer in peers[1:]:
                peers[0].close()
                peers[0] = peer
                assert peer.recv(10) == b"hello"
            peers[-1].close()
            server.stdin.write("\n")
            server.stdin.close()
            assert server.wait(SECONDS) == 0
        finally:
            server.kill()
