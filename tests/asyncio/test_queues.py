"""The queues of asyncio: what CPython's own tests leave open."""

import asyncio
import collections
import gc
import heapq
import weakref
from typing import Any

import pytest

import plait.asyncio
from tests.asyncio.primitives import OURS, SIDES, run, turns

sides = pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)
ours = pytest.mark.parametrize("side", OURS.values(), ids=OURS)
kinds = pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue"])


@sides
@kinds
def test_order(side: Any, kind: str) -> None:
    async def main(side: Any) -> list[int]:
        queue = getattr(side, kind)()
        for item in (3, 1, 2):
            await queue.put(item)
        assert (queue.qsize(), queue.empty(), queue.full(), queue.maxsize) == (3, False, False, 0)
        return [await queue.get() for _ in range(3)]

    assert run(side, main) == {"Queue": [3, 1, 2], "LifoQueue": [2, 1, 3], "PriorityQueue": [1, 2, 3]}[kind]


@sides
@kinds
def test_reprs(side: Any, kind: str) -> None:
    queue = getattr(side, kind)(5)
    queue.put_nowait(1)
    assert str(queue) == f"<{kind} maxsize=5 _queue=[1] tasks=1>"
    assert repr(queue) == f"<{kind} at {id(queue):#x} maxsize=5 _queue=[1] tasks=1>"
    assert str(getattr(side, kind)[int]).endswith(f"{kind}[int]")


@sides
def test_items_that_cannot_be_compared(side: Any) -> None:
    queue = side.PriorityQueue()
    queue.put_nowait(1)
    with pytest.raises(TypeError, match="'<' not supported"):
        queue.put_nowait("x")


@sides
@pytest.mark.parametrize("maxsize", [-1, 0, 1, 1.5, float("inf")])
def test_sizes(side: Any, maxsize: float) -> None:
    queue = side.Queue(maxsize)
    assert queue.maxsize == maxsize
    room = 0
    while room < 4 and not queue.full():
        queue.put_nowait(room)
        room += 1
    assert room == {-1: 4, 0: 4, 1: 1, 1.5: 2, float("inf"): 4}[maxsize]


@sides
def test_a_derived_class_has_its_hooks_called(side: Any) -> None:
    class Unique(side.Queue):  # type: ignore[misc]
        def _init(self, maxsize: int) -> None:
            self._queue = []
            self.seen: set[object] = set()

        def _put(self, item: object) -> None:
            if item not in self.seen:
                self.seen.add(item)
                self._queue.append(item)

        def _get(self) -> object:
            return self._queue.pop(0)

    async def main(side: Any) -> None:
        queue = Unique(2)
        for item in "aab":
            await queue.put(item)
        assert queue.full()
        putting = side.create_task(queue.put("c"))
        await turns(side)
        assert [await queue.get() for _ in range(3)] == ["a", "b", "c"]
        await putting
        assert queue.empty()

    run(side, main)


@sides
def test_a_derived_class_that_overrides_half_of_the_hooks(side: Any) -> None:
    class Counting(side.Queue):  # type: ignore[misc]
        puts = 0

        def _put(self, item: object) -> None:
            type(self).puts += 1
            self._queue.append(item)

    class Largest(side.PriorityQueue):  # type: ignore[misc]
        def _put(self, item: int) -> None:  # type: ignore[override]
            heapq.heappush(self._queue, -item)

        def _get(self) -> int:
            return -heapq.heappop(self._queue)

    async def main(side: Any) -> None:
        counting, largest = Counting(), Largest()
        assert isinstance(counting._queue, collections.deque)
        assert type(largest._queue) is list
        for item in (1, 3, 2):
            await counting.put(item)
            await largest.put(item)
        assert counting.puts == 3
        assert [await counting.get() for _ in range(3)] == [1, 3, 2]
        assert [await largest.get() for _ in range(3)] == [3, 2, 1]

    run(side, main)


@sides
def test_a_derived_class_with_its_own_idea_of_full(side: Any) -> None:
    class Weighing(side.Queue):  # type: ignore[misc]
        def full(self) -> bool:
            return sum(self._queue) >= 10

    async def main(side: Any) -> None:
        queue = Weighing()
        await queue.put(6)
        await queue.put(6)
        with pytest.raises(asyncio.QueueFull):
            queue.put_nowait(1)
        putting = side.create_task(queue.put(1))
        await turns(side)
        assert not putting.done()
        assert await queue.get() == 6
        await putting

    run(side, main)


@ours
def test_what_lies_inside_can_be_changed(side: Any) -> None:
    async def main(side: Any) -> None:
        queue = side.Queue()
        for item in range(4):
            queue.put_nowait(item)
        queue._queue.remove(2)
        queue._queue.appendleft(9)
        assert list(queue._queue) == [9, 0, 1, 3]
        assert (queue._queue[0], len(queue._queue), 3 in queue._queue) == (9, 4, True)
        queue._queue.clear()
        assert queue.empty()
        queue._queue = collections.deque("ab")
        assert [await queue.get() for _ in range(2)] == ["a", "b"]

    run(side, main)


