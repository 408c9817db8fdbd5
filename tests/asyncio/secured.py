"""TLS with a peer: a certificate, contexts for both sides, a loop, protocols that note what they are told."""

import asyncio
import ssl
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from plait.asyncio.loop import EventLoop

Run = Callable[[Coroutine[Any, Any, Any]], Any]
BIG = 3_000_000  # bytes: more than every buffer on the way


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost, signed by itself, with its key."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    key = path.with_name("key.pem")
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    about = ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*made, *about, "-keyout", key, "-out", path], check=True, capture_output=True)
    path.write_text(path.read_text() + key.read_text())
    return path


@pytest.fixture
def serving(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate)


@pytest.fixture
def reports() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def run(reports: list[dict[str, Any]]) -> Iterator[Run]:
    loop = EventLoop()
    loop.set_exception_handler(lambda _loop, context: reports.append(context))
    try:
        yield lambda coroutine: loop.run_until_complete(asyncio.wait_for(coroutine, 30))
    finally:
        loop.run_until_complete(ended(loop))
        loop.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(100_000):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


async def ended(loop: Any) -> None:
    """Wait for the other ends of the connections to see that they are over."""
    async with asyncio.timeout(5):
        while any(transport._sock for transport in [*loop._transports.values()]):
            await asyncio.sleep(0.002)


class Recorder(asyncio.Protocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.told: list[Any] = []
        self.data = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        self.data += data

    def eof_received(self) -> None:
        self.told.append("eof")

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.told.append(("lost", type(error).__name__ if error else None))

    @property
    def lost(self) -> bool:
        return any(isinstance(told, tuple) for told in self.told)


class Buffered(Recorder, asyncio.BufferedProtocol):
    """The same through a buffer of its own, too small for a record."""

    def __init__(self, size: int = 1000) -> None:
        Recorder.__init__(self)
        self.buffer = bytearray(size)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data += self.buffer[:nbytes]
