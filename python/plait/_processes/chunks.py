"""What workers do for several calls that came as one. By itself, so that a worker has to import nothing else for it."""

from __future__ import annotations

from types import FunctionType

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of this
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

__all__ = ["map_chunk", "of_chunks", "starmap_chunk"]


def of_chunks(chunk: Callable[..., Any], function: Callable[..., Any]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """What to call with a chunk's items, and what comes before these. `chunk`: one of those below.

    A pool sends each worker a function once, but arguments with each call. So a function that would travel by value
    is made a part of what is called.
    """
    if type(function) is not FunctionType:
        return chunk, (function,)
    if function.__module__ != "__main__" and "<" not in function.__qualname__:
        return chunk, (function,)

    def call(items: Any) -> Any:
        return chunk(function, items)

    return call, ()


def map_chunk(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """Call the function with each item."""
    return list(map(function, items))


def starmap_chunk(function: Callable[..., Any], calls: Iterable[Iterable[Any]]) -> list[Any]:
    """Call the function with the arguments of each call."""
    return [function(*args) for args in calls]
