"""`multiprocessing.sharedctypes` on memory without a name: `Value`, `Array` and their raw kinds.

The objects are the standard library's: ctypes in shared memory, and the wrappers with a lock. What differs is where
they lie, a memfd whose pages are there before it is used (there, a file in /dev/shm, which kills who writes to it when
it is full), and the lock, plait's, which outlives a holder that is killed.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from multiprocessing import heap, util
from multiprocessing import sharedctypes as _standard
from multiprocessing.context import assert_spawning
from multiprocessing.sharedctypes import (
    Synchronized,
    SynchronizedArray,
    SynchronizedBase,
    SynchronizedString,
    synchronized,
)
from typing import Any

from plait.multiprocessing._blocks import Block, new_block
from plait.multiprocessing.synchronize import RLock

__all__ = [
    "Array",
    "RawArray",
    "RawValue",
    "Synchronized",
    "SynchronizedArray",
    "SynchronizedBase",
    "SynchronizedString",
    "Value",
    "copy",
    "synchronized",
]

_types: dict[str, type[Any]] = _standard.typecode_to_type  # type: ignore[attr-defined]
_rebuild: Any = _standard.rebuild_ctype  # type: ignore[attr-defined]
_StandardHeap: Any = heap.Heap


class _Arena:
    """Memory for many small objects, as the standard library's heap wants it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.buffer = new_block(size)

    def __reduce__(self) -> tuple[Any, ...]:
        assert_spawning(self)
        return _rebuild_arena, (self.buffer,)


def _rebuild_arena(block: Block) -> _Arena:
    arena = _Arena.__new__(_Arena)
    arena.size, arena.buffer = len(block), block
    return arena


class _Heap(_StandardHeap):  # type: ignore[misc]
    """The standard library's heap, on arenas of ours."""

    def _new_arena(self, size: int) -> tuple[_Arena, int, int]:
        length = self._roundup(max(self._size, size), mmap.PAGESIZE)
        if self._size < self._DOUBLE_ARENA_SIZE_UNTIL:
            self._size *= 2
        arena = _Arena(length)
        self._arenas.append(arena)
        return arena, 0, length


class _Piece(heap.BufferWrapper):
    """A piece of the heap, which a child finds again."""

    _heap = _Heap()

    def __init__(self, size: int) -> None:
        if sys.maxsize <= size:
            raise OverflowError(f"Size {size:n} too large")
        block = self._heap.malloc(size)
        self._state = (block, size)
        util.Finalize(self, self._heap.free, args=(block,))


def _new(kind: type[Any]) -> Any:
    return _rebuild(kind, _Piece(ctypes.sizeof(kind)), None)


def _zeroed(kind: type[Any]) -> Any:
    value = _new(kind)
    ctypes.memset(ctypes.addressof(value), 0, ctypes.sizeof(value))
    return value


def RawValue(typecode_or_type: str | type[Any], *args: Any) -> Any:
    """A ctypes object in shared memory, made with `args`; without a lock."""
    value = _zeroed(_type(typecode_or_type))
    value.__init__(*args)
    return value


def RawArray(typecode_or_type: str | type[Any], size_or_initializer: Any) -> Any:
    """A ctypes array in shared memory: zeros, as many as the number says, or the sequence's items; without a lock."""
    kind = _type(typecode_or_type)
    if isinstance(size_or_initializer, int):
        return _zeroed(kind * size_or_initializer)
    value = _new(kind * len(size_or_initializer))
    value.__init__(*size_or_initializer)
    return value


def _type(typecode_or_type: str | type[Any]) -> type[Any]:
    kind: Any = typecode_or_type
    if isinstance(typecode_or_type, str):
        kind = _types.get(typecode_or_type)
    try:
        ctypes.sizeof(kind)
    except TypeError:
        raise TypeError(
            f"bad typecode {typecode_or_type!r} (must be a ctypes type or one of {', '.join(_types)})"
        ) from None
    return kind  # type: ignore[no-any-return]


def Value(typecode_or_type: str | type[Any], *args: Any, lock: Any = True, ctx: Any = None) -> Any:
    """A `RawValue` with a lock: `lock` itself, a new RLock (True, None), or none (False)."""
    return _locked(RawValue(typecode_or_type, *args), lock, ctx)


def Array(typecode_or_type: str | type[Any], size_or_initializer: Any, *, lock: Any = True, ctx: Any = None) -> Any:
    """A `RawArray` with a lock, as with `Value`; as `multiprocessing.Array`."""
    return _locked(RawArray(typecode_or_type, size_or_initializer), lock, ctx)


def _locked(value: Any, lock: Any, ctx: Any) -> Any:
    if lock is False:
        return value
    if lock in (True, None):
        lock = RLock() if ctx is None else ctx.RLock()
    if not hasattr(lock, "acquire"):
        raise AttributeError(f"{lock!r} has no method 'acquire'")
    return synchronized(value, lock, ctx=ctx)


def copy(obj: Any) -> Any:
    """A copy of a ctypes object, in shared memory of its own."""
    new = _new(type(obj))
    ctypes.pointer(new)[0] = obj
    return new
