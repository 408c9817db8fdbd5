"""aiohttp, server and client: 300 requests over TLS and without, uploads, streams, time limits, web sockets."""

import asyncio
import hashlib
import ssl

import aiohttp
import seen
import trustme
from aiohttp import web

BLOB = bytes(range(256)) * 4096  # 1 MiB


async def hello(request: web.Request) -> web.Response:
    number = int(request.query["n"])
    await asyncio.sleep(0.001 * (number % 3))
    return web.json_response({"square": number * number, "secure": request.secure})


async def upload(request: web.Request) -> web.Response:
    digest, size = hashlib.sha256(), 0
    async for chunk in request.content.iter_chunked(65536):
        digest.update(chunk)
        size += len(chunk)
    return web.json_response({"size": size, "digest": digest.hexdigest()})


async def stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for start in range(0, len(BLOB), 100_000):
        await response.write(BLOB[start : start + 100_000])
    await response.write_eof()
    return response


async def never(_request: web.Request) -> web.Response:
    await asyncio.sleep(3600)
    raise AssertionError


async def fails(_request: web.Request) -> web.Response:
    raise web.HTTPConflict(text="two strands")


async def chat(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            await socket.send_str(message.data[::-1])
        elif message.type is aiohttp.WSMsgType.BINARY:
            await socket.send_bytes(bytes(reversed(message.data)))
    return socket


async def ask(base: str, session: aiohttp.ClientSession) -> None:
    async def square(number: int) -> tuple[int, bool]:
        async with session.get(f"{base}/hello", params={"n": number}) as response:
            assert response.status == 200
            data = await response.json()
            return data["square"], data["secure"]

    answers = await asyncio.gather(*[square(number) for number in range(300)])
    print(
        "sum of squares:", sum(square for square, _ in answers), "secure:", {secure for _, secure in answers}
    )

    async with session.post(f"{base}/upload", data=BLOB * 4) as response:
        answer = await response.json()
        print("uploaded:", answer["size"], answer["digest"] == hashlib.sha256(BLOB * 4).hexdigest())
    async with session.get(f"{base}/stream") as response:
        print("streamed:", await response.read() == BLOB, response.headers["Transfer-Encoding"])
    async with session.get(f"{base}/fails") as response:
        print("status:", response.status, await response.text())
    async with session.get(f"{base}/nowhere") as response:
        print("status:", response.status)
    try:
        await session.get(f"{base}/never", timeout=aiohttp.ClientTimeout(total=0.2))
    except TimeoutError as error:
        print("never:", isinstance(error, asyncio.TimeoutError))

    async with session.ws_connect(f"{base}/chat") as socket:
        for number in range(100):
            await socket.send_str(f"strand {number}")
            assert await socket.receive_str() == f"strand {number}"[::-1]
        await socket.send_bytes(BLOB)
        print("chat:", await socket.receive_bytes() == BLOB[::-1])
    print("closed with:", socket.close_code)


async def main() -> None:
    seen.loop()
    app = web.Application(client_max_size=1 << 24)
    for handler in (hello, stream, never, fails, chat):
        app.router.add_get(f"/{handler.__name__}", handler)
    app.router.add_post("/upload", upload)
    authority = trustme.CA()
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_side)
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)

    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=5)
    await runner.setup()
    plain = web.TCPSite(runner, "127.0.0.1", 0)
    secure = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_side)
    await plain.start()
    await secure.start()
    plain_port, secure_port = (address[1] for address in runner.addresses)
    connector = aiohttp.TCPConnector(limit=20, ssl=client_side)
    async with aiohttp.ClientSession(connector=connector) as session:
        await ask(f"http://127.0.0.1:{plain_port}", session)
        await ask(f"https://localhost:{secure_port}", session)
    async with aiohttp.ClientSession() as session:
        try:
            await session.get(f"https://localhost:{secure_port}/hello?n=1")
        except aiohttp.ClientConnectorCertificateError as error:
            print("untrusted:", type(error.certificate_error).__name__)
    await runner.cleanup()


asyncio.run(main())
