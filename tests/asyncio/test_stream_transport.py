"""Streams: what a protocol is told and when, and what a transport does with what is written."""

import asyncio
import contextlib
import socket
import threading

import pytest
from peers import Recorder, pair, run, taken, tcp_pair, turns


def test_data_come_and_go() -> None:
    async def main() -> None:
        transport, protocol, peer = await tcp_pair()
        with peer:
            peer.sendall(b"hello")
            assert await protocol.got(5) == b"hello"
            transport.write(b"world")
            assert peer.recv(100) == b"world"
            transport.close()
            assert await protocol.ended is None
            await turns(1)
            assert peer.recv(1) == b""
        assert protocol.calls == ["made", "lost"]

    run(main())


def test_it_is_a_transport_and_says_what_it_knows() -> None:
    async def main() -> None:
        transport, protocol, peer = await tcp_pair()
        with peer:
            assert isinstance(transport, asyncio.Transport)
            assert not isinstance(transport, asyncio.DatagramTransport)
            assert transport.get_extra_info("sockname") == peer.getpeername()
            assert transport.get_extra_info("peername") == peer.getsockname()
            sock = transport.get_extra_info("socket")
            assert type(sock).__name__ == "TransportSocket"
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert transport.get_extra_info("nothing") is None
            assert transport.get_extra_info("nothing", 5) == 5
            assert transport.get_protocol() is protocol
            fd = sock.fileno()
            assert repr(transport) == (
                f"<_SelectorSocketTransport fd={fd} read=polling write=<idle, bufsize=0>>"
            )
            transport.close()
            assert repr(transport).startswith(f"<_SelectorSocketTransport closing fd={fd} read=idle")
            await protocol.ended
            await turns(1)
            assert repr(transport) == f"<_SelectorSocketTransport closed fd={fd}>"

    run(main())


def test_write_takes_what_the_standard_library_takes() -> None:
    async def main() -> None:
        transport, _, peer = await pair()
        with peer:
            for data in (b"bytes", bytearray(b"bytearray"), memoryview(b"memoryview")[6:]):
                transport.write(data)
                await turns(2)
                assert peer.recv(100) == bytes(data)
            transport.write(b"")
            for wrong in ("text", None, 5, [b"list"]):
                with pytest.raises(TypeError, match=f"not '{type(wrong).__name__}'"):
                    transport.write(wrong)
            transport.writelines([b"a", bytearray(b"b"), b"", memoryview(b"c")])
            transport.writelines([])
            assert peer.recv(100) == b"abc"
            with pytest.raises(TypeError):
                transport.writelines([b"a", "b"])
            transport.close()

    run(main())


def test_what_is_written_leaves_in_order() -> None:
    """Large and small, at once, corked and queued."""

    async def main() -> None:
        transport, protocol, peer = await pair()
        pieces = [
            bytes([i % 251]) * size
            for i, size in enumerate([1, 7, 100_000, 3, 2_000_000, 1, 1, 70_000, 5] * 3)
        ]
        received = bytearray()

        def read() -> None:
            while data := peer.recv(65536):
                received.extend(data)

        reader = threading.Thread(target=read)
        reader.start()
        for i, piece in enumerate(pieces):
            if i % 5 == 0:
                transport.writelines([piece[: len(piece) // 2], piece[len(piece) // 2 :]])
            else:
                transport.write(piece)
            if i % 3 == 0:
                await asyncio.sleep(0)
        transport.close()
        await protocol.ended
        reader.join()
        peer.close()
        assert bytes(received) == b"".join(pieces)

    run(main())


def test_the_first_write_leaves_at_once_and_the_rest_of_the_turn_together() -> None:
    async def main() -> None:
        transport, _, peer = await pair()
        with peer:
            peer.setblocking(False)
            transport.write(b"1")
            assert peer.recv(100) == b"1"
            for data in (b"2", bytearray(b"3"), b"4"):
                transport.write(data)
            assert transport.get_write_buffer_size() == 3
            with pytest.raises(BlockingIOError):
                peer.recv(100)
            await turns(2)
            assert transport.get_write_buffer_size() == 0
            assert peer.recv(100) == b"234"
            transport.close()

    run(main())


@pytest.mark.parametrize("end", ["close", "abort", "write_eof"])
def test_what_is_corked_is_not_lost_at_the_end(end: str) -> None:
    async def main() -> None:
        transport, _, peer = await pair()
        with peer:
            transport.write(b"1")
            transport.write(b"2")
            getattr(transport, end)()
            assert peer.recv(100) == b"12"
            transport.abort()

    run(main())


def test_much_is_not_corked() -> None:
    async def main() -> None:
        transport, _, peer = await pair()
        with peer:
            peer.setblocking(False)
            transport.write(b"1")
            transport.write(b"2" * 100_000)
            assert len(peer.recv(200_000)) == 100_001
            transport.close()

    run(main())


def test_flow_control() -> None:
    async def main() -> None:
        transport, protocol, peer = await pair()
        with peer:
            assert transport.get_write_buffer_limits() == (16384, 65536)
            transport.set_write_buffer_limits(high=1000)
            assert transport.get_write_buffer_limits() == (250, 1000)
            transport.set_write_buffer_limits(low=10)
            assert transport.get_write_buffer_limits() == (10, 40)
            transport.set_write_buffer_limits()
            assert transport.get_write_buffer_limits() == (16384, 65536)
            with pytest.raises(ValueError, match=r"high \(1\) must be >= low \(2\) must be >= 0"):
                transport.set_write_buffer_limits(high=1, low=2)
            with pytest.raises(ValueError, match="must be >= 0"):
                transport.set_write_buffer_limits(high=1, low=-1)
            size = 4_000_000
            transport.write(bytes(size))
            assert protocol.calls == ["made", "pause"]
            left = transport.get_write_buffer_size()
            assert 0 < left < size
            assert sum(map(len, transport._buffer)) == left
            await taken(peer, size)
            assert transport.get_write_buffer_size() == 0
            assert protocol.calls == ["made", "pause", "resume"]
            transport.close()

    run(main())


def test_a_peer_that_does_not_read_holds_no_memory_of_the_reader_s() -> None:
    """The stream that reads pauses: what the flood has sent stays with the kernel and with the peer."""

    async def main() -> None:
        transport, protocol, peer = await pair()
        with peer:
            transport.pause_reading()
            assert not transport.is_reading()
            peer.setblocking(False)
            sent = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    sent += peer.send(bytes(100_000))
            await turns()
            assert protocol.data == b""
            transport.resume_reading()
            assert transport.is_reading()
            await protocol.got(sent)
            transport.close()

    run(main())


def test_pausing_within_data_received() -> None:
    class Pausing(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()

    async def main() -> None:
        transport, protocol, peer = await pair(Pausing)
        with peer:
            peer.sendall(b"1")
            await protocol.got(1)
            peer.sendall(b"2")
            await asyncio.sleep(0.02)
            assert protocol.data == b"1"
            transport.resume_reading()
            transport.resume_reading()
            await protocol.got(2)
            transport.close()

    run(main())
