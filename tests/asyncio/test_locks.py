"""Lock, Event, Condition, Semaphore and Barrier of asyncio: what CPython's own tests leave open."""

import asyncio
import collections
import gc
import weakref
from typing import Any

import pytest

import plait.asyncio
from tests.asyncio.primitives import OURS, SIDES, run, turns

sides = pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)
ours = pytest.mark.parametrize("side", OURS.values(), ids=OURS)
NAMES = ["Lock", "Event", "Condition", "Semaphore", "BoundedSemaphore"]


@sides
@pytest.mark.parametrize("name", [*NAMES, "Barrier", "Queue"])
def test_reprs_and_names(side: Any, name: str) -> None:
    kind = getattr(side, name)
    each = kind(3) if name == "Barrier" else kind()
    assert (kind.__name__, kind.__qualname__) == (name, name)
    assert kind.__module__.startswith("asyncio.")
    start = f"<{name} at 0x" if name == "Queue" else f"<{kind.__module__}.{name} object at 0x"
    assert repr(each).startswith(start)
    each.attribute = 1
    assert weakref.ref(each)() is each


@sides
@pytest.mark.parametrize("name", [*NAMES, "Queue"])
def test_wrong_arguments(side: Any, name: str) -> None:
    with pytest.raises(TypeError, match=rf"{name}.*__init__\(\) got an unexpected keyword argument 'loop'|Semaphore"):
        getattr(side, name)(loop=None)


@sides
def test_wrong_values(side: Any) -> None:
    with pytest.raises(ValueError, match="^Semaphore initial value must be >= 0$"):
        side.Semaphore(-1)
    with pytest.raises(ValueError, match="^parties must be >"):
        side.Barrier(0)
    with pytest.raises(RuntimeError, match=r"^Lock is not acquired\.$"):
        side.Lock().release()
    with pytest.raises(ValueError, match="^BoundedSemaphore released too many times$"):
        side.BoundedSemaphore(2).release()
    with pytest.raises(RuntimeError, match="^cannot notify on un-acquired lock$"):
        side.Condition().notify()


@sides
@pytest.mark.parametrize("name", ["Lock", "Condition", "Semaphore", "BoundedSemaphore"])
def test_a_derived_class_has_its_methods_called(side: Any, name: str) -> None:
    calls: list[str] = []

    class Derived(getattr(side, name)):  # type: ignore[misc]
        def __init__(self, word: str) -> None:
            super().__init__()
            self.word = word

        async def acquire(self) -> bool:
            calls.append("acquire")
            return await super().acquire()  # type: ignore[no-any-return]

        def release(self) -> None:
            calls.append("release")
            super().release()

    async def main(side: Any) -> None:
        each = Derived("x")
        async with each as nothing:
            assert nothing is None
            assert each.locked()
        assert (each.word, each.locked()) == ("x", False)

    if name == "Condition" and side is asyncio:
        pytest.skip("its acquire is an attribute of the instance")
    run(side, main)
    assert calls == ["acquire", "release"]


@sides
def test_each_task_gets_the_lock_in_turn(side: Any) -> None:
    async def main(side: Any) -> list[int]:
        lock, order = side.Lock(), []

        async def take(who: int) -> None:
            async with lock:
                order.append(who)
                await turns(side, who % 3)

        await side.gather(*(take(who) for who in range(50)))
        assert not lock.locked()
        assert not lock._waiters
        return order

    assert run(side, main) == list(range(50))


@sides
@pytest.mark.parametrize("make", [lambda side: side.Lock(), lambda side: side.Semaphore(1)], ids=["lock", "semaphore"])
def test_who_was_woken_and_is_cancelled_wakes_the_next(side: Any, make: Any) -> None:
    async def main(side: Any) -> None:
        each = make(side)
        await each.acquire()
        first, second = side.create_task(each.acquire()), side.create_task(each.acquire())
        await turns(side)
        each.release()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await second is True
        assert each.locked()

    run(side, main)


@sides
def test_a_primitive_belongs_to_the_first_loop_in_which_it_was_waited_for(side: Any) -> None:
    lock = side.Lock()

    async def wait(side: Any) -> None:
        with pytest.raises((asyncio.TimeoutError, TimeoutError)):
            await side.wait_for(lock.acquire(), 0.001)

    async def other(side: Any) -> None:
        with pytest.raises(RuntimeError, match=r"^<asyncio\.locks\.Lock.*\]> is bound to a different event loop$"):
            await lock.acquire()

    async def take(side: Any) -> None:
        await lock.acquire()

    run(side, take)
    run(side, wait)
    run(side, other)


