"""Streams: how they end, who hears of errors, and what else a protocol may do."""

import asyncio
import contextvars
import socket
import struct
import threading
from typing import Any

import pytest
from peers import SECONDS, Recorder, pair, run, taken, tcp_pair, turns

import plait.asyncio


def test_half_close() -> None:
    async def main() -> None:
        transport, protocol, peer = await tcp_pair()
        with peer:
            assert transport.can_write_eof()
            protocol.keep_open = True
            peer.shutdown(socket.SHUT_WR)
            await protocol.changed.wait()
            await turns()
            assert protocol.calls == ["made", "eof"]
            assert not transport.is_closing()
            transport.write(b"still here")
            assert peer.recv(100) == b"still here"
            transport.write_eof()
            assert peer.recv(100) == b""
            with pytest.raises(RuntimeError, match=r"Cannot call write\(\) after write_eof\(\)"):
                transport.write(b"x")
            with pytest.raises(RuntimeError, match=r"Cannot call writelines\(\) after write_eof\(\)"):
                transport.writelines([b"x"])
            transport.write_eof()
            transport.close()
            assert await protocol.ended is None

    run(main())


def test_write_eof_waits_for_what_has_been_written() -> None:
    async def main() -> None:
        transport, protocol, peer = await pair()
        received = bytearray()

        def read() -> None:
            while data := peer.recv(65536):
                received.extend(data)

        transport.write(bytes(3_000_000))
        transport.write_eof()
        reader = threading.Thread(target=read)
        reader.start()
        await asyncio.get_running_loop().run_in_executor(None, reader.join)
        assert len(received) == 3_000_000
        peer.close()
        assert await protocol.ended is None

    run(main())


def test_end_of_file_closes_unless_it_is_to_stay_open() -> None:
    async def main() -> None:
        _, protocol, peer = await pair()
        peer.close()
        assert await protocol.ended is None
        assert protocol.calls == ["made", "eof", "lost"]

    run(main())


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def test_a_reset_reaches_the_protocol_and_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        _, protocol, peer = await tcp_pair()
        reset(peer)
        assert isinstance(await protocol.ended, ConnectionResetError)
        assert protocol.calls == ["made", "lost"]

    run(main())
    assert not caplog.records


def test_a_broken_pipe_reaches_the_protocol(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        transport, protocol, peer = await pair()
        transport.pause_reading()
        peer.close()
        transport.write(b"x")
        assert isinstance(await protocol.ended, BrokenPipeError)
        for _ in range(6):
            transport.write(b"lost")

    run(main())
    assert "socket.send() raised exception." in [record.getMessage() for record in caplog.records]


def test_close_and_abort_can_be_called_again() -> None:
    async def main() -> None:
        transport, protocol, peer = await pair()
        with peer:
            transport.close()
            transport.close()
            transport.abort()
            assert protocol.calls == ["made"], "connection_lost comes in the next turn"
            assert await protocol.ended is None
            await turns(1)
            transport.close()
            transport.abort()
            transport.pause_reading()
            transport.resume_reading()
            assert transport.is_closing()
            assert transport._sock is None
            assert transport.get_protocol() is None
            assert transport.get_extra_info("sockname") is not None
        assert protocol.calls == ["made", "lost"]

    run(main())


def test_abort_forgets_what_waits() -> None:
    async def main() -> None:
        transport, protocol, peer = await pair()
        with peer:
            transport.write(bytes(5_000_000))
            assert transport.get_write_buffer_size()
            transport.abort()
            assert transport.get_write_buffer_size() == 0
            assert await protocol.ended is None

    run(main())


class Broken(Recorder):
    """Raises in the method named."""

    where = ""

    def __getattribute__(self, name: str) -> Any:
        if name == object.__getattribute__(self, "where"):

            def raises(*_: object) -> None:
                object.__getattribute__(self, "calls").append(f"{name} raises")
                if name == "connection_lost":
                    self.ended.set_result(None)
                raise ZeroDivisionError(name)

            return raises
        return object.__getattribute__(self, name)


@pytest.fixture
def reports() -> list[dict[str, Any]]:
    return []


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("connection_made", "Exception in callback"),
        ("data_received", "Fatal error: protocol.data_received() call failed."),
        ("eof_received", "Fatal error: protocol.eof_received() call failed."),
        ("pause_writing", "protocol.pause_writing() failed"),
        ("resume_writing", "protocol.resume_writing() failed"),
        ("connection_lost", "Exception in callback"),
    ],
)
def test_an_exception_of_the_protocol_is_reported_once_and_the_loop_goes_on(
    where: str, message: str, reports: list[dict[str, Any]]
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reports.append(context))
        transport, protocol, peer = await pair(type("Broken", (Broken,), {"where": where}))
        transport.write(bytes(3_000_000))
        await taken(peer, 3_000_000)
        peer.sendall(b"data")
        await turns(3)
        await asyncio.sleep(0.01)
        peer.close()
        await protocol.ended
        await turns()
        assert protocol.calls.count(f"{where} raises") == 1

    run(main())
    assert [report["message"].startswith(message) for report in reports] == [True]
    assert isinstance(reports[0]["exception"], ZeroDivisionError)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["data_received", "connection_lost", "eof_received"])
