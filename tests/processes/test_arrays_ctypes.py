"""Values and arrays of ctypes in shared memory without a name: `plait.multiprocessing.sharedctypes`."""

import ctypes
import gc
import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Any

import pytest

from plait.multiprocessing import sharedctypes
from plait.multiprocessing.sharedctypes import Array, RawArray, RawValue, Value

METHODS = ("fork", "forkserver", "spawn")


class Point(ctypes.Structure):
    """Two numbers."""

    _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_double))


@pytest.fixture(autouse=True)
def _no_names() -> Iterator[None]:
    yield
    assert not [name for name in os.listdir("/dev/shm") if name.startswith(f"pym-{os.getpid()}-")]


def change(number: Any, row: Any, raw: Any, point: Any, text: Any) -> None:
    with number.get_lock():
        number.value += 1
    for at in range(len(row)):
        row[at] *= 2
    raw.value = 2.5
    point.x, point.y = 3, point.y + 1
    text.value = b"changed"


@pytest.mark.parametrize("method", METHODS)
def test_what_a_child_writes_is_seen(method: str) -> None:
    ctx = multiprocessing.get_context(method)
    number, row = Value("i", 41, ctx=ctx), Array("d", [1, 2, 3], ctx=ctx)
    raw, point = RawValue("d"), Value(Point, 1, 2.0, ctx=ctx)
    text = Array("c", b"unchanged", ctx=ctx)
    process = ctx.Process(target=change, args=(number, row, raw, point, text))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert (number.value, list(row), raw.value) == (42, [2, 4, 6], 2.5)
    assert (point.x, point.y, text.value) == (3, 3.0, b"changed")


def test_kinds_are_the_standard_library_s() -> None:
    assert isinstance(Value("i", lock=False), ctypes.c_int)
    assert isinstance(Value("i"), multiprocessing.sharedctypes.Synchronized)
    assert isinstance(Array("i", 3), multiprocessing.sharedctypes.SynchronizedArray)
    assert isinstance(Array("c", 3), multiprocessing.sharedctypes.SynchronizedString)
    assert list(RawArray(ctypes.c_short, 5)) == [0] * 5
    assert RawArray("i", range(4))[3] == 3
    lock = multiprocessing.Lock()
    assert Value("i", lock=lock).get_lock() is lock
    with pytest.raises(AttributeError, match="acquire"):
        Value("i", lock=7)
    with pytest.raises(AttributeError, match="acquire"):
        Array("i", 3, lock=7)
    copied = sharedctypes.copy(Value(Point, 1, 2.0, lock=False))
    assert (copied.x, copied.y) == (1, 2.0)


def test_they_are_inherited_only() -> None:
    for value in (Value("i"), RawValue("i"), Array("i", 3), RawArray("i", 3)):
        with pytest.raises(RuntimeError, match="inheritance"):
            ForkingPickler.dumps(value)


def test_memory_is_used_again() -> None:
    kept = RawArray("b", 100)
    before = len(os.listdir("/proc/self/fd"))
    for size in (10, 1000, 100_000, 10_000_000) * 3:
        RawArray("b", size)
        gc.collect()
    # Small pieces share an arena; a large one goes back.
    assert len(os.listdir("/proc/self/fd")) <= before + 3
    assert kept[99] == 0
    with pytest.raises(MemoryError):
        RawArray("b", 1 << 50)
