"""Which loop a program gets: `new_event_loop`, and a policy for programs that set one."""

from __future__ import annotations

import sys
from asyncio import unix_events

from plait.asyncio.loop import EventLoop

__all__ = ["new_event_loop"]


def new_event_loop() -> EventLoop:
    """A new loop of plait's; as `asyncio.new_event_loop`, whatever policy is set."""
    return EventLoop()


if sys.version_info < (3, 16):
    __all__ += ["EventLoopPolicy"]

    class EventLoopPolicy(unix_events._UnixDefaultEventLoopPolicy):
        """A policy that makes plait's loops, for `asyncio.set_event_loop_policy`; as `asyncio.DefaultEventLoopPolicy`.

        Python 3.14 warns of policies and 3.16 has none: `plait.install()`, `plait.asyncio.run` and
        `loop_factory=plait.asyncio.EventLoop` need none.
        """

        _loop_factory = EventLoop
