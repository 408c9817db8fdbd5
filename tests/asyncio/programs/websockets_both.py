"""websockets: echo over TCP and TLS, a broadcast, pings, big and compressed messages, close codes, a slow reader."""

import asyncio
import ssl

import seen
import trustme
from websockets.asyncio.client import connect
from websockets.asyncio.server import broadcast, serve
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK

members = set()


async def handler(socket) -> None:
    match socket.request.path:
        case "/echo":
            async for message in socket:
                await socket.send(message)
        case "/join":
            members.add(socket)
            await socket.wait_closed()
            members.discard(socket)
        case "/refuse":
            await socket.close(4001, "no more strands")
        case "/crash":
            raise ValueError("handler")


async def echo(address: str, **options) -> None:
    async with connect(f"{address}/echo", max_size=None, **options) as socket:
        for number in range(200):
            await socket.send(f"message {number}")
        got = [await socket.recv() for _ in range(200)]
        assert got == [f"message {number}" for number in range(200)]
        big = b"\x00\x01\x02\x03" * 500_000
        await socket.send(big)
        print("echo:", len(got), await socket.recv() == big)
        waiter = await socket.ping()
        print("pong within a second:", await asyncio.wait_for(waiter, 1) < 1)


async def main() -> None:
    seen.loop()
    authority = trustme.CA()
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_side)
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)

    async with (
        serve(handler, "localhost", 0, max_size=None) as plain,
        serve(handler, "localhost", 0, max_size=None, ssl=server_side) as secure,
    ):
        address = f"ws://localhost:{plain.sockets[0].getsockname()[1]}"
        await echo(address)
        await echo(address, compression=None)
        port = next(s.getsockname()[1] for s in secure.sockets if s.family.name == "AF_INET")
        await echo(f"wss://localhost:{port}", ssl=client_side, host="127.0.0.1")

        joined = [await connect(f"{address}/join") for _ in range(50)]
        while len(members) < 50:
            await asyncio.sleep(0.001)
        broadcast(members, "to all")
        print("broadcast:", {await socket.recv() for socket in joined})
        await asyncio.gather(*[socket.close() for socket in joined])
        while members:
            await asyncio.sleep(0.001)

        for path in ("/refuse", "/crash"):
            async with connect(f"{address}{path}") as socket:
                try:
                    await socket.recv()
                except (ConnectionClosedError, ConnectionClosedOK) as error:
                    print(path, error.rcvd.code, error.rcvd.reason)

        async with connect(f"{address}/echo") as socket:
            try:
                async with asyncio.timeout(0.05):
                    await socket.recv()
            except TimeoutError:
                print("nothing came; still open:", (await socket.send("x"), await socket.recv())[1])


import logging  # noqa: E402

logging.getLogger("websockets.server").setLevel(logging.CRITICAL)
asyncio.run(main())
