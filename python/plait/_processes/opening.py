"""How a pool of processes is opened: what starts its workers, and what they are told first."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

__all__ = ["opening"]


def opening(context: BaseContext | None, hello: dict[str, Any]) -> tuple[Any, bytes]:
    """The starter of a pool's workers, and the hello that each of them is sent.

    context: None takes plait's zygote, unless the program has set a start method. What cannot be pickled for the
    zygote (an object of the standard library that goes to children of `multiprocessing` only) starts as
    `multiprocessing` would have started it.
    Raises what pickling raises where that does not help.
    """
    from plait._processes.pickling import whole
    from plait._processes.start import context_starter, zygote_starter
    from plait.multiprocessing._passing import spawning
    from plait.multiprocessing.context import ZygoteContext, _default_context

    context = context or _default_context.chosen
    if context is None or isinstance(context, ZygoteContext):
        try:
            starter = zygote_starter()
            # Locks, queues and values are for processes that are being started: these are.
            with spawning():
                return starter, whole(hello)
        except Exception:
            if not any(hello.values()):
                raise
            context = multiprocessing.get_context()
    # Processes of `multiprocessing` take these along as arguments of theirs, which fork does not pickle.
    return context_starter(context, hello), b""

