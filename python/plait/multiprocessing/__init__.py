"""`multiprocessing` on plait's engine: the same names, so that changing the import is enough.

Pool, queues, locks and shared values are plait's. Process, Pipe, Manager and all other names are the standard library's
own objects; the start method is one for both. Beyond it: `shared_array`, numpy's arrays in shared memory.
"""

from __future__ import annotations

import multiprocessing as _multiprocessing
from importlib import import_module as _import_module
from importlib.util import find_spec as _find_spec
from multiprocessing import *  # noqa: F403
from typing import Any

from plait.multiprocessing.arrays import shared_array
from plait.multiprocessing.context import OURS, _default_context

__all__ = [*_multiprocessing.__all__, "shared_array"]

globals().update((name, getattr(_default_context, name)) for name in (*OURS, "get_context", "set_start_method"))


def __getattr__(name: str) -> Any:
    """Names that are not public, and modules, are the standard library's where there is none here."""
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _find_spec(f"{__name__}.{name}") is not None:
        return _import_module(f"{__name__}.{name}")
    try:
        return getattr(_multiprocessing, name)
    except AttributeError:
        pass
    try:
        return _import_module(f"multiprocessing.{name}")
    except ModuleNotFoundError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
