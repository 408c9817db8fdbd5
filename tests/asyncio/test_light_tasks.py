"""What tasks of native coroutines spare: a context each, and memory of their own once a batch has been that large."""

import asyncio as standard
import contextvars
import gc
import inspect
import threading
import weakref
from typing import Any

import pytest

from plait import asyncio

NUMBER: contextvars.ContextVar[int] = contextvars.ContextVar("NUMBER", default=0)


def test_children_of_gather_have_a_context_each_for_who_asks() -> None:
    async def main() -> None:
        NUMBER.set(1)
        gathering = asyncio.gather(*[asyncio.sleep(0.001, n) for n in range(3)], asyncio.sleep(0, 3))
        NUMBER.set(2)
        children = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert len(children) == 4
        contexts = [task.get_context() for task in children]  # type: ignore[attr-defined]
        assert len({id(context) for context in contexts}) == 4
        assert all(task.get_context() is its for task, its in zip(children, contexts, strict=True))  # type: ignore[attr-defined]
        contexts[0].run(NUMBER.set, 3)
        assert [context[NUMBER] for context in contexts] == [3, 1, 1, 1]
        assert await gathering == [0, 1, 2, 3]

    asyncio.run(main())


def test_what_runs_code_of_the_program_shares_nothing() -> None:
    class Delay(float):
        def __le__(self, other: object) -> bool:
            NUMBER.set(NUMBER.get() + 1)
            return True

    async def main() -> None:
        NUMBER.set(10)
        await asyncio.gather(*[asyncio.sleep(Delay(1)) for _ in range(3)])
        assert NUMBER.get() == 10

    asyncio.run(main())


def test_create_task_takes_what_the_standard_librarys_takes() -> None:
    async def five() -> int:
        return 5

    async def main() -> None:
        assert await asyncio.create_task(five()) == 5
        assert await asyncio.create_task(coro=five()) == 5
        task = asyncio.create_task(five(), name="five")
        assert task.get_name() == "five"
        assert await task == 5
        for wrong in ((), (1, 2)):
            with pytest.raises(TypeError):
                asyncio.create_task(*wrong)

    asyncio.run(main())
    coro = five()
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.create_task(coro)
    coro.close()
    ours, theirs = (inspect.signature(each).parameters for each in (asyncio.create_task, standard.create_task))
    assert [(each.name, each.kind) for each in ours.values()] == [(each.name, each.kind) for each in theirs.values()]


def test_create_task_asks_a_loop_that_has_its_own() -> None:
    made: list[Any] = []

    class Loop(asyncio.EventLoop):
        def create_task(self, coro: Any, **kwargs: Any) -> Any:
            made.append(coro)
            return super().create_task(coro, **kwargs)

    async def main() -> None:
        await asyncio.create_task(asyncio.sleep(0))

    loop = Loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    assert len(made) == 2


def test_loops_of_several_threads_each_find_their_own() -> None:
    wrong: list[object] = []
    both = threading.Barrier(2)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(300):
            await asyncio.sleep(0)
            future = loop.create_future()
            loop.call_later(0.0001, future.set_result, None)
            async with asyncio.timeout(10):
                await future
            task = asyncio.create_task(asyncio.sleep(0))
            if task.get_loop() is not loop:
                wrong.append(task)
            await task

    def run() -> None:
        both.wait()
        asyncio.run(main())

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("many", [10, 10_000])
def test_tasks_that_are_dropped_while_they_sleep_are_collected(many: int) -> None:
    class Mark:
        pass

    async def main() -> list[weakref.ref[Mark]]:
        marks = [Mark() for _ in range(many)]
        asyncio.gather(*[asyncio.sleep(1000, mark) for mark in marks]).add_done_callback(lambda _: None)
        await asyncio.sleep(0)
        return [weakref.ref(mark) for mark in marks]

    loop = asyncio.EventLoop()
    found = loop.run_until_complete(main())
    loop.close()
    del loop
    for _ in range(3):
        gc.collect()
    assert not any(mark() for mark in found)


def test_a_timeout_is_a_coroutine_context_of_its_own_class() -> None:
    class Own(asyncio.Timeout):
        pass

    async def main() -> None:
        for _ in range(3):
            own = Own(None)
            gone = weakref.ref(own)
            async with own as entered:
                assert entered is own
                own.reschedule(asyncio.get_running_loop().time() + 10)
            del own, entered
            await asyncio.sleep(0)  # what a native coroutine returned lives until the step ends
            gc.collect()
            assert gone() is None
        with pytest.raises(TypeError):
            asyncio.timeout()  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            asyncio.timeout(1, 2)  # type: ignore[call-arg]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(delay=0.001):
                await asyncio.sleep(10)

    asyncio.run(main())


def test_a_queues_item_can_be_given_by_name() -> None:
    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue()
        await queue.put(item=1)
        assert await queue.get() == 1
        with pytest.raises(TypeError):
            queue.put()  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            queue.get(1)  # type: ignore[call-arg]

    asyncio.run(main())
