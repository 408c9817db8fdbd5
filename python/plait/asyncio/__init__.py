"""`asyncio` on plait's engine: the same names, so that changing the import is enough.

Every public name of the running version's `asyncio` is here, its submodules among them. Those named in `OURS` are
plait's; all others are the standard library's own objects, which work with plait's.
"""

from __future__ import annotations

import asyncio as _asyncio
from asyncio import *  # what is not plait's; what is comes after it and hides it

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of this
if TYPE_CHECKING:
    from typing import Any

# What is plait's: one line for each module that it comes from, here and in OURS.

OURS: dict[str, tuple[str, ...]] = {}
# `asyncio` has these from some version on, or has no such thing; plait has them on every version.
EXTRA: tuple[str, ...] = ()

__all__: list[str] = []
__all__ += _asyncio.__all__
__all__ += [name for name in EXTRA if name not in __all__]


def __getattr__(name: str) -> Any:
    """Names that are not public here are the standard library's, its submodules among them."""
    return getattr(_asyncio, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_asyncio)})
