"""ThreadPoolExecutor(2), many calls at a time: what a call costs when the pool has work."""

from collections.abc import Iterator
from itertools import repeat
from types import SimpleNamespace
from typing import Any

from benchmarks.row import Group, Run

GROUP = Group("ThreadPoolExecutor(2)")
# So many calls are in the pool at once; a run does whole batches.
BATCH = 1000


def plus_one(number: int) -> int:
    """The small Python function of the mission's examples."""
    return number + 1


@GROUP.row("submit all then results, `int`", floor=20, goal=35, batch=BATCH)
def submit_all(lib: SimpleNamespace) -> Iterator[Run]:
    with lib.ThreadPoolExecutor(2) as pool:
        yield _submit_all(pool, int)


@GROUP.row("submit all then results, a small Python function", floor=7, goal=12, batch=BATCH)
def submit_all_python(lib: SimpleNamespace) -> Iterator[Run]:
    with lib.ThreadPoolExecutor(2) as pool:
        yield _submit_all(pool, plus_one, 1)


def _submit_all(pool: Any, *call: Any) -> Run:
    submit = pool.submit

    def run(n: int) -> object:
        total = 0
        for _ in repeat(None, n // BATCH):
            futures = [submit(*call) for _ in repeat(None, BATCH)]
            for future in futures:
                total += future.result()
        return total

    return run


@GROUP.row("map, `int`", floor=25, goal=40, batch=BATCH)
def pool_map(lib: SimpleNamespace) -> Iterator[Run]:
    numbers = range(BATCH)
    with lib.ThreadPoolExecutor(2) as pool:
        map_ = pool.map

        def run(n: int) -> object:
            total = 0
            for _ in repeat(None, n // BATCH):
                total += sum(map_(int, numbers))
            return total

        yield run


@GROUP.row("submit all, as_completed, `int`", floor=15, goal=25, batch=BATCH)
def as_completed(lib: SimpleNamespace) -> Iterator[Run]:
    as_completed = lib.as_completed
    with lib.ThreadPoolExecutor(2) as pool:
        submit = pool.submit

        def run(n: int) -> object:
            total = 0
            for _ in repeat(None, n // BATCH):
                for future in as_completed([submit(int, "1") for _ in repeat(None, BATCH)]):
                    total += future.result()
            return total

        yield run
