"""The loop's socket methods, on sockets of the program's own."""

import asyncio
import os
import socket
import ssl
from typing import Any

import pytest
from peers import pair, run, turns

MANY = 4_000_000


def sockets() -> tuple[socket.socket, socket.socket]:
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    peer.setblocking(False)
    return ours, peer


def datagrams() -> tuple[socket.socket, socket.socket]:
    both = []
    for _ in range(2):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        both.append(sock)
    return both[0], both[1]


@pytest.mark.parametrize("waits", [False, True])
def test_recv(waits: bool) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, peer = sockets()
        with ours, peer:
            if waits:
                loop.call_later(0.01, peer.send, b"hello")
            else:
                peer.send(b"hello")
            assert await loop.sock_recv(ours, 3) == b"hel"
            assert await loop.sock_recv(ours, 1_000_000) == b"lo"
            peer.send(b"again")
            buffer = bytearray(10)
            assert await loop.sock_recv_into(ours, buffer) == 5
            assert buffer == b"again" + bytes(5)
            if waits:
                loop.call_later(0.01, peer.close)
            else:
                peer.close()
            assert await loop.sock_recv(ours, 10) == b""
            assert await loop.sock_recv_into(ours, buffer) == 0

    run(main())


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_sendall_and_recv_of_much(kind: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, peer = sockets()
        data = os.urandom(1000) * (MANY // 1000)
        with ours, peer:
            sending = asyncio.create_task(loop.sock_sendall(ours, kind(data)))
            received = bytearray()
            while len(received) < MANY:
                received += await loop.sock_recv(peer, 100_000)
            assert await sending is None
            assert received == data
            assert await loop.sock_sendall(ours, kind(b"")) is None

    run(main())


@pytest.mark.parametrize("waits", [False, True])
def test_datagrams(waits: bool) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, peer = datagrams()
        with ours, peer:

            async def send(data: bytes) -> None:
                if waits:
                    await asyncio.sleep(0.01)
                assert await loop.sock_sendto(peer, data, ours.getsockname()) == len(data)

            for data in (b"one", b""):
                sending = asyncio.create_task(send(data))
                if not waits:
                    await sending
                assert await loop.sock_recvfrom(ours, 100) == (data, peer.getsockname())
                await sending
            buffer = bytearray(5)
            await send(b"three")
            assert await loop.sock_recvfrom_into(ours, buffer) == (5, peer.getsockname())
            await send(b"four")
            assert await loop.sock_recvfrom_into(ours, buffer, 2) == (2, peer.getsockname())
            assert buffer == b"foree"
            with pytest.raises(TypeError):
                await loop.sock_sendto(peer, b"x", 5)
            with pytest.raises(OSError, match="Message too long"):
                await loop.sock_sendto(peer, bytes(100_000), ours.getsockname())
            with pytest.raises(ValueError, match="nbytes is greater than the length of the buffer"):
                await loop.sock_recvfrom_into(ours, buffer, 6)

    run(main())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_connect_and_accept(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server((host, 0), family=family) as listening, socket.socket(family) as ours:
            listening.setblocking(False)
            ours.setblocking(False)
            accepting = asyncio.create_task(loop.sock_accept(listening))
            await turns()
            assert await loop.sock_connect(ours, (host, listening.getsockname()[1])) is None
            accepted, address = await accepting
            with accepted:
                assert address == ours.getsockname()
                assert accepted.gettimeout() == 0
                assert accepted.family == family
                assert not os.get_inheritable(accepted.fileno())
                await loop.sock_sendall(accepted, b"hello")
                assert await loop.sock_recv(ours, 100) == b"hello"

    run(main())


def test_unix_sockets(tmp_path: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        path = str(tmp_path / "socket")
        with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as ours:
            listening.setblocking(False)
            ours.setblocking(False)
            listening.bind(path)
            listening.listen()
            await loop.sock_connect(ours, path)
            accepted, address = await loop.sock_accept(listening)
            assert address == ""
            accepted.close()

    run(main())


def test_nobody_listens() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            address = unused.getsockname()
            with socket.socket() as ours:
                ours.setblocking(False)
                with pytest.raises(ConnectionRefusedError) as caught:
                    await loop.sock_connect(ours, address)
        assert str(caught.value) == f"[Errno 111] Connect call failed {address}"

    run(main())


def test_nothing_happens_before_it_is_awaited() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, peer = sockets()
        with ours, peer:
            peer.send(b"x")
            receiving = loop.sock_recv(ours, 1)
            assert asyncio.iscoroutine(receiving)
            receiving.close()
            assert ours.recv(1) == b"x"

    run(main())


def test_who_is_cancelled_takes_nothing_and_watches_no_more() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, peer = sockets()
        with ours, peer:
            for late in (False, True):
                receiving = asyncio.create_task(loop.sock_recv(ours, 100))
                await turns()
                assert loop._selector.get_map()
                if late:
                    peer.send(b"data")
                    await asyncio.sleep(0.01) if not late else None
                receiving.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await receiving
                assert not any(key.fd == ours.fileno() for key in loop._selector.get_map().values())
            assert await loop.sock_recv(ours, 100) == b"data"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(loop.sock_recv(ours, 100), 0.01)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await loop.sock_sendall(ours, bytes(MANY))

    run(main())


def test_who_watches_last_has_it() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, peer = sockets()
        with ours, peer:
            first = asyncio.create_task(loop.sock_recv(ours, 100))
            await turns()
            second = asyncio.create_task(loop.sock_recv(ours, 100))
            await turns()
            first.cancel()
            await turns()
            peer.send(b"x")
            assert await second == b"x"
            called = asyncio.Event()
            third = asyncio.create_task(loop.sock_recv(ours, 100))
            await turns()
            loop.add_reader(ours, called.set)
            third.cancel()
            await turns()
            peer.send(b"y")
            await called.wait()
            loop.remove_reader(ours)

    run(main())


def test_both_directions_at_once() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, peer = sockets()
        with ours, peer:
            sending = asyncio.create_task(loop.sock_sendall(ours, bytes(MANY)))
            receiving = asyncio.create_task(loop.sock_recv(ours, 10))
            await turns()
            await loop.sock_sendall(peer, b"x")
            assert await receiving == b"x"
            count = 0
            while count < MANY:
                count += len(await loop.sock_recv(peer, 1_000_000))
            await sending

    run(main())


def test_errors() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, peer = sockets()
        with ours, peer:
            with pytest.raises(ValueError, match="negative buffersize in recv"):
                await loop.sock_recv(ours, -1)
            with pytest.raises(BufferError):
                await loop.sock_recv_into(ours, b"constant")
            with pytest.raises(TypeError):
                await loop.sock_sendall(ours, "text")
            peer.close()
            with pytest.raises(BrokenPipeError):
                await loop.sock_sendall(ours, b"x")
        for closed in (loop.sock_recv(ours, 1), loop.sock_sendall(ours, b"x"), loop.sock_accept(ours)):
            with pytest.raises(OSError, match="Bad file descriptor"):
                await closed

    run(main())


def test_a_socket_that_blocks_is_refused_in_debug_mode() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            for call in (
                loop.sock_recv(sock, 1),
                loop.sock_recv_into(sock, bytearray(1)),
                loop.sock_sendall(sock, b"x"),
                loop.sock_connect(sock, ("127.0.0.1", 1)),
                loop.sock_accept(sock),
            ):
                with pytest.raises(ValueError, match="the socket must be non-blocking"):
                    await call

    run(main(), debug=True)


def test_tls_sockets_are_refused() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        with context.wrap_socket(socket.socket(), do_handshake_on_connect=False) as sock:
            for call in (loop.sock_recv(sock, 1), loop.sock_sendall(sock, b"x"), loop.sock_accept(sock)):
                with pytest.raises(TypeError, match="Socket cannot be of type SSLSocket"):
                    await call

    run(main())


def test_a_class_of_the_program_s_own_is_asked() -> None:
    class Loud(socket.socket):
        def recv(self, *args: Any) -> bytes:
            return super().recv(*args).upper()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        plain, peer = sockets()
        with Loud(plain.family, plain.type, plain.proto, plain.detach()) as ours, peer:
            ours.setblocking(False)
            loop.call_later(0.01, peer.send, b"quiet")
            assert await loop.sock_recv(ours, 100) == b"QUIET"
            received = asyncio.create_task(loop.sock_recv(peer, 100))
            await loop.sock_sendall(ours, b"x")
            assert await received == b"x"

    run(main())


def test_a_descriptor_of_a_transport() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, _, peer = await pair()
        with peer:
            with pytest.raises(RuntimeError, match="File descriptor .* is used by transport"):
                await loop.sock_recv(transport._sock, 1)
            transport.close()

    run(main())


@pytest.mark.parametrize("over", ["transport", "socket"])
def test_sendfile(tmp_path: Any, over: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(1000) * 3000)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, protocol, peer = await pair()
        peer.setblocking(False)

        async def receive(count: int) -> bytes:
            received = bytearray()
            while len(received) < count:
                received += await loop.sock_recv(peer, 1_000_000)
            return bytes(received)

        with path.open("rb") as file, peer:
            expected = (
                b"before" + path.read_bytes()[1000:] if over == "transport" else path.read_bytes()[1000:]
            )
            receiving = asyncio.create_task(receive(len(expected)))
            if over == "transport":
                transport.write(b"bef")
                transport.write(b"ore")
                sent = await loop.sendfile(transport, file, 1000)
            else:
                ours, other = sockets()
                receiving.cancel()
                peer, old = other, peer
                old.close()
                receiving = asyncio.create_task(receive(len(expected)))
                with ours:
                    sent = await loop.sock_sendfile(ours, file, 1000)
            assert sent == 2_999_000
            assert file.tell() == 3_000_000
            assert await receiving == expected
            transport.close()
            peer.close()

    run(main())
