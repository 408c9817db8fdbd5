"""What a callable shows before it is called: who it is, whether it can be sent to a process, and whether it may be."""

from __future__ import annotations

import time
from functools import partial
from opcode import opmap
from types import BuiltinMethodType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["identity", "is_coroutine_function", "keeps_to_threads", "name", "sending"]

_COROUTINE = 0x80  # CO_COROUTINE of a code object
_SIMPLE: frozenset[type] = frozenset((int, float, bool, str, bytes, type(None)))
_ASSIGNS = {opmap[name] for name in ("STORE_ATTR", "DELETE_ATTR", "STORE_SUBSCR", "DELETE_SUBSCR")}
_OVERHEAD = 50e-6  # seconds that a call in a process costs beside pickling, on the slow side
_SHOWN = 160  # characters of an error


def _bare(fn: Any) -> Any:
    """The callable without bound arguments."""
    while True:
        if isinstance(fn, partial):
            fn = fn.func
        elif isinstance(fn, MethodType):
            fn = fn.__func__
        else:
            return fn


def identity(fn: Any) -> Any:
    """What is alike for callables that do the same: lambdas of one line, methods of one class, partials.

    It can be hashed, and holds what it is about alive.
    """
    fn = _bare(fn)
    code = getattr(fn, "__code__", None)
    wrapped = getattr(fn, "__wrapped__", None)
    if wrapped is not None and wrapped is not fn:
        return type(fn), code, identity(wrapped)
    if code is not None:
        return code
    if isinstance(fn, BuiltinMethodType) and not isinstance(fn.__self__, ModuleType | None):
        return type(fn.__self__), fn.__name__
    return fn if isinstance(fn, type | BuiltinMethodType) else type(fn)


def name(fn: Any) -> str:
    """Module and name, for people."""
    fn = _bare(fn)
    if not hasattr(fn, "__qualname__"):
        fn = type(fn)
    module = getattr(fn, "__module__", None)
    return f"{module}.{fn.__qualname__}" if module else str(fn.__qualname__)


def is_coroutine_function(fn: Any) -> bool:
    """Whether calling it gives a coroutine: `async def`, bound or with arguments bound."""
    fn = _bare(fn)
    code = getattr(fn, "__code__", None)
    if code is not None and code.co_flags & _COROUTINE:
        return True
    from inspect import iscoroutinefunction  # knows those that were marked, too

    return iscoroutinefunction(fn) or iscoroutinefunction(getattr(type(fn), "__call__", None))  # noqa: B004


def keeps_to_threads(fn: Any) -> str:
    """Why the function would do something else in a process, or "": it assigns to what a process has a copy of."""
    bound = isinstance(fn, MethodType) or (isinstance(fn, partial) and isinstance(fn.func, MethodType))
    code: CodeType | None = getattr(_bare(fn), "__code__", None)
    if code is None:
        return ""
    for inner in _codes(code):
        used = set(inner.co_code[::2])
        if used & {opmap["STORE_GLOBAL"], opmap["DELETE_GLOBAL"]}:
            return "it assigns to a global name"
        if code.co_freevars and opmap["STORE_DEREF"] in used and _assigns_to(inner, code.co_freevars):
            return "it assigns to a variable of the function around it"
        if bound and used & _ASSIGNS:
            return "it is a method that assigns to attributes or items"
    if any(_may_change(cell) for cell in getattr(_bare(fn), "__closure__", None) or ()):
        return "it has an object of the function around it, which may be changed"
    return ""


def _may_change(cell: CellType) -> bool:
    """Whether what a variable of the function around holds can be changed: seen by all threads, not by a process."""
    try:
        value = cell.cell_contents
    except ValueError:
        return False  # it holds nothing yet
    if isinstance(value, tuple | frozenset):
        return any(_may_change(CellType(item)) for item in value)
    if isinstance(value, FunctionType):
        return value.__closure__ is not None
    return not isinstance(value, (*_SIMPLE, type, ModuleType, BuiltinMethodType, complex, range))


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The code object, and those of the functions that are defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _assigns_to(code: CodeType, names: Sequence[str]) -> bool:
    from dis import get_instructions

    return any(each.opname == "STORE_DEREF" and each.argval in names for each in get_instructions(code))


def sending(
    fn: Any, args: Sequence[Any], kwargs: Mapping[str, Any], results: Iterable[Any] | None = None
) -> tuple[float, str]:
    """How many seconds sending a call to a process takes, and why it cannot be sent, or "".

    results: what it returned, which has to come back (nothing, if it raised: any exception can); None: not known, so
    only what it is called with is looked at.
    """
    simple = all(type(value) in _SIMPLE for value in (*args, *kwargs.values()))
    if results is None and simple and _bare(fn) is fn:
        return _OVERHEAD, ""
    from plait._processes.pickling import dumps, loads

    what = "its arguments"
    begin = time.perf_counter()
    try:
        dumps((args, kwargs))
        if results is not None:
            what = "its result"
            for result in results:
                data, buffers = dumps(result)
                loads(data, buffers=buffers)
        seconds = 2 * (time.perf_counter() - begin) + _OVERHEAD
        if results is not None or _bare(fn) is not fn:
            what = "the function"
            dumps(fn)
    except Exception as error:
        return 0.0, f"{what} cannot be pickled ({type(error).__name__}: {str(error)[:_SHOWN]})"
    return seconds, ""