@sides
def test_who_was_woken_and_is_cancelled_wakes_the_next(side: Any) -> None:
    async def main(side: Any) -> None:
        queue = side.Queue(1)
        getters = [side.create_task(queue.get()) for _ in range(2)]
        await turns(side)
        queue.put_nowait("x")
        getters[0].cancel()
        await turns(side)
        assert await getters[1] == "x"
        queue.put_nowait("full")
        putters = [side.create_task(queue.put(item)) for item in range(2)]
        await turns(side)
        assert queue.get_nowait() == "full"
        putters[0].cancel()
        await turns(side)
        assert await queue.get() == 1
        assert (len(queue._getters), len(queue._putters)) == (0, 0)

    run(side, main)


@sides
@pytest.mark.parametrize("how", ["", "reference", "weak reference", "attribute", "callback"])
def test_a_future_that_somebody_has_is_not_used_again(side: Any, how: str) -> None:
    """plait's waiters are used once more by the next who waits, where nobody can tell."""
    called: list[Any] = []

    async def main(side: Any) -> None:
        queue = side.Queue()
        held: list[Any] = []
        for number in range(3):
            getter = side.create_task(queue.get())
            await turns(side)
            (future,) = queue._getters
            assert not future.done()
            if how == "reference":
                assert future not in held
                held.append(future)
            elif how == "weak reference":
                held.append(weakref.ref(future))
            elif how == "attribute":
                assert not hasattr(future, "number")
                future.number = number
            elif how == "callback":
                future.add_done_callback(lambda future, number=number: called.append(number))
            del future
            queue.put_nowait(number)
            assert await getter == number
            if how == "reference":
                assert all(future.done() for future in held)
            elif how == "weak reference":
                gc.collect()
                assert all(ref() is None for ref in held[:-1])

    run(side, main)
    assert called == ([0, 1, 2] if how == "callback" else [])


@ours
def test_a_queue_in_a_second_loop_waits_there(side: Any) -> None:
    queue = side.Queue()

    async def main(side: Any) -> Any:
        getter = side.create_task(queue.get())
        await turns(side)
        assert queue._getters[0].get_loop() is asyncio.get_running_loop()
        queue.put_nowait(1)
        return await getter

    for debug in (False, False, True):
        queue._loop = None
        loop = plait.asyncio.new_event_loop()
        loop.set_debug(debug)
        try:
            assert loop.run_until_complete(main(side)) == 1
        finally:
            loop.close()


@sides
def test_join(side: Any) -> None:
    async def main(side: Any) -> None:
        queue = side.Queue()
        await queue.join()
        for item in range(3):
            queue.put_nowait(item)
        joining = side.create_task(queue.join())
        for _ in range(3):
            await turns(side)
            assert not joining.done()
            await queue.get()
            queue.task_done()
        await joining
        assert queue._finished.is_set()
        with pytest.raises(ValueError, match=r"^task_done\(\) called too many times$"):
            queue.task_done()

    run(side, main)


@ours
@pytest.mark.parametrize("immediate", [False, True])
def test_shutdown_on_every_version(side: Any, immediate: bool) -> None:
    async def main(side: Any) -> None:
        gone = plait.asyncio.QueueShutDown
        queue = side.Queue(2)
        for item in range(2):
            queue.put_nowait(item)
        putting, joining = side.create_task(queue.put(2)), side.create_task(queue.join())
        await turns(side)
        queue.shutdown(immediate=immediate)
        assert str(queue).endswith(" shutdown>")
        for put in (putting, queue.put(1)):
            with pytest.raises(gone):
                await put
        with pytest.raises(gone):
            queue.put_nowait(1)
        if not immediate:
            assert [await queue.get() for _ in range(2)] == [0, 1]
            queue.task_done()
            queue.task_done()
        await joining
        with pytest.raises(gone):
            await queue.get()
        with pytest.raises(gone):
            queue.get_nowait()

    run(side, main)


@ours
def test_shutdown_wakes_all_that_get(side: Any) -> None:
    async def main(side: Any) -> None:
        queue = side.Queue()
        getters = [side.create_task(queue.get()) for _ in range(3)]
        await turns(side)
        queue.shutdown()
        results = await side.gather(*getters, return_exceptions=True)
        assert [type(result) for result in results] == [plait.asyncio.QueueShutDown] * 3

    run(side, main)


@sides
def test_many_through_one_place(side: Any) -> None:
    async def main(side: Any) -> None:
        queue = side.Queue(1)

        async def produce(start: int) -> None:
            for item in range(start, start + 100):
                await queue.put(item)

        async def consume() -> list[int]:
            return [await queue.get() for _ in range(100)]

        _, _, *got = await side.gather(produce(0), produce(100), consume(), consume())
        assert sorted(got[0] + got[1]) == list(range(200))

    run(side, main)
