"""The two sides that a test of the loop runs on: asyncio, which shows that the test is right, and plait."""

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import plait.asyncio

SIDES = {"asyncio": asyncio, "plait": plait.asyncio}


class Reports:
    """An exception handler that keeps what it is told."""

    def __init__(self, loop: Any) -> None:
        self.contexts: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _loop, context: self.contexts.append(context))

    @property
    def messages(self) -> list[str]:
        return [context["message"] for context in self.contexts]

    @property
    def errors(self) -> list[str]:
        return [repr(context.get("exception")) for context in self.contexts]


@contextmanager
def new_loop(side: Any) -> Iterator[Any]:
    """A loop of a side, closed in order at the end."""
    loop = side.new_event_loop()
    try:
        yield loop
    finally:
        if not loop.is_closed():
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
        gc.collect()
