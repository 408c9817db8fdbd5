"""`run` and `Runner`: the standard library's, on plait's loop."""

from __future__ import annotations

import asyncio

from plait.asyncio.loop import EventLoop

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of this
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, TypeVar

    _T = TypeVar("_T")

__all__ = ["Runner", "run"]


class Runner(asyncio.Runner):  # type: ignore[misc]  # final to typeshed; nothing of it is overridden but a default
    """Runs coroutines one after the other in one loop of plait's; as `asyncio.Runner`.

    Arguments: `debug` as for `loop.set_debug`; `loop_factory` makes the loop (default: `EventLoop`).
    """

    def __init__(
        self,
        *,
        debug: bool | None = None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        super().__init__(debug=debug, loop_factory=loop_factory or EventLoop)


def run(
    main: Coroutine[Any, Any, _T],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> _T:
    """Run the coroutine `main` in a new loop of plait's and return its result; as `asyncio.run`.

    Ctrl-C cancels `main`, as from 3.11 on. Raises RuntimeError in a thread whose loop is running.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("asyncio.run() cannot be called from a running event loop")
    with Runner(debug=debug, loop_factory=loop_factory) as runner:
        return runner.run(main)
