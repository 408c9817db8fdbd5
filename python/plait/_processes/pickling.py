"""Objects as bytes for other processes of the family: pickle, and cloudpickle for what pickle cannot name.

**`__main__`.** A worker of plait's zygote has not run the program's main module, so what is defined there travels by
value. All functions and classes that come so live in one namespace, the worker's own `__main__`: a global that an
initializer sets is seen by the tasks, as with the standard library. What such a function refers to is put there when it
arrives, unless the worker has bound the name otherwise since. A class that is found there is pickled by its name on the
way back, so the parent gets its own.

Workers of fork, spawn and forkserver have the main module: there it is `by_value=False`, names where there are any.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import sys
from _pickle import Pickler

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of plait
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType
    from typing import Any

__all__ = ["broken_result", "dumps", "dumps_exception", "dumps_function", "loads", "whole"]

loads = pickle.loads


class Telling(Pickler):
    """A pickler that does not ask again what some objects have said of themselves already.

    told: by the `id` of an object that object, and what it has said. options: of the pickler.
    """

    def __init__(self, told: dict[int, tuple[object, Any]], *options: Any) -> None:
        super().__init__(*options)
        self._told = told

    def reducer_override(self, obj: object) -> Any:
        """What the object has said, if it has been asked."""
        told = self._told.get(id(obj))
        return NotImplemented if told is None else told[1]


def broken_result(error: BaseException) -> BaseException:
    """What a result that raises this when it is unpickled gives: BrokenProcessPool, be it for SystemExit."""
    if isinstance(error, KeyboardInterrupt):
        return error
    from concurrent.futures.process import BrokenProcessPool

    broken = BrokenProcessPool(f"A result has failed to un-serialize: {error!r}")
    broken.__cause__ = error
    return broken


_PROTOCOL = 5
# Buffers from this size on, in bytes, lie beside the pickle.
_OUT_OF_BAND = 64 << 10
_REFUSED = (pickle.PicklingError, AttributeError, TypeError)


def dumps(obj: object, by_value: bool = True) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """The pickle of `obj`, and the buffers of 64 KiB and more that lie beside it.

    by_value: what `__main__` defines travels by value, for a process that has not run it.
    Raises what pickle raises, where cloudpickle cannot help either.
    """
    buffers: list[pickle.PickleBuffer] = []

    def stays(buffer: pickle.PickleBuffer) -> bool:
        try:
            if buffer.raw().nbytes < _OUT_OF_BAND:
                return True
        except BufferError:  # in pieces: pickle says so
            return True
        buffers.append(buffer)
        return False

    data = _dump(obj, by_value, stays)
    if data is None:
        buffers.clear()
        data = _dump_by_value(obj, stays, None)
    return data, buffers


def whole(obj: object, by_value: bool = True) -> bytes:
    """The pickle of `obj` in one piece. As `dumps` otherwise."""
    data = _dump(obj, by_value, None)
    return _dump_by_value(obj, None, None) if data is None else data


def dumps_function(fn: object, by_value: bool = True) -> bytes:
    """A function: by its name if it can be imported by it, else by value. As `whole` otherwise."""
    return whole(fn, by_value)


def _dump(obj: object, by_value: bool, stays: Any) -> bytes | None:
    """None: it names `__main__`, so it has to be pickled by value."""
    file = io.BytesIO()
    pickler = Pickler(file, _PROTOCOL, buffer_callback=stays)
    table = _table()
    if table is not None:
        pickler.dispatch_table = table
    try:
        pickler.dump(obj)
    except _REFUSED as error:
        try:
            return _dump_by_value(obj, stays, None if by_value else sys.modules.get("__main__"))
        except Exception:
            # What pickle said is what its users know.
            raise error from None
    data = file.getvalue()
    return None if by_value and b"__main__" in data else data


_merged: dict[Any, Any] | None = None
_merged_of = (-1, -1)


def _table() -> dict[Any, Any] | None:
    """copyreg's reducers and those of `multiprocessing` in one dict, which C is quicker with than a chain."""
    global _merged, _merged_of
    module = sys.modules.get("multiprocessing.reduction")
    if module is None:
        return None
    extra = module.ForkingPickler._extra_reducers
    lengths = (len(copyreg.dispatch_table), len(extra))
    if lengths != _merged_of:
        _merged = {**copyreg.dispatch_table, **extra}
        _merged_of = lengths
    return _merged


def _dump_by_value(obj: object, stays: Any, named: ModuleType | None) -> bytes:
    from plait._processes import by_value

    return by_value.dump(obj, _PROTOCOL, stays, named)


# Exceptions --------------------------------------------------------------------------------


class _Remote:
    """An exception with its traceback as text, which becomes its cause in the parent."""

    def __init__(self, error: BaseException, text: str, pool: bool) -> None:
        self.error = error
        self.text = text
        self.pool = pool

    def __reduce__(self) -> Any:
        return _with_cause, (self.error, self.text, self.pool)


class _Bare(_Remote):
    """As `_Remote`, for a class that cannot be called with the exception's `args`: its `__init__` is passed by."""

    def __reduce__(self) -> Any:
        return _without_init, (type(self.error), self.error.args, self.error.__dict__, self.text, self.pool)


def _with_cause(error: BaseException, text: str, pool: bool) -> BaseException:
    # The classes that programs look for in the cause.
    cause: Any
    if pool:
        from multiprocessing import pool as module

        cause = module.RemoteTraceback  # type: ignore[attr-defined]
    else:
        from concurrent.futures.process import _RemoteTraceback as cause
    error.__cause__ = cause(text)
    return error


def _without_init(
    kind: type[BaseException], args: Iterable[object], state: dict[str, Any], text: str, pool: bool
) -> BaseException:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return _with_cause(error, text, pool)


def dumps_exception(
    error: BaseException,
    *,
    pool: bool = False,
    replaced: Callable[[BaseException], BaseException] | None = None,
) -> bytes:
    """An exception that a task raised, with its traceback as text, in a pickle that can be read.

    pool: the cause is that of `multiprocessing.Pool`, not that of the executors.
    In place of an exception that cannot be pickled it is what pickle said of it, as with the standard library, or what
    `replaced` makes of that.
    """
    from traceback import format_exception

    text = "".join(format_exception(type(error), error, error.__traceback__))
    error.__traceback__ = None
    try:
        return _readable(error, _quoted(text), pool)
    except BaseException as problem:
        # Both tracebacks, so that nothing is hidden.
        text += "\nThe exception cannot be sent to the parent process:\n"
        text += "".join(format_exception(type(problem), problem, problem.__traceback__))
        problem.__traceback__ = None
        try:
            return _readable(problem if replaced is None else replaced(problem), _quoted(text), pool)
        except BaseException:
            last = pickle.PicklingError(f"{type(problem).__qualname__} while an exception was pickled")
            return whole(_Remote(last, _quoted(text), pool), False)


def _quoted(text: str) -> str:
    return f'\n"""\n{text}"""'


def _readable(error: BaseException, text: str, pool: bool) -> bytes:
    """A pickle that was tried out: many exceptions can be pickled, and not be called with their `args` afterwards."""
    problem: BaseException | None = None
    for kind in (_Remote, _Bare):
        data = whole(kind(error, text, pool), False)
        try:
            loads(data)
        except BaseException as why:
            problem = problem or why
        else:
            return data
    assert problem is not None
    raise problem
