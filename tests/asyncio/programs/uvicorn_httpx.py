"""uvicorn serves an ASGI app to httpx in the same loop: concurrency, streams both ways, lifespan, a clean end."""

import asyncio
import hashlib

import httpx
import seen
import uvicorn

PARTS = [bytes([number]) * 50_000 for number in range(20)]
events: list[str] = []


async def app(scope, receive, send) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            events.append(message["type"])
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    path = scope["path"]
    if path == "/digest":
        digest, more = hashlib.sha256(), True
        while more:
            message = await receive()
            digest.update(message.get("body", b""))
            more = message.get("more_body", False)
        body = [digest.hexdigest().encode()]
    elif path == "/stream":
        body = PARTS
    elif path == "/error":
        raise RuntimeError("as it happens")
    else:
        await asyncio.sleep(0.002)
        body = [path.encode() + b"?" + scope["query_string"]]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-strand", b"coroutine")]})
    for part in body:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def ask(port: int) -> None:
    limits = httpx.Limits(max_connections=20)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=30) as client:
        answers = await asyncio.gather(
            *[client.get(f"/item/{number}", params={"q": number}) for number in range(200)]
        )
        assert {answer.status_code for answer in answers} == {200}
        print("answers:", answers[7].text, answers[199].text, answers[0].headers["x-strand"])
        async with client.stream("GET", "/stream") as response:
            read = b"".join([chunk async for chunk in response.aiter_bytes()])
        print("streamed:", read == b"".join(PARTS))

        async def upload():
            for part in PARTS:
                yield part
                await asyncio.sleep(0)

        answer = await client.post("/digest", content=upload())
        print("digest:", answer.text == hashlib.sha256(b"".join(PARTS)).hexdigest())
        print("error:", (await client.get("/error")).status_code)


class Server(uvicorn.Server):
    async def startup(self, sockets=None) -> None:
        await super().startup(sockets)
        self.ready.set()


async def main() -> None:
    seen.loop()
    for http in ("h11", "httptools"):
        config = uvicorn.Config(app, port=0, log_level="critical", http=http, lifespan="on")
        server = Server(config)
        server.ready = asyncio.Event()
        serving = asyncio.create_task(server.serve())
        await server.ready.wait()
        print(http, "is up")
        await ask(server.servers[0].sockets[0].getsockname()[1])
        server.should_exit = True
        await serving
        print(http, "has ended:", events)
        events.clear()


asyncio.run(main())
