"""Streams: over real sockets, on plait's loop and on the standard library's."""

import asyncio
import gc
import sys
import warnings
import weakref
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from plait.asyncio import streams
from plait.asyncio.loop import EventLoop

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=[EventLoop, asyncio.SelectorEventLoop], ids=["plait", "standard"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    loop = request.param()
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: reports.append(context))
    try:
        yield lambda coroutine: loop.run_until_complete(asyncio.wait_for(coroutine, 20))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    assert not reports, reports


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def connected(
    kind: Any = streams,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, asyncio.StreamReader, asyncio.StreamWriter, Any]:
    """A client's reader and writer, a server's, and the server."""
    arrived: asyncio.Queue[Any] = asyncio.Queue()
    server = await kind.start_server(lambda *pair: arrived.put_nowait(pair), "127.0.0.1", 0)
    reader, writer = await kind.open_connection(*server.sockets[0].getsockname())
    return reader, writer, *await arrived.get(), server


async def closed(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        writer.close()
    for writer in writers:
        await writer.wait_closed()


class TestReading:
    def test_a_lone_piece_is_not_copied(self, run: Run) -> None:
        async def main() -> None:
            reader = streams.StreamReader()
            piece = bytes(1000)
            reader.feed_data(piece)
            assert await reader.read(1000) is piece
            reader.feed_data(piece)
            assert await reader.readexactly(1000) is piece

        run(main())

    def test_pieces_of_all_kinds(self, run: Run) -> None:
        async def main() -> None:
            reader = streams.StreamReader()
            for piece in (b"ab", bytearray(b"cd"), memoryview(b"ef"), b"", [103, 104]):
                reader.feed_data(piece)  # type: ignore[arg-type]
            reader.feed_eof()
            assert await reader.readexactly(3) == b"abc"
            assert await reader.read(2) == b"de"
            assert not reader.at_eof()
            assert await reader.read() == b"fgh"
            assert reader.at_eof()
            assert await reader.read(1) == b""
            with pytest.raises(TypeError):
                streams.StreamReader().feed_data("text")  # type: ignore[arg-type]
            with pytest.raises(AssertionError, match="feed_data after feed_eof"):
                reader.feed_data(b"x")

        run(main())

    def test_lines(self, run: Run) -> None:
        async def main() -> None:
            reader = streams.StreamReader()
            reader.feed_data(b"one\ntw")
            reader.feed_data(b"o\nthr")
            waiting = asyncio.ensure_future(reader.readuntil(b"ee"))
            assert await reader.readline() == b"one\n"
            assert await reader.readline() == b"two\n"
            await settle()
            reader.feed_data(b"e")
            await settle()
            assert not waiting.done()
            reader.feed_data(b"e four\nfive")
            assert await waiting == b"three"
            reader.feed_eof()
            assert [line async for line in reader] == [b" four\n", b"five"]

        run(main())

    @pytest.mark.skipif(sys.version_info < (3, 13), reason="as the standard library's")
    def test_several_separators(self, run: Run) -> None:
        async def main() -> None:
            reader = streams.StreamReader()
            reader.feed_data(b"1;22\r\n333\n")
            assert await reader.readuntil((b"\r\n", b";")) == b"1;"
            assert await reader.readuntil((b"\n", b"\r\n")) == b"22\r\n"
            assert await reader.readuntil((b"3\n", b"\n")) == b"333\n"
            for wrong in ((), (b"x", b"")):
                with pytest.raises(ValueError, match="Separator should"):
                    await reader.readuntil(wrong)

        run(main())

    def test_errors_are_the_standard_ones(self, run: Run) -> None:
        async def main() -> None:
            for kind in (streams, asyncio.streams):
                reader = kind.StreamReader(limit=4)
                reader.feed_data(b"0123456789")
                with pytest.raises(asyncio.LimitOverrunError, match="not found, and chunk exceed") as overrun:
                    await reader.readuntil(b"\n")
                assert overrun.value.consumed == 10
                reader.feed_data(b"\nrest")
                with pytest.raises(asyncio.LimitOverrunError, match="found, but chunk is longer") as overrun:
                    await reader.readuntil(b"\n")
                assert overrun.value.consumed == 10
                with pytest.raises(ValueError, match="longer than limit"):
                    await reader.readline()
                assert await reader.read(10) == b"rest"
                reader.feed_data(b"ab")
                reader.feed_eof()
                with pytest.raises(asyncio.IncompleteReadError) as incomplete:
                    await reader.readexactly(3)
                assert (incomplete.value.partial, incomplete.value.expected) == (b"ab", 3)
                with pytest.raises(asyncio.IncompleteReadError) as incomplete:
                    await reader.readuntil(b"x")
                assert (incomplete.value.partial, incomplete.value.expected) == (b"", None)
                with pytest.raises(ValueError, match="can not be less than zero"):
                    await reader.readexactly(-1)
                with pytest.raises(ValueError, match="at least one-byte"):
                    await reader.readuntil(b"")
                reader.set_exception(OSError("gone"))
                with pytest.raises(OSError, match="gone"):
                    await reader.read(1)

        run(main())

    def test_one_waiter_only(self, run: Run) -> None:
        async def main() -> None:
            reader = streams.StreamReader()
            first = asyncio.ensure_future(reader.readline())
            await settle()
            with pytest.raises(
                RuntimeError, match=r"read\(\) called while another coroutine is already waiting"
            ):
                await reader.read(1)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert reader._waiter is None  # type: ignore[attr-defined]
            reader.feed_data(b"x")
            assert await reader.read(1) == b"x"

        run(main())

    def test_what_is_shown_is_the_buffer(self, run: Run) -> None:
        async def main() -> None:
            reader: Any = streams.StreamReader()
            reader.feed_data(b"abc")
            shown = reader._buffer
            assert shown == b"abc"
            reader.feed_data(b"def")
            assert shown == b"abcdef"
            del shown[:2]
            assert await reader.read(3) == b"cde"
            shown.clear()
            del shown
            assert not reader._buffer
            reader.feed_data(b"xyz")
            assert await reader.read(10) == b"xyz"

        run(main())

    def test_subclasses_are_asked(self, run: Run) -> None:
        calls = []

        class Counting(streams.StreamReader):
            async def readuntil(self, separator: Any = b"\n") -> bytes:
                calls.append(separator)
                return await super().readuntil(separator)

            def feed_data(self, data: Any) -> None:
                calls.append(data)
                super().feed_data(data)

        async def main() -> None:
            reader = Counting(limit=10)
            protocol = streams.StreamReaderProtocol(reader)
            protocol.data_received(b"line\n")
            assert await reader.readline() == b"line\n"
            assert calls == [b"line\n", b"\n"]

        run(main())

    def test_a_paused_transport_goes_on(self, run: Run) -> None:
        class Transport:
            paused = False

            def pause_reading(self) -> None:
                self.paused = True

            def resume_reading(self) -> None:
                self.paused = False

        async def main() -> None:
            transport, reader = Transport(), streams.StreamReader(limit=10)
            reader.set_transport(transport)  # type: ignore[arg-type]
            reader.feed_data(bytes(20))
            assert not transport.paused
            reader.feed_data(bytes(1))
            assert transport.paused
            await reader.readexactly(10)
            assert transport.paused
            await reader.readexactly(1)
            assert not transport.paused
            reader.feed_data(bytes(20))
            assert transport.paused
            more = asyncio.ensure_future(reader.readexactly(31))
            await settle()
            assert not transport.paused
            reader.feed_data(bytes(1))
            assert len(await more) == 31

        run(main())


class TestConnections:
    @pytest.mark.parametrize("kind", [streams, asyncio.streams], ids=["ours", "theirs"])
    def test_echo(self, run: Run, kind: Any) -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(70_000):
                writer.write(data)
                await writer.drain()
            writer.close()
            await writer.wait_closed()

        async def main() -> None:
            server = await kind.start_server(echo, "127.0.0.1", 0)
            reader, writer = await kind.open_connection(*server.sockets[0].getsockname())
            for size in (1, 1000, 100_000, 3_000_000):
                data = bytes(range(256)) * (size // 256) + bytes(size % 256)
                writer.write(data)
                assert await reader.readexactly(size) == data
            writer.writelines([b"a", bytearray(b"b"), memoryview(b"c")])
            writer.write_eof()
            assert await reader.read() == b"abc"
            await closed(writer)
            server.close()
            await server.wait_closed()

        run(main())

    def test_unix(self, run: Run, tmp_path: Path) -> None:
        async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.readline()).upper())
            await closed(writer)

        async def main() -> None:
            path = tmp_path / "socket"
            server = await streams.start_unix_server(upper, path)
            reader, writer = await streams.open_unix_connection(path)
            writer.write(b"hello\n")
            assert await reader.read() == b"HELLO\n"
            await closed(writer)
            server.close()
            await server.wait_closed()

        run(main())

    def test_drain_waits_for_a_slow_reader(self, run: Run) -> None:
        async def main() -> None:
            _reader, writer, other, back, server = await connected()
            total = 8_000_000
            writer.write(bytes(total))
            draining = [asyncio.ensure_future(writer.drain()) for _ in range(3)]
            await settle()
            assert not any(task.done() for task in draining)
            draining.pop().cancel()
            assert len(await other.readexactly(total)) == total
            await asyncio.gather(*draining)
            await closed(writer, back)
            server.close()

        run(main())

    def test_drain_after_a_reset(self, run: Run) -> None:
        async def main() -> None:
            _reader, writer, _other, back, server = await connected()
            back.transport.abort()

            async def write_on() -> None:
                while True:
                    writer.write(bytes(100_000))
                    await writer.drain()

            with pytest.raises(ConnectionError):
                await write_on()
            writer.close()
            server.close()

        run(main())

    def test_a_forgotten_writer_is_reported(self, run: Run) -> None:
        async def main() -> None:
            reader, writer, other, back, server = await connected()
            gone = weakref.ref(writer)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                del writer
                gc.collect()
                assert gone() is None
            assert any("unclosed <StreamWriter" in str(warning.message) for warning in caught)
            assert await other.read() == b""
            await closed(back)
            assert await reader.read() == b""
            server.close()

        run(main())

    def test_callbacks_that_fail_are_reported(self) -> None:
        reports: list[dict[str, Any]] = []

        def at_once(_reader: Any, _writer: Any) -> None:
            raise ZeroDivisionError

        async def later(_reader: Any, _writer: Any) -> None:
            await asyncio.sleep(0)
            raise ZeroDivisionError

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reports.append(context))
            for callback in (at_once, later):
                server = await streams.start_server(callback, "127.0.0.1", 0)
                reader, writer = await streams.open_connection(*server.sockets[0].getsockname())
                assert await reader.read() == b""
                await closed(writer)
                server.close()
                await server.wait_closed()

        loop = EventLoop()
        loop.run_until_complete(main())
        loop.close()
        assert [report["message"] for report in reports] == ["Unhandled exception in client_connected_cb"] * 2
        assert all(isinstance(report["exception"], ZeroDivisionError) for report in reports)

    def test_nothing_is_left(self, run: Run) -> None:
        async def main() -> None:
            reader, writer, other, back, server = await connected()
            watched = [weakref.ref(thing) for thing in (reader, writer, other, back)]
            waiting = asyncio.ensure_future(reader.readline())
            back.close()
            assert await waiting == b""
            await closed(writer, back)
            server.close()
            await server.wait_closed()
            del reader, writer, other, back, waiting
            await settle()
            gc.collect()
            assert [thing() for thing in watched] == [None] * 4

        run(main())


def test_repr() -> None:
    loop = EventLoop()
    reader = streams.StreamReader(limit=10, loop=loop)
    reader.feed_data(b"data")
    assert repr(reader) == "<StreamReader 4 bytes limit=10>"
    loop.close()
    with pytest.raises(ValueError, match="Limit cannot be <= 0"):
        streams.StreamReader(limit=0, loop=loop)
    with pytest.raises(AssertionError):
        streams.StreamWriter(mock.Mock(), None, object(), loop)  # type: ignore[arg-type]
