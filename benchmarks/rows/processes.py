"""A pool of two processes: what a call costs that hardly does anything, and how close 100 µs of work come to ideal."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import repeat
from multiprocessing import Pipe
from typing import Any

from benchmarks.calls import noop, same, share, work
from benchmarks.contenders import BASELINE, CANDIDATE
from benchmarks.pools import POOL, Processes, beside_a_burner, context, our_pool, processes
from benchmarks.row import Group, Run
from benchmarks.values import CONTAINERS, LEFT, OWN, PLAIN, SIMPLE, SPEAKING

GROUP = Group("Processes: a pool of two")
BATCH = 500  # calls at a time
EXECUTORS = (BASELINE, CANDIDATE)


def _add(
    name: str, title: str, names: tuple[str, ...], body: Callable[[Processes], Run], **fields: Any
) -> None:
    GROUP.add(name, title, {each: partial(_set_up, each, body) for each in names}, batch=BATCH, **fields)


@contextmanager
def _set_up(name: str, body: Callable[[Processes], Run]) -> Iterator[Run]:
    with processes(name) as pool:
        yield body(pool)


def _submit_all(fn: Callable[..., Any], *args: Any) -> Callable[[Processes], Run]:
    def body(pool: Processes) -> Run:
        submit, result = pool.submit, pool.result

        def run(n: int) -> object:
            last = None
            for _ in repeat(None, n // BATCH):
                for future in [submit(fn, *args) for _ in repeat(None, BATCH)]:
                    last = result(future)
            return str(last)

        return run

    return body


def _map(fn: Callable[..., Any], items: Any) -> Callable[[Processes], Run]:
    def body(pool: Processes) -> Run:
        def run(n: int) -> object:
            last = None
            for _ in repeat(None, n // BATCH):
                *_, last = pool.map(fn, items)
            return str(last)

        return run

    return body


def _one_at_a_time(pool: Processes) -> Run:
    call = pool.call

    def run(n: int) -> object:
        for number in range(n):
            last = call(same, number)
        return last is not None

    return run


ALL = (*EXECUTORS, POOL, "loky", "mpire", "pebble")
_add(
    "process_submit_all",
    "submit all then results, simple arguments",
    (*EXECUTORS, "loky", "pebble"),
    _submit_all(noop, *SIMPLE),
    floor=60,
    goal=150,
)
_add(
    "process_map",
    "map, chunks of 1, `int`",
    ALL,
    _map(same, range(BATCH)),
    floor=100,
    goal=250,
    others={POOL: 25},
)
_add(
    "process_submit_result",
    "submit().result(), one at a time",
    ALL,
    _one_at_a_time,
    floor=20,
    goal=45,
    others={POOL: 10},
)
_add(
    "process_submit_all_containers",
    "submit all then results, a dict with a tuple, a list and a dict",
    EXECUTORS,
    _submit_all(same, CONTAINERS),
    floor=12,
    goal=20,
)
_add(
    "process_submit_all_plain",
    "submit all then results, the same dict with an object of a plain class",
    EXECUTORS,
    _submit_all(same, PLAIN),
    floor=12,
    goal=20,
)
_add(
    "process_submit_all_speaking",
    "submit all then results, the same dict with a date and a decimal",
    EXECUTORS,
    _submit_all(same, SPEAKING),
    floor=12,
    goal=20,
)
_add(
    "process_submit_all_own",
    "submit all then results, the same dict with an object of an own __reduce__",
    EXECUTORS,
    _submit_all(same, OWN),
    floor=12,
    goal=20,
)
_add(
    "process_submit_all_left",
    "submit all then results, the same dict with a list in two places, left to pickle",
    EXECUTORS,
    _submit_all(same, LEFT),
    floor=12,
    goal=20,
)
_add(
    "process_map_speaking",
    "map, chunks of 1, a dict with a date and a decimal",
    (*EXECUTORS, POOL),
    _map(same, [SPEAKING] * BATCH),
    others={POOL: 4},
)


@contextmanager
def _burnt(name: str) -> Iterator[Run]:
    with beside_a_burner(processes(name)) as pool:
        yield _one_at_a_time(pool)


GROUP.add(
    "process_beside_burner",
    "submit().result() while another thread burns the GIL",
    {name: partial(_burnt, name) for name in EXECUTORS},
    floor=10,
    goal=1000,
)


# ---------------------------------------------------------------- Pool.map as it is


@contextmanager
def _pool_map(name: str) -> Iterator[Run]:
    with our_pool(name) as pool:

        def run(n: int) -> object:
            return len(pool.pool.map(same, repeat(SPEAKING, n)))

        yield run


GROUP.add(
    "process_pool_map",
    "Pool.map, automatic chunks, a dict with a date and a decimal",
    {POOL: partial(_pool_map, POOL), CANDIDATE: partial(_pool_map, CANDIDATE)},
    floor=1.2,
    goal=2,
    batch=BATCH,
)


# ---------------------------------------------------------------- tasks of 100 µs


@contextmanager
def _works(name: str) -> Iterator[Run]:
    with processes(name) as pool:

        def run(n: int) -> object:
            futures = [pool.submit(work, number) for number in range(n)]
            return {future.result() for future in futures} == {work()}

        yield run


@contextmanager
def _ideal() -> Iterator[Run]:
    """Two processes that each do half of the tasks, and hear and say nothing but how many."""
    pipes, children = [], []
    for _ in range(2):
        here, there = Pipe()
        child = context().Process(target=share, args=(there,))
        child.start()
        there.close()
        pipes.append(here)
        children.append(child)

    def run(n: int) -> object:
        for pipe in pipes:
            pipe.send(n // 2)
        return sum(pipe.recv() for pipe in pipes) == n // 2 * 2

    try:
        yield run
    finally:
        for pipe, child in zip(pipes, children, strict=True):
            pipe.send(0)
            child.join()
            pipe.close()


_WORKS: dict[str, Callable[[], AbstractContextManager[Run]]] = {
    **{name: partial(_works, name) for name in EXECUTORS},
    "ideal": _ideal,
}
GROUP.add("process_work", "tasks of 100 µs", _WORKS, batch=1000, others={"ideal": 0.9})
