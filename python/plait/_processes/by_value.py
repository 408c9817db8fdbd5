"""Functions and classes by value, with cloudpickle: imported only where something has no name to go by.

A class is pickled once, and again when one of its attributes, or of its bases', is another object than before. It
travels as those bytes, which a process unpickles once. (As with functions: what changes within an attribute is not
seen.)
"""

from __future__ import annotations

import importlib
import io
import pickle
import sys
from collections import ChainMap
from operator import is_not
from types import FunctionType, ModuleType
from typing import Any
from weakref import WeakValueDictionary

from cloudpickle import cloudpickle

__all__ = ["dump"]


def dump(obj: object, protocol: int, buffer_callback: Any, named: ModuleType | None) -> bytes:
    """The pickle of `obj`. What `named` defines goes by its name: the other process has that module."""
    file = io.BytesIO()
    pickler = _Pickler(file, protocol, buffer_callback)
    pickler.named = None if named is None else vars(named)
    pickler.protocol = protocol
    module = sys.modules.get("multiprocessing.reduction")
    if module is not None:
        pickler.dispatch_table = ChainMap(
            {}, cloudpickle.Pickler.dispatch_table, module.ForkingPickler._extra_reducers
        )
    pickler.dump(obj)
    return file.getvalue()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    named: dict[str, Any] | None = None
    protocol = 5
    # For bytes that are kept: everything is in them.
    alone = False

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if not (kind is FunctionType or issubclass(kind, type)):
            return NotImplemented
        module = getattr(obj, "__module__", None)
        if self.named is not None and module == "__main__" and _found(self.named, obj):
            return NotImplemented
        if kind is not FunctionType and not self.alone and (kept := _kept_of(obj, self.named)):
            return _class_from, (kept.name, kept.data)
        reduced = super().reducer_override(obj)
        if type(reduced) is not tuple or len(reduced) != 6:
            return reduced
        if kind is not FunctionType and not self.alone:
            kept = _keep(obj, self.named, self.protocol)
            return _class_from, (kept.name, kept.data)
        if kind is FunctionType:
            space = _namespace_of(obj)
            if space is None:
                return reduced
            _, (code, _, *others), (attributes, slots), *_ = reduced
            if space.name != "__main__":  # all that it refers to is there
                slots.update(__globals__={}, _cloudpickle_submodules=[])
            return FunctionType, (code, space, *others), (attributes, slots), None, None, _finish_function
        if module == "__main__" and _found(vars(sys.modules["__main__"]), obj):
            return (*reduced[:5], _finish_class)
        return reduced


def _found(names: dict[str, Any], obj: Any) -> bool:
    """Whether the module has it under its own name."""
    value: Any = names.get((path := obj.__qualname__.split("."))[0])
    for name in path[1:]:
        value = getattr(value, name, None)
    return value is obj


class _Kept:
    """A class that travels by value: its bytes, under the name by which cloudpickle knows it in all processes."""

    def __init__(self, kind: type, data: bytes, attributes: list[object]) -> None:
        self.kind = kind  # so that its identity stays its own
        self.name: str = cloudpickle._get_or_create_tracker_id(kind)
        self.data = data
        self.attributes = attributes


_MOST = 64
_kept: dict[tuple[int, bool], _Kept] = {}


def _kept_of(kind: type, named: dict[str, Any] | None) -> _Kept | None:
    kept = _kept.get((id(kind), named is None))
    if kept is None:
        return None
    now = _attributes(kind)
    if len(now) != len(kept.attributes) or any(map(is_not, now, kept.attributes)):
        return None
    return kept


def _attributes(kind: type) -> list[object]:
    """The class and its bases, each with the names and values of its attributes."""
    found: list[object] = []
    for each in type.mro(kind):
        if each is not object:
            found.append(each)
            for item in list(vars(each).items()):
                found += item
    return found


def _keep(kind: type, named: dict[str, Any] | None, protocol: int) -> _Kept:
    attributes = _attributes(kind)  # first: a change that comes meanwhile is seen the next time
    file = io.BytesIO()
    pickler = _Pickler(file, protocol)
    pickler.named = named
    pickler.alone = True
    pickler.dump(kind)
    while len(_kept) >= _MOST:
        _kept.pop(next(iter(_kept)), None)
    kept = _kept[id(kind), named is None] = _Kept(kind, file.getvalue(), attributes)
    if kept.name not in _come:
        _own[kept.name] = kind
    return kept


class _Namespace:
    """Stands for the globals of a module of this name, in whatever process."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> Any:
        return _globals, (self.name,)


def _globals(name: str) -> dict[str, Any]:
    return vars(importlib.import_module(name))


def _namespace_of(function: FunctionType) -> _Namespace | None:
    """The module whose globals the function has, if the other process has it too."""
    name = function.__globals__.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    if module is None or function.__globals__ is not vars(module):
        return None
    if name != "__main__" and getattr(module, "__spec__", None) is None:
        return None
    return _Namespace(module.__name__)


# In the receiving process ----------------------------------------------------------------------

# What came for a name of `__main__`, last: a name that is bound to anything else now was bound here.
_arrived: dict[str, object] = {}


# The classes that have come, and as what; and those that came from here.
_come: dict[str, tuple[bytes, type]] = {}
_own: WeakValueDictionary[str, type] = WeakValueDictionary()


def _class_from(name: str, data: bytes) -> type:
    own = _own.get(name)
    if own is not None:  # it has been to another process and back
        return own
    known = _come.get(name)
    if known is not None and known[0] == data:
        return known[1]
    kind: type = pickle.loads(data)
    _come[name] = data, kind
    return kind


def _arrive(names: dict[str, Any]) -> None:
    here = vars(sys.modules["__main__"])
    for name, value in names.items():
        if name not in here or (name in _arrived and here[name] is _arrived[name]):
            here[name] = _arrived[name] = value


def _finish_function(function: Any, state: Any) -> None:
    own = function.__globals__
    before = own.get("__builtins__")
    _, slots = state
    names = slots["__globals__"]
    slots["__globals__"] = {}
    cloudpickle._function_setstate(function, state)
    if before is not None:
        own["__builtins__"] = before
    if own is vars(sys.modules["__main__"]):
        _arrive(names)


def _finish_class(made: Any, state: Any) -> Any:
    made = cloudpickle._class_setstate(made, state) or made
    if "." not in made.__qualname__:
        _arrive({made.__name__: made})
    return made