@sides
def test_a_condition_has_its_lock_again_whatever_happens(side: Any) -> None:
    async def main(side: Any) -> None:
        condition = side.Condition()
        seen = []

        async def wait() -> None:
            async with condition:
                try:
                    await condition.wait()
                finally:
                    seen.append(condition.locked())

        task = side.create_task(wait())
        await turns(side)
        await condition.acquire()
        task.cancel()
        await turns(side)
        assert not task.done()
        task.cancel()
        await turns(side)
        assert not task.done()
        condition.release()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == [True]
        assert not condition.locked()

    run(side, main)


@sides
def test_a_condition_around_a_lock_of_another_kind(side: Any) -> None:
    class Lock:
        def __init__(self) -> None:
            self.lock = asyncio.Lock()
            self.calls: list[str] = []

        def locked(self) -> bool:
            return self.lock.locked()

        async def acquire(self) -> bool:
            self.calls.append("acquire")
            return await self.lock.acquire()

        def release(self) -> None:
            self.calls.append("release")
            self.lock.release()

    async def main(side: Any) -> list[str]:
        lock = Lock()
        condition = side.Condition(lock)

        async def wait() -> object:
            async with condition:
                return await condition.wait_for(lambda: ready)

        ready = False
        task = side.create_task(wait())
        await turns(side)
        async with condition:
            condition.notify_all()
        await turns(side)
        async with condition:
            ready = True
            condition.notify()
        assert await task is True
        return lock.calls

    assert run(side, main).count("acquire") == 5


@sides
def test_wait_for_returns_what_the_predicate_returned(side: Any) -> None:
    async def main(side: Any) -> None:
        condition = side.Condition()
        async with condition:
            assert await condition.wait_for(lambda: "yes") == "yes"
            with pytest.raises(ZeroDivisionError):
                await condition.wait_for(lambda: 1 / 0)

    run(side, main)


@sides
def test_a_barrier_again_and_again(side: Any) -> None:
    async def main(side: Any) -> None:
        barrier = side.Barrier(3)

        async def party() -> list[int]:
            return [await barrier.wait() for _ in range(5)]

        rounds = zip(*await side.gather(*(party() for _ in range(3))), strict=True)
        assert all(sorted(indices) == [0, 1, 2] for indices in rounds)
        async with side.Barrier(1) as index:
            assert index == 0

    run(side, main)


@ours
def test_an_aborted_barrier(side: Any) -> None:
    async def main(side: Any) -> None:
        barrier = side.Barrier(2)
        task = side.create_task(barrier.wait())
        await turns(side)
        assert (barrier.n_waiting, barrier.broken) == (1, False)
        await barrier.abort()
        with pytest.raises(side.BrokenBarrierError, match="Abort or reset of barrier"):
            await task
        with pytest.raises(side.BrokenBarrierError, match="Barrier aborted"):
            await barrier.wait()
        assert barrier.broken
        await barrier.reset()
        assert not barrier.broken

    run(side, main)


@ours
def test_the_private_attributes_that_tests_look_at(side: Any) -> None:
    async def main(side: Any) -> None:
        lock, semaphore, event = side.Lock(), side.Semaphore(0), side.Event()
        assert (lock._waiters, semaphore._waiters) == (None, None)
        assert list(event._waiters) == []
        semaphore._waiters = collections.deque()
        tasks = [side.create_task(each) for each in (semaphore.acquire(), event.wait())]
        await turns(side)
        assert (len(semaphore._waiters), len(event._waiters)) == (1, 1)
        assert not semaphore._waiters[0].done()
        assert not event._waiters[0].done()
        semaphore.release()
        event.set()
        await side.gather(*tasks)
        assert (semaphore._value, event._value, lock._locked) == (0, True, False)
        assert repr(event).endswith("[set]>")

    run(side, main)


@ours
def test_waiters_are_no_leak(side: Any) -> None:
    async def main(side: Any) -> None:
        lock = side.Lock()
        await lock.acquire()
        tasks = [side.create_task(lock.acquire()) for _ in range(100)]
        await turns(side)
        for task in tasks[::2]:
            task.cancel()
        await turns(side)
        assert len(lock._waiters) == 50
        for task in tasks[1::2]:
            lock.release()
            assert await task
        assert len(lock._waiters) == 0
        gone = weakref.ref(lock)
        del lock, tasks, task
        gc.collect()
        assert gone() is None

    run(side, main)


def test_many_waiters_cost_no_more_each() -> None:
    """Half of them are cancelled, from the end: each leaves the line by itself."""

    async def main(side: Any) -> int:
        semaphore = side.Semaphore(0)
        tasks = [side.create_task(semaphore.acquire()) for _ in range(5000)]
        await turns(side)
        for task in reversed(tasks[2500:]):
            task.cancel()
        for _ in tasks[:2500]:
            semaphore.release()
        done = await side.gather(*tasks, return_exceptions=True)
        return sum(each is True for each in done)

    assert run(plait.asyncio, main) == 2500
