"""What workers do for several calls that came as one. By itself, so that a worker has to import nothing else for it."""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of this
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

__all__ = ["map_chunk", "starmap_chunk"]


def map_chunk(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """Call the function with each item."""
    return list(map(function, items))


def starmap_chunk(function: Callable[..., Any], calls: Iterable[Iterable[Any]]) -> list[Any]:
    """Call the function with the arguments of each call."""
    return [function(*args) for args in calls]
