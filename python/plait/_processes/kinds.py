"""What the objects of a class are in the eyes of pickle, and how far it can be said without it."""

from __future__ import annotations

import copyreg
import sys
from abc import ABCMeta
from collections import deque
from enum import EnumType
from types import BuiltinFunctionType, FunctionType, GetSetDescriptorType, MethodType

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of plait
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["look"]

# Whoever defines one of these has a say in what pickle writes.
_WRITING = ("__reduce__", "__reduce_ex__", "__getstate__", "__getnewargs__", "__getnewargs_ex__")
# Or in how objects are looked into, or made.
_LOOKING = ("__getattribute__", "__getattr__", "__class__")
_MAKING = ("__setstate__", "__new__")
# Or, of what holds others, in what is in it.
_HOLDING = (list, dict, set, frozenset, deque)
_SHOWING = ("__iter__", "items")
_MAIN = ("__main__", "__mp_main__")
_POINTER = 8
# What pickle has forms of its own for, or finds by a name; sets, which it knows too, say the same about themselves.
_OWN: tuple[type, ...] = (int, float, bool, str, bytes, tuple, list, dict, type, type(None))
_OWN += (FunctionType, BuiltinFunctionType, MethodType)
_VALUES = {
    *(("datetime", name) for name in ("date", "datetime", "time", "timedelta", "timezone")),
    *(("decimal", "Decimal"), ("fractions", "Fraction"), ("uuid", "UUID"), ("builtins", "range")),
}


def look(cls: type) -> tuple[str, str, str] | None:
    """The module and the name of a class, and what its objects are: "plain", "asked", "told", "value" or "other".

    plain: made by `object.__new__`, and what stands in their `__dict__`.
    asked: what they say themselves (`__reduce_ex__`), by code of the standard library only.
    told: the same, by code of the program's, too, which is not to be run twice.
    value: the same, and they are numbers, moments or members: whether two are one is nobody's concern.

    None for a class that a worker might not find by its name.
    """
    module, name = cls.__module__, cls.__qualname__
    if type(module) is not str or module in _MAIN or not name.isidentifier():
        return None
    meta = type(cls)
    if meta in copyreg.dispatch_table or not _is_of_the_library(meta):
        return module, name, "other"
    if meta in (type, ABCMeta) and _is_plain(cls):
        return module, name, "plain"
    if cls in _OWN or not _is_left_to_the_library(cls, _LOOKING):
        return module, name, "other"
    if issubclass(cls, _HOLDING) and not _is_left_to_the_library(cls, _SHOWING):
        return module, name, "other"
    if not _is_left_to_the_library(cls, _WRITING):
        return module, name, "told"
    return module, name, "value" if (module, name) in _VALUES or meta is EnumType else "asked"


def _is_plain(cls: type) -> bool:
    # Data of C, or slots, which pickle looks for in this way.
    own = cls.__basicsize__ - object.__basicsize__
    own -= _POINTER * (cls.__dictoffset__ > 0) + _POINTER * (cls.__weakrefoffset__ > 0)
    if own or cls.__itemsize__ or not cls.__dictoffset__ or copyreg._slotnames(cls):  # type: ignore[attr-defined]
        return False
    for base in cls.__mro__[:-1]:
        names = vars(base)
        if any(name in names for name in (*_WRITING, *_LOOKING, *_MAKING)):
            return False
        if "__dict__" in names and type(names["__dict__"]) is not GetSetDescriptorType:
            return False
    return True


def _is_left_to_the_library(cls: type, methods: Iterable[str]) -> bool:
    for name in methods:
        for base in cls.__mro__:
            if name in vars(base):
                # Some are written into the program's class by the library: a named tuple's.
                if not _is_of_the_library(base) and not _is_of_the_library(vars(base)[name]):
                    return False
                break
    return True


def _is_of_the_library(thing: object) -> bool:
    module = getattr(thing, "__module__", None)
    return isinstance(module, str) and module.partition(".")[0] in sys.stdlib_module_names
