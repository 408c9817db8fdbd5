"""numpy's arrays in shared memory, which travel by their descriptor: all processes that have one see the same numbers.

An array, and any view of it, can be an argument of a process that is being started, or of a call in a pool of
plait's. It is not copied, and nothing locks it: who writes while others read needs a lock of its own. Its memory is
there as long as any process has it, and has no name: nothing is left behind, however they end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike

    from plait.multiprocessing._ndarray import SharedArray

__all__ = ["shared_array"]


def shared_array(shape: int | Sequence[int], dtype: DTypeLike = float, order: str = "C") -> SharedArray:
    """A numpy array of zeros in shared memory.

    shape, dtype, order: as of `numpy.zeros`; the items may hold no Python objects. Who has made it is to keep it until
    those to whom it was sent have it. Raises MemoryError where there is not so much, ValueError for a shape or a type
    that cannot be, ImportError where there is no numpy.
    """
    from plait.multiprocessing._ndarray import SharedArray

    return SharedArray(shape, dtype, order)


def __getattr__(name: str) -> Any:
    if name == "SharedArray":
        from plait.multiprocessing._ndarray import SharedArray

        return SharedArray
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
