"""Datagram transports: UDP and UNIX."""

import asyncio
import socket
import sys
from typing import Any

import pytest
from peers import pair, run, turns


class Mailbox(asyncio.DatagramProtocol):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.got: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()
        self.errors: asyncio.Queue[Exception] = asyncio.Queue()
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.calls.append("made")

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.got.put_nowait((data, address))

    def error_received(self, error: Exception) -> None:
        self.errors.put_nowait(error)

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.ended.set_result(error)


async def endpoint(**keywords: Any) -> tuple[Any, Mailbox]:
    return await asyncio.get_running_loop().create_datagram_endpoint(Mailbox, **keywords)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_to_and_fro(host: str) -> None:
    async def main() -> None:
        one, first = await endpoint(local_addr=(host, 0))
        two, second = await endpoint(remote_addr=one.get_extra_info("sockname")[:2])
        assert isinstance(one, asyncio.DatagramTransport)
        assert repr(one).startswith("<_SelectorDatagramTransport fd=")
        assert one.get_extra_info("peername") is None
        assert two.get_extra_info("peername") == one.get_extra_info("sockname")
        for data in (b"bytes", bytearray(b"bytearray"), memoryview(b"view")):
            two.sendto(data)
            assert await first.got.get() == (bytes(data), two.get_extra_info("sockname"))
            one.sendto(data, two.get_extra_info("sockname"))
            assert await second.got.get() == (bytes(data), one.get_extra_info("sockname"))
        for transport, protocol in ((one, first), (two, second)):
            transport.close()
            assert transport.is_closing()
            assert await protocol.ended is None
            await turns(1)
            assert repr(transport).startswith("<_SelectorDatagramTransport closed fd=")

    run(main())


def test_many_in_order() -> None:
    async def main() -> None:
        one, first = await endpoint(local_addr=("127.0.0.1", 0))
        two, _ = await endpoint(remote_addr=one.get_extra_info("sockname"))
        for i in range(100):
            two.sendto(b"%d" % i)
        assert [int((await first.got.get())[0]) for _ in range(100)] == list(range(100))
        one.close()
        two.close()

    run(main())


def test_a_pause_holds_what_comes() -> None:
    class Pausing(Mailbox):
        def datagram_received(self, data: bytes, address: Any) -> None:
            super().datagram_received(data, address)
            transports[0].pause_reading()

    transports: list[Any] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        one, first = await loop.create_datagram_endpoint(Pausing, local_addr=("127.0.0.1", 0))
        transports.append(one)
        two, _ = await endpoint(remote_addr=one.get_extra_info("sockname"))
        for i in range(5):
            two.sendto(b"%d" % i)
        for i in range(5):
            assert (await first.got.get())[0] == b"%d" % i
            await asyncio.sleep(0.005)
            assert first.got.empty()
            one.resume_reading()
        one.close()
        two.close()

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="before 3.13 an empty datagram is not sent")
def test_an_empty_datagram() -> None:
    async def main() -> None:
        one, first = await endpoint(local_addr=("127.0.0.1", 0))
        two, _ = await endpoint(remote_addr=one.get_extra_info("sockname"))
        two.sendto(b"")
        assert (await first.got.get())[0] == b""
        one.close()
        two.close()

    run(main())


def test_errors_reach_the_protocol() -> None:
    async def main() -> None:
        one, _ = await endpoint(local_addr=("127.0.0.1", 0))
        two, second = await endpoint(remote_addr=one.get_extra_info("sockname"))
        one.close()
        await asyncio.sleep(0.01)
        two.sendto(b"nobody is there")
        assert isinstance(await second.errors.get(), ConnectionRefusedError)
        two.sendto(bytes(100_000))
        assert "Message too long" in str(await second.errors.get())
        assert not two.is_closing()
        two.close()

    run(main())


def test_what_is_refused() -> None:
    async def main() -> None:
        one, _ = await endpoint(local_addr=("127.0.0.1", 0))
        two, _ = await endpoint(remote_addr=one.get_extra_info("sockname"))
        with pytest.raises(TypeError, match="data argument must be a bytes-like object, not 'str'"):
            two.sendto("text")
        with pytest.raises(ValueError, match="Invalid address: must be None or"):
            two.sendto(b"x", ("127.0.0.1", 1))
        two.sendto(b"x", one.get_extra_info("sockname"))
        one.close()
        two.close()

    run(main())


def test_a_mistake_in_the_address_ends_it() -> None:
    reports: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
        one, first = await endpoint(local_addr=("127.0.0.1", 0))
        one.sendto(b"x", "nonsense")
        assert isinstance(await first.ended, TypeError)

    run(main())
    assert [report["message"] for report in reports] == ["Fatal write error on datagram transport"]


@pytest.mark.parametrize("ends", [False, True])
def test_flow_control(tmp_path: Any, ends: bool) -> None:
    """A UNIX socket has no room for many that nobody reads."""

    async def main() -> None:
        path = str(tmp_path / "socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            peer.bind(path)
            one, first = await endpoint(remote_addr=path, family=socket.AF_UNIX)
            count = 0
            while "pause" not in first.calls:
                one.sendto(b"%05d" % count + bytes(1000))
                count += 1
            assert one.get_write_buffer_size() > 65536
            assert "write=<polling" in repr(one)
            if ends:
                one.close()
            peer.settimeout(10)
            for i in range(count):
                data = await asyncio.to_thread(peer.recv, 10_000)
                assert int(data[:5]) == i
            if not ends:
                assert first.calls == ["made", "pause", "resume"]
                one.close()
            assert await first.ended is None

    run(main())


def test_abort_forgets_what_waits(tmp_path: Any) -> None:
    async def main() -> None:
        path = str(tmp_path / "socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            peer.bind(path)
            one, first = await endpoint(remote_addr=path, family=socket.AF_UNIX)
            while "pause" not in first.calls:
                one.sendto(bytes(1000))
            one.abort()
            assert one.get_write_buffer_size() == 0
            assert await first.ended is None

    run(main())


def test_an_exception_of_the_protocol_is_reported_and_the_next_comes() -> None:
    reports: list[dict[str, Any]] = []

    class Raises(Mailbox):
        def datagram_received(self, data: bytes, address: Any) -> None:
            super().datagram_received(data, address)
            raise ZeroDivisionError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reports.append(context))
        one, first = await loop.create_datagram_endpoint(Raises, local_addr=("127.0.0.1", 0))
        two, _ = await endpoint(remote_addr=one.get_extra_info("sockname"))
        for data in (b"1", b"2"):
            two.sendto(data)
            assert (await first.got.get())[0] == data
        one.close()
        two.close()
        await turns()

    run(main())
    assert [type(report["exception"]) for report in reports] == [ZeroDivisionError] * 2


def test_a_transport_that_is_dropped_open_warns() -> None:
    async def main() -> None:
        one, first = await endpoint(local_addr=("127.0.0.1", 0))
        one.pause_reading()
        first.calls.clear()
        held = [one]
        del one
        with pytest.warns(ResourceWarning, match="unclosed transport <_SelectorDatagramTransport fd="):
            held.clear()
        stream, _, peer = await pair()
        stream.close()
        peer.close()

    run(main())
