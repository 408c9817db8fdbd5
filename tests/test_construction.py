"""Objects are made while the garbage collector runs at each allocation: it never sees one that is not built yet.

On CPython 3.11 and 3.12 an object with an instance dict is known to the collector before PyO3 has filled it.
"""

import gc
from collections.abc import Callable, Iterator

import pytest

import plait

MAKERS: dict[str, Callable[[type], object]] = {
    "Lock": lambda kind: kind(),
    "RLock": lambda kind: kind(),
    "Condition": lambda kind: kind(),
    "Semaphore": lambda kind: kind(2),
    "BoundedSemaphore": lambda kind: kind(2),
    "Event": lambda kind: kind(),
    "Barrier": lambda kind: kind(2, print),
    "Queue": lambda kind: kind(3),
    "LifoQueue": lambda kind: kind(3),
    "PriorityQueue": lambda kind: kind(3),
    "Future": lambda kind: kind(),
    "ThreadPoolExecutor": lambda kind: kind(1),
}
FINAL = {"Lock"}


@pytest.fixture
def _eager_collector() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("_eager_collector")
@pytest.mark.parametrize("name", MAKERS)
def test_an_object_is_made_while_the_collector_runs(name: str) -> None:
    kind = getattr(plait, name)
    kinds = [kind] if name in FINAL else [kind, type("Derived", (kind,), {})]
    for each in kinds:
        kept = [MAKERS[name](each) for _ in range(50)]
        assert {type(thing) for thing in kept} == {each}
