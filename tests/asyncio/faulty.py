"""What tests of faults serve to bad peers: a protocol that writes down what happens to it, and a server of them."""

import asyncio
import socket
import struct
from typing import Any

SECONDS = 20


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
