"""What the engine asks Python for about calls: their text in errors."""

from __future__ import annotations

from typing import Any


def describe(*args: Any, **kwargs: Any) -> str:
    """Give the arguments of a call as they would be written."""
    return ", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())])
