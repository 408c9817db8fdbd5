"""The class of `plait.multiprocessing.shared_array`. It needs numpy, so it is imported when it is needed."""

from __future__ import annotations

import operator
from math import prod
from typing import Any

import numpy as np

from plait.multiprocessing._blocks import Block, new_block

__all__ = ["SharedArray"]


class SharedArray(np.ndarray[Any, Any]):
    """An array whose items lie in memory that processes share; so are its views. What is computed from it is not."""

    _block: Block | None

    def __new__(cls, shape: Any, dtype: Any = float, order: Any = "C") -> SharedArray:
        """See `shared_array`."""
        dtype = np.dtype(dtype)
        if dtype.hasobject:
            raise ValueError("Python objects cannot be shared between processes")
        try:
            shape = (operator.index(shape),)
        except TypeError:
            shape = tuple(operator.index(length) for length in shape)
        if any(length < 0 for length in shape):
            raise ValueError("negative dimensions are not allowed")
        block: Any = new_block(prod(shape) * dtype.itemsize)  # a buffer, which numpy's stubs cannot know
        return super().__new__(cls, shape, dtype, buffer=block, order=order)

    def __array_finalize__(self, obj: Any) -> None:
        """Know the block that a view lies in."""
        block = getattr(obj, "_block", None) if obj is not None else self.base
        self._block = block if isinstance(block, Block) and _lies_in(self, block) else None

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        """What is computed is an ordinary array, or a number."""
        if isinstance(array, SharedArray) and array._block is None:
            array = array.view(np.ndarray)
        return array[()] if return_scalar else array

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Travel by the block's descriptor."""
        if self._block is None:
            return self.view(np.ndarray).__reduce_ex__(protocol)
        start = self.__array_interface__["data"][0] - self._block._address
        return _rebuild, (self._block, self.dtype, self.shape, start, self.strides, self.flags.writeable)

    def __deepcopy__(self, memo: Any) -> Any:
        """Give a copy that is not shared."""
        return np.array(self, order="K")


# Before numpy 2 it was elsewhere.
_bounds: Any = getattr(getattr(np.lib, "array_utils", np), "byte_bounds")  # noqa: B009


def _lies_in(array: np.ndarray[Any, Any], block: Block) -> bool:
    low, high = _bounds(array)
    start: int = block._address
    return start <= low and high <= start + len(block)


def _rebuild(
    block: Any, dtype: Any, shape: tuple[int, ...], start: int, strides: tuple[int, ...], writeable: bool
) -> SharedArray:
    array = np.ndarray.__new__(SharedArray, shape, dtype, buffer=block, offset=start, strides=strides)
    array.flags.writeable = writeable
    return array
