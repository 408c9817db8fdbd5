"""A progress bar over anything that can be iterated: tqdm's where tqdm is there, nothing where it is not."""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of plait
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TypeVar

    _T = TypeVar("_T")

__all__ = ["progress"]

# What tqdm takes beside the iterable, total and desc. Listed here so that a misspelt word is an error on a machine
# without tqdm as well.
_TQDM_WORDS = frozenset(
    ("ascii", "bar_format", "colour", "delay", "disable", "dynamic_ncols", "file", "gui", "initial", "leave")
    + ("lock_args", "maxinterval", "mininterval", "miniters", "ncols", "nrows", "position", "postfix")
    + ("smoothing", "unit", "unit_divisor", "unit_scale", "write_bytes")
)


def progress(
    iterable: Iterable[_T],
    total: float | None = None,
    desc: str | None = None,
    **tqdm_kwargs: Any,
) -> Iterable[_T]:
    """Give `iterable` back with a progress bar that moves as it is iterated: `for x in progress(pool.map(f, xs)):`.

    The bar is tqdm's, on standard error (or the keyword `file`), and shows only at a terminal unless `disable=False` is
    given. Without tqdm (`pip install plait[progress]` brings it) the iterable itself comes back, unchanged.

    total: how many items there will be, where `len(iterable)` does not tell. desc: a word before the bar.
    tqdm_kwargs: anything else that `tqdm.tqdm` takes (`unit=`, `leave=`, `colour=`, ...).
    Raises TypeError for something that cannot be iterated or a keyword that tqdm does not have, ValueError for a
    negative or NaN total.
    """
    if not hasattr(iterable, "__iter__") and not hasattr(iterable, "__getitem__"):
        raise TypeError(f"progress() needs an iterable, not {type(iterable).__name__}")
    if total is not None:
        if isinstance(total, bool) or not isinstance(total, int | float):
            raise TypeError(f"progress() needs a number or None as total, not {type(total).__name__}")
        if total < 0 or total != total:
            raise ValueError(f"progress() needs a total of 0 or more, not {total!r}")
    unknown = sorted(tqdm_kwargs.keys() - _TQDM_WORDS)
    if unknown:
        raise TypeError(
            f"progress() has no argument {unknown[0]!r}: it takes total, desc and what tqdm.tqdm takes"
        )
    try:
        from tqdm import tqdm
    except ImportError:
        return iterable
    tqdm_kwargs.setdefault("disable", None)  # None: show it at a terminal only
    bar: Iterable[_T] = tqdm(iterable, desc=desc, total=total, **tqdm_kwargs)
    return bar
