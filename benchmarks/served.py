"""What wrk asks for: a small GET, as an ASGI app for uvicorn, and on aiohttp as `python -m benchmarks.served PORT`."""

import sys
from typing import Any

BODY = b'{"strands": ["threads", "processes", "coroutines"]}'


async def app(scope: dict[str, Any], _receive: Any, send: Any) -> None:
    """The ASGI app: one answer to every request."""
    if scope["type"] != "http":
        return
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


def main() -> None:
    """The same answer from aiohttp."""
    from aiohttp import web

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=BODY, content_type="application/json")

    served = web.Application()
    served.router.add_get("/", answer)
    web.run_app(served, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)


if __name__ == "__main__":
    main()
