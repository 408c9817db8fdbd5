"""Programs made at random, of tasks that wait for each other and are cancelled: asyncio's trace is plait's."""

import asyncio
import random
import sys
from typing import Any

import pytest

import plait.asyncio
from tests.asyncio.primitives import OURS, run

TASKS = 6
STEPS = 12
# Semaphore and Condition are those of 3.13 on every version.
KINDS = ("lock", "event", "queue", "barrier", "semaphore", "condition")
SAME_BEFORE = ("lock", "event", "queue")


class Program:
    """What each task does is settled by the seed; what comes of it is the trace."""

    def __init__(self, side: Any, seed: int, kinds: tuple[str, ...]) -> None:
        self.side = side
        self.random = random.Random(seed)
        self.trace: list[tuple[object, ...]] = []
        self.lock, self.event, self.condition = side.Lock(), side.Event(), side.Condition()
        self.semaphore, self.queue, self.barrier = side.Semaphore(2), side.Queue(2), side.Barrier(3)
        plans = [[self.random.choice(kinds) for _ in range(STEPS)] for _ in range(TASKS)]
        self.pauses = [[self.random.randrange(3) for _ in range(STEPS)] for _ in range(TASKS)]
        self.plans = plans
        self.cancels = [(self.random.randrange(1, 4), self.random.randrange(TASKS)) for _ in range(20)]

    async def pause(self, count: int) -> None:
        for _ in range(count):
            await self.side.sleep(0)

    async def do(self, who: int, step: int, what: str, pause: int) -> object:
        if what == "lock":
            async with self.lock:
                await self.pause(pause)
            return self.lock.locked()
        if what == "semaphore":
            async with self.semaphore:
                await self.pause(pause)
            return self.semaphore._value
        if what == "event":
            if (who + step) % 2:
                return await self.event.wait()
            self.event.set()
            await self.pause(pause)
            return self.event.clear()
        if what == "queue":
            if who % 2:
                return await self.queue.put((who, step))
            return await self.queue.get()
        if what == "barrier":
            return await self.barrier.wait()
        async with self.condition:
            if step % 2:
                self.condition.notify(pause)
                await self.pause(pause)
                return None
            return await self.condition.wait()

    async def task(self, who: int) -> None:
        for step, (what, pause) in enumerate(zip(self.plans[who], self.pauses[who], strict=True)):
            try:
                result = await self.do(who, step, what, pause)
            except asyncio.CancelledError:
                result = "cancelled"
            except RuntimeError as error:
                result = type(error).__name__
            self.trace.append((who, step, what, result))

    async def main(self, side: Any) -> list[tuple[object, ...]]:
        tasks = [side.create_task(self.task(who)) for who in range(TASKS)]
        for pause, victim in self.cancels:
            await self.pause(pause)
            self.trace.append(("cancel", victim, tasks[victim].cancel()))
        for _ in range(TASKS * STEPS):
            await self.pause(4)
            for task in tasks:
                task.cancel()
        await side.gather(*tasks, return_exceptions=True)
        self.trace.append((len(self.lock._waiters or ()), self.queue.qsize(), self.semaphore._value))
        return self.trace


@pytest.mark.parametrize("side", OURS.values(), ids=OURS)
@pytest.mark.parametrize("only", [*KINDS, "all"])
def test_the_trace_is_asyncios(side: Any, only: str) -> None:
    kinds = KINDS if sys.version_info >= (3, 13) else SAME_BEFORE
    if only != "all":
        if only not in kinds:
            pytest.skip("asyncio of this version has another order here")
        kinds = (only,)
    for seed in range(60):
        traces = []
        for each in (asyncio, side):
            program = Program(each, seed, kinds)
            traces.append(run(each, program.main))
        assert traces[1] == traces[0], f"seed {seed}"


def test_the_programs_do_something() -> None:
    results = set()
    for seed in range(20):
        for entry in run(plait.asyncio, Program(plait.asyncio, seed, KINDS).main):
            results.add(str(entry[-1]))
    assert {"cancelled", "True", "None"} <= results
