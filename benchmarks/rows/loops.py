"""What the rows about coroutines share: a body runs as a task on each contender's own loop."""

import gc
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

from benchmarks import contenders
from benchmarks.contenders import BARE
from benchmarks.row import BEST_RIVAL, Group, Run, Setup

NAMES = (contenders.BASELINE, contenders.CANDIDATE, *contenders.LOOP_RIVALS)
BARE_FLOOR = 1 / 1.3

Body = Callable[[Any, int], Coroutine[Any, Any, object]]


def against_rivals(best: float | None, bare: bool = False) -> dict[str, float]:
    """The floors of a row beside that against asyncio."""
    others = {} if best is None else {BEST_RIVAL: best}
    return {**others, BARE: BARE_FLOOR} if bare else others


class LoopGroup(Group):
    """Rows whose contenders are loops; `best` is the floor against the best rival."""

    def task(
        self,
        title: str,
        *,
        floor: float | None = None,
        goal: float | None = None,
        best: float | None = None,
        bare: Callable[[int], object] | None = None,
        batch: int = 1,
        whole: bool = False,
    ) -> Callable[[Body], Body]:
        """Make a row of `async def body(asyncio, n)`; `bare(n)` does the same without a loop."""

        def add(body: Body) -> Body:
            setups: dict[str, Setup] = {name: partial(in_a_task, name, body) for name in NAMES}
            if bare:
                setups[BARE] = partial(_without_a_loop, bare)
            self.add(
                f"loop_{body.__name__}",
                title,
                setups,
                floor=floor,
                goal=goal,
                others=against_rivals(best, bare is not None),
                batch=batch,
                whole=whole,
            )
            return body

        return add


@contextmanager
def open_loop(name: str) -> Iterator[tuple[ModuleType, Any]]:
    """A contender's asyncio and a new loop of it, closed at the end as `asyncio.run` closes one."""
    contender = contenders.loops(name)
    loop = contender.new_event_loop()
    try:
        yield contender.asyncio, loop
    finally:
        try:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()
            gc.collect()


@contextmanager
def in_a_task(name: str, body: Body) -> Iterator[Run]:
    """The run of a body on a contender's loop."""
    with open_loop(name) as (asyncio, loop):
        yield lambda n: loop.run_until_complete(body(asyncio, n))


@contextmanager
def _without_a_loop(bare: Callable[[int], object]) -> Iterator[Run]:
    yield bare


def drive(coroutines: Sequence[Coroutine[Any, Any, object]], rounds: int) -> object:
    """Send None to each coroutine in turn, `rounds` times; returns what the first returns then."""
    sends = [coroutine.send for coroutine in coroutines]
    if len(sends) == 1:
        (send,) = sends
        for _ in range(rounds):
            send(None)
    else:
        for _ in range(rounds):
            for send in sends:
                send(None)
    results = []
    for send in sends:
        try:
            send(None)
        except StopIteration as end:
            results.append(end.value)
    return results[0]

