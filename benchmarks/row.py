"""A row: one thing that is measured, who runs it, in which regimes, and the floor and goal it is held to."""

import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

from benchmarks import contenders

# A run does `n` operations and returns something small that every contender has to return alike.
Run = Callable[[int], object]
Setup = Callable[[], AbstractContextManager[Run]]

# Stands for whichever rival was the quickest of the run.
BEST_RIVAL = "best rival"
QUIET, ONE_CORE, HOGS = REGIMES = ("quiet", "one core", "two hogs")
FREE_THREADED = (
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")) and not getattr(sys, "_is_gil_enabled", lambda: True)()
)
# The floors are set for an optimised CPython 3.14; a free-threaded one is held to two thirds of them.
FREE_THREADED_SHARE = 2 / 3


def scaled(floor: float, share: float) -> float:
    """A share of a floor; "not behind", one of 1 or less, is the same everywhere."""
    return floor if floor <= 1 else max(1.0, floor * share)


@dataclass(frozen=True, slots=True)
class Row:
    """One row; its ratios are the baseline's figure divided by a contender's: above 1 beats the baseline."""

    name: str
    title: str
    group: str
    setups: Mapping[str, Setup]
    baseline: str = contenders.BASELINE
    floor: float | None = None
    goal: float | None = None
    regimes: tuple[str, ...] = (QUIET,)
    others: Mapping[str, float] = field(default_factory=dict)  # floors against other contenders, or BEST_RIVAL
    batch: int = 1  # `n` is always a multiple of this
    whole: bool = False  # one batch is a sample, however long it takes
    free_threaded_only: bool = False

    def share(self) -> float:
        """How much of its floors the row is held to on this interpreter."""
        return FREE_THREADED_SHARE if FREE_THREADED and not self.free_threaded_only else 1.0

    def held_to(self, regime: str) -> tuple[float | None, float | None]:
        """Floor and goal on this interpreter in `regime`: goals are meant for a quiet machine."""
        share = self.share()
        floor = None if self.floor is None else self.floor * share
        goal = None if self.goal is None or regime != QUIET else self.goal * share
        return floor, goal

    def held_against(self) -> dict[str, float]:
        """Floors against others on this interpreter; one of 1 or less, "not behind", is the same everywhere."""
        share = self.share()
        return {other: scaled(floor, share) for other, floor in self.others.items()}


class Group:
    """Collects the rows of one heading, in the order in which they are written down."""

    def __init__(
        self, title: str, regimes: tuple[str, ...] = (QUIET,), free_threaded_only: bool = False
    ) -> None:
        self.title = title
        self.rows: list[Row] = []
        self._defaults = Row("", "", title, {}, regimes=regimes, free_threaded_only=free_threaded_only)

    def row(
        self, title: str, *rivals: str, floor: float | None = None, goal: float | None = None, batch: int = 1
    ) -> Callable[[Callable[..., Iterator[Run]]], Callable[..., Iterator[Run]]]:
        """Make a row of a generator that takes a contender's namespace, yields the run and cleans up."""

        def add(body: Callable[..., Iterator[Run]]) -> Callable[..., Iterator[Run]]:
            names = (contenders.BASELINE, contenders.CANDIDATE, *rivals)
            setups = {name: partial(_with_contender, contextmanager(body), name) for name in names}
            self.add(body.__name__, title, setups, floor=floor, goal=goal, batch=batch)
            return body

        return add

    def add(self, name: str, title: str, setups: Mapping[str, Setup], **fields: Any) -> None:
        """Add a row whose contenders have ways of their own: `setups` by name, the baseline first."""
        slug = name.strip("_").replace("_", "-")
        baseline = next(iter(setups))
        self.rows.append(
            replace(self._defaults, name=slug, title=title, setups=setups, baseline=baseline, **fields)
        )


def _with_contender(
    body: Callable[[SimpleNamespace], AbstractContextManager[Run]], name: str
) -> AbstractContextManager[Run]:
    return body(contenders.load(name))
