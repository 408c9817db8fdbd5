"""Which classes have objects that are what stands in their `__dict__`, and nothing else, in the eyes of pickle."""

from __future__ import annotations

import copyreg
from abc import ABCMeta
from types import GetSetDescriptorType

__all__ = ["plain"]

# Whoever defines one of these has a say in how its objects are pickled, made or looked into.
_SAY = {
    *("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__", "__getnewargs_ex__"),
    *("__new__", "__class__", "__getattribute__", "__getattr__"),
}
_MAIN = ("__main__", "__mp_main__")
_POINTER = 8


def plain(cls: type) -> tuple[str, str] | None:
    """The module and the name of a class whose objects are made by `object.__new__` and filled by way of `__dict__`.

    None for any other class, and for one that a worker might not find by its name.
    """
    meta = type(cls)
    if (meta is not type and meta is not ABCMeta) or meta in copyreg.dispatch_table:
        return None
    # Data of C, or slots, which pickle looks for in this way.
    own = cls.__basicsize__ - object.__basicsize__
    own -= _POINTER * (cls.__dictoffset__ > 0) + _POINTER * (cls.__weakrefoffset__ > 0)
    if own or cls.__itemsize__ or not cls.__dictoffset__ or copyreg._slotnames(cls):  # type: ignore[attr-defined]
        return None
    for base in cls.__mro__[:-1]:
        names = vars(base)
        if not _SAY.isdisjoint(names):
            return None
        if "__dict__" in names and type(names["__dict__"]) is not GetSetDescriptorType:
            return None
    module, name = cls.__module__, cls.__qualname__
    if type(module) is not str or module in _MAIN or not name.isidentifier():
        return None
    return module, name
