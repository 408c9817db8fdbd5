"""Both ends of a connection: a transport of ours with a protocol that notes what it is told, and a plain socket."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from plait.asyncio import EventLoop

SECONDS = 20


def run(main: Coroutine[Any, Any, Any], debug: bool = False) -> Any:
    with asyncio.Runner(loop_factory=EventLoop, debug=debug) as runner:
        return runner.run(asyncio.wait_for(main, SECONDS))


class Recorder(asyncio.Protocol):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.data = b""
        self.transport: Any = None
        self.changed = asyncio.Event()
        self.ended = asyncio.get_running_loop().create_future()
        self.keep_open = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.changed.set()

    def eof_received(self) -> bool:
        self.calls.append("eof")
        self.changed.set()
        return self.keep_open

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, error: BaseException | None) -> None:
        self.calls.append("lost")
        self.ended.set_result(error)

    async def got(self, count: int) -> bytes:
        while len(self.data) < count:
            self.changed.clear()
            await self.changed.wait()
        return self.data


async def pair(make: Callable[[], Any] = Recorder) -> tuple[Any, Any, socket.socket]:
    """A transport, its protocol and the peer: a blocking socket of this thread."""
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    transport, protocol = await asyncio.get_running_loop().create_connection(make, sock=ours)
    peer.settimeout(SECONDS)
    return transport, protocol, peer


async def tcp_pair(make: Callable[[], Any] = Recorder) -> tuple[Any, Any, socket.socket]:
    """The same over TCP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport, protocol = await asyncio.get_running_loop().create_connection(
            make, *listener.getsockname()
        )
        peer, _ = listener.accept()
    peer.settimeout(SECONDS)
    return transport, protocol, peer


async def taken(peer: socket.socket, count: int) -> None:
    """Has the peer read so much."""
    while count > 0:
        count -= len(await asyncio.to_thread(peer.recv, min(count, 100_000)))


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
