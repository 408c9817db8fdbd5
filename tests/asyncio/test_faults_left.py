"""What is left behind: nothing of a thousand connections, and what `accept` does when the descriptors run out."""

import asyncio
import gc
import os
import resource
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty import SECONDS
from secured import certificate, serving, trusting
from sides import SIDES, Reports, new_loop

__all__ = ["certificate", "serving", "trusting"]  # fixtures
# PLAIT_LEAK_CONNECTIONS=100000 makes a soak of it, of some minutes.
CONNECTIONS = int(os.environ.get("PLAIT_LEAK_CONNECTIONS", "1000"))
pytestmark = [pytest.mark.parametrize("side", SIDES.values(), ids=SIDES), pytest.mark.timeout(60 + CONNECTIONS // 30)]


@pytest.fixture
def loop(side: Any) -> Iterator[Any]:
    with new_loop(side) as loop:
        yield loop


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("secured", [False, True], ids=["tcp", "tls"])
def test_connections_leave_nothing_behind(
    side: Any, loop: Any, secured: bool, serving: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """Each is opened, used, and ended in one of four ways; then descriptors, tasks and memory are as before."""
    Reports(loop)
    serving.num_tickets = 0  # else OpenSSL keeps a session for each connection
    options: dict[str, Any] = {"ssl": trusting, "server_hostname": "localhost"} if secured else {}

    async def serve(reader: Any, writer: Any) -> None:
        try:
            while data := await reader.read(100):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    async def talks_nonsense(address: tuple[str, int]) -> None:
        reader, writer = await side.open_connection(*address)
        writer.write(b"neither a greeting nor a record")
        await reader.read()
        writer.close()

    async def use(address: tuple[str, int], number: int) -> None:
        if secured and number % 4 == 2:
            await talks_nonsense(address)
            return
        reader, writer = await side.open_connection(*address, **options)
        writer.write(b"%d\n" % number)
        assert await reader.readline() == b"%d\n" % number
        match number % 4:
            case 0:
                writer.close()
                await writer.wait_closed()
            case 1:
                writer.transport.abort()
            case 2:
                writer.write_eof()
                assert await reader.read() == b""
                writer.close()
            case 3:
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                writer.close()

    async def many(addresses: list[tuple[str, int]], count: int) -> tuple[int, int, int]:
        for start in range(0, count, 50):
            address = addresses[start // 50 % len(addresses)]
            await asyncio.gather(*[use(address, number) for number in range(start, start + 50)])
        end = loop.time() + SECONDS
        while len(side.all_tasks()) > 1 and loop.time() < end:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        gc.collect()
        with open("/proc/self/statm", "rb") as statm:
            pages = int(statm.read().split()[1])
        return open_descriptors(), len(side.all_tasks()), pages * resource.getpagesize()

    async def main() -> None:
        # Each address has ports of its own: a closed connection keeps the client's for a minute.
        hosts = [f"127.0.0.{number}" for number in range(1, 9)]
        server = await side.start_server(serve, hosts, 0, ssl=serving if secured else None)
        addresses = [listening.getsockname() for listening in server.sockets]
        try:
            before = await many(addresses, 1000)
            after = await many(addresses, CONNECTIONS)
        finally:
            server.close()
            await server.wait_closed()
        assert after[0] <= before[0]
        assert after[1] == before[1] == 1
        # What the allocator keeps is some megabytes; what asyncio itself keeps is not judged here.
        assert side is asyncio or after[2] - before[2] < 30 * CONNECTIONS + (8 << 20)

    loop.run_until_complete(main())


# In a process of its own: few descriptors for it, many connections from here.
_FEW_DESCRIPTORS = """
import asyncio, importlib, resource, sys, time
side = importlib.import_module(sys.argv[1])
reports = []

async def serve(reader, writer):
    while data := await reader.read(100):
        writer.write(data)
        await writer.drain()
    writer.close()

async def main():
    loop = side.get_running_loop()
    loop.set_exception_handler(lambda _, context: reports.append(context["message"]))
    server = await side.start_server(serve, "127.0.0.1", 0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)   # all have connected
    cpu = time.process_time()
    await side.sleep(0.5)
    print("busy" if time.process_time() - cpu > 0.25 else "calm", len(set(reports)), reports[0], flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    server.close()

side.run(main())
"""


def test_descriptors_run_out_in_accept(side: Any, tmp_path: Path) -> None:
    """The server reports it, does not spin, and takes the rest once there is room."""
    with subprocess.Popen(
        [sys.executable, "-c", _FEW_DESCRIPTORS, side.__name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin
        assert server.stdout
        try:
            port = int(server.stdout.readline())
            peers = [socket.create_connection(("127.0.0.1", port), timeout=SECONDS) for _ in range(60)]
            for peer in peers:
                peer.sendall(b"hello")
            assert peers[0].recv(10) == b"hello"
            server.stdin.write("\n")
            server.stdin.flush()
            assert server.stdout.readline().strip() == "calm 1 socket.accept() out of system resource"
            # One after the other leaves: in the end all have been served.
            for peer in peers[1:]:
                peers[0].close()
                peers[0] = peer
                assert peer.recv(10) == b"hello"
            peers[-1].close()
            server.stdin.write("\n")
            server.stdin.close()
            assert server.wait(SECONDS) == 0
        finally:
            server.kill()
