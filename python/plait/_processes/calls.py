"""What the engine asks Python for about calls: their text in errors, and several of them made as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def describe(*args: Any, **kwargs: Any) -> str:
    """Give the arguments of a call as they would be written."""
    return ", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())])


def make_each(function: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> list[Any]:
    """Call the function with each of the arguments, in the worker; what it raises ends that."""
    return [function(*args) for args in arguments]
