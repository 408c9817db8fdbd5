"""Peers that reset, close one half, flood, never read, or never answer; errors in the protocol that meets them."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from faulty import SECONDS, Recorder, Served, reset
from sides import SIDES, Reports, new_loop

pytestmark = [pytest.mark.parametrize("side", SIDES.values(), ids=SIDES), pytest.mark.timeout(60)]


@pytest.fixture
def loop(side: Any) -> Iterator[Any]:
    with new_loop(side) as loop:
        yield loop


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
