"""TLS with peers that speak garbage, never answer, reset, or never say goodbye."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from faulty import SECONDS, Served, reset
from sides import SIDES, Reports, new_loop

pytestmark = [pytest.mark.parametrize("side", SIDES.values(), ids=SIDES), pytest.mark.timeout(60)]


@pytest.fixture
def loop(side: Any) -> Iterator[Any]:
    with new_loop(side) as loop:
        yield loop


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