def test_exits_leave_the_loop(where: str, error: type[BaseException]) -> None:
    def raises(*_: object) -> None:
        raise error

    async def main() -> None:
        transport, _, peer = await pair(type("Leaving", (asyncio.Protocol,), {where: raises}))
        transports.append(transport)
        peer.sendall(b"x")
        peer.close()
        await asyncio.sleep(SECONDS)

    transports: list[Any] = []
    loop = plait.asyncio.EventLoop()
    task = loop.create_task(main())
    with pytest.raises(error):
        loop.run_forever()
    task.cancel()
    transports[0].set_protocol(asyncio.Protocol())
    transports[0].abort()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.run_until_complete(asyncio.sleep(0.01))
    assert transports[0]._sock is None
    loop.close()


def test_the_protocol_is_called_in_the_context_of_its_connection() -> None:
    variable = contextvars.ContextVar("variable", default="none")

    class Marked(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.seen = [variable.get()]

        def data_received(self, data: bytes) -> None:
            self.seen.append(variable.get())
            variable.set(data.decode())
            super().data_received(data)

    async def main() -> None:
        variable.set("first")
        _, first, one = await pair(Marked)
        variable.set("second")
        _, second, two = await pair(Marked)
        one.sendall(b"1")
        await first.got(1)
        two.sendall(b"2")
        await second.got(1)
        one.sendall(b"1")
        await first.got(2)
        assert first.seen == ["first", "first", "1"]
        assert second.seen == ["second", "second"]
        assert variable.get() == "second"
        for transport, peer in ((first.transport, one), (second.transport, two)):
            transport.close()
            peer.close()

    run(main())


def test_another_protocol_can_take_over() -> None:
    async def main() -> None:
        transport, first, peer = await pair()
        with peer:
            second = Recorder()
            transport.set_protocol(second)
            assert transport.get_protocol() is second
            peer.sendall(b"x")
            await second.got(1)
            assert first.data == b""
            transport.close()
            assert await second.ended is None

    run(main())


class Buffered(asyncio.BufferedProtocol):
    """Gives a buffer of 10 bytes."""

    def __init__(self) -> None:
        self.buffer = bytearray(10)
        self.data = b""
        self.reads = 0
        self.changed = asyncio.Event()
        self.ended = asyncio.get_running_loop().create_future()

    def get_buffer(self, sizehint: int) -> bytearray:
        assert sizehint == -1
        return self.buffer

    def buffer_updated(self, count: int) -> None:
        self.reads += 1
        self.data += self.buffer[:count]
        self.changed.set()

    def connection_lost(self, error: BaseException | None) -> None:
        self.ended.set_result(error)

    got = Recorder.got


def test_buffered_protocol() -> None:
    async def main() -> None:
        transport, protocol, peer = await pair(Buffered)
        with peer:
            peer.sendall(bytes(range(95)))
            assert await protocol.got(95) == bytes(range(95))
            assert protocol.reads == 10
        assert await protocol.ended is None
        assert transport.is_closing()

    run(main())


@pytest.mark.parametrize(
    ("buffer", "message", "error"),
    [
        (bytearray(), "Fatal error: protocol.get_buffer() call failed.", RuntimeError),
        (None, "Fatal error: protocol.get_buffer() call failed.", TypeError),
        (b"constant", "Fatal read error on socket transport", BufferError),
    ],
)
def test_a_wrong_buffer_is_reported(
    buffer: Any, message: str, error: type[Exception], reports: list[dict[str, Any]]
) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
        _, protocol, peer = await pair(Buffered)
        protocol.buffer = buffer
        with peer:
            peer.sendall(b"x")
            assert isinstance(await protocol.ended, error)

    run(main())
    assert [report["message"] for report in reports] == [message]
    assert isinstance(reports[0]["exception"], error)


def test_a_transport_that_is_dropped_open_warns_and_closes() -> None:
    async def main() -> None:
        transport, protocol, peer = await pair(asyncio.Protocol)
        transport.pause_reading()
        held = [transport, protocol]
        del transport, protocol
        with pytest.warns(ResourceWarning, match="unclosed transport <_SelectorSocketTransport fd="):
            held.clear()
        assert peer.recv(1) == b""
        peer.close()

    run(main())


def test_a_descriptor_of_a_transport_is_not_watched_otherwise() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, _, peer = await pair()
        sock = transport.get_extra_info("socket")
        with peer:
            for method in (loop.add_reader, loop.add_writer):
                with pytest.raises(RuntimeError, match="File descriptor .* is used by transport <_Sel"):
                    method(sock, print)
            with pytest.raises(RuntimeError, match="File descriptor .* is used by transport <_Sel"):
                loop.remove_reader(sock.fileno())
            transport.close()

    run(main())


def test_debug_mode() -> None:
    async def main() -> None:
        transport, protocol, peer = await pair()
        transport.pause_reading()
        transport.resume_reading()
        peer.sendall(b"x")
        await protocol.got(1)
        peer.close()
        await protocol.ended

    run(main(), debug=True)


def test_streams_over_it() -> None:
    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                writer.write(line.upper())
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for line in (b"one\n", b"two\n", b"x" * 50_000 + b"\n"):
                writer.write(line)
                await writer.drain()
                assert await reader.readline() == line.upper()
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    run(main())
