"""`plait.asyncio.Task`: what CPython's own tests (conformance/) do not ask."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import threading
import types
import weakref
from collections.abc import Generator
from typing import Any

import pytest

import plait.asyncio

Loop = Any


@pytest.fixture(params=["plait", "standard"])
def loop(request: pytest.FixtureRequest) -> Any:
    """A loop of either kind: our tasks work on both."""
    made = plait.asyncio.EventLoop() if request.param == "plait" else asyncio.SelectorEventLoop()
    yield made
    made.close()


def task_of(loop: Loop, coro: Any, **options: Any) -> Any:
    return plait.asyncio.Task(coro, loop=loop, **options)


async def give_way(times: int = 1) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


class TestBothKinds:
    """Our tasks and C's, our futures and C's, on our loop and on asyncio's."""

    @pytest.mark.parametrize("future_class", [asyncio.Future, plait.asyncio.Future])
    @pytest.mark.parametrize("task_class", [asyncio.Task, plait.asyncio.Task])
    def test_a_task_waits_for_a_future(self, loop: Loop, task_class: Any, future_class: Any) -> None:
        async def main() -> Any:
            future = future_class(loop=loop)
            loop.call_soon(future.set_result, 5)
            first = await future
            failing = future_class(loop=loop)
            loop.call_soon(failing.set_exception, KeyError(6))
            try:
                await failing
            except KeyError as error:
                return first, error.args[0], asyncio.current_task()

        task = task_class(main(), loop=loop)
        assert loop.run_until_complete(task) == (5, 6, task)

    @pytest.mark.parametrize("future_class", [asyncio.Future, plait.asyncio.Future])
    @pytest.mark.parametrize("task_class", [asyncio.Task, plait.asyncio.Task])
    def test_cancel_passes_on(self, loop: Loop, task_class: Any, future_class: Any) -> None:
        future = future_class(loop=loop)

        async def main() -> None:
            await future

        task = task_class(main(), loop=loop)
        loop.run_until_complete(give_way())
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
        assert future.cancelled()
        assert task.cancelled()

    @pytest.mark.parametrize("inner_class", [asyncio.Task, plait.asyncio.Task])
    @pytest.mark.parametrize("outer_class", [asyncio.Task, plait.asyncio.Task])
    def test_a_task_waits_for_a_task(self, loop: Loop, outer_class: Any, inner_class: Any) -> None:
        async def inner() -> Any:
            await give_way(2)
            return asyncio.current_task()

        async def outer() -> bool:
            task = inner_class(inner(), loop=loop)
            return await task is task and asyncio.current_task() is not task

        assert loop.run_until_complete(outer_class(outer(), loop=loop))


class TestAllTasks:
    def test_both_kinds_until_they_end(self, loop: Loop) -> None:
        async def main() -> None:
            me = asyncio.current_task()
            ours, theirs = task_of(loop, give_way(3)), asyncio.Task(give_way(3), loop=loop)
            assert asyncio.all_tasks() == {me, ours, theirs}
            assert asyncio.all_tasks(loop) == plait.asyncio.all_tasks(loop)
            await ours
            await theirs
            assert asyncio.all_tasks() == {me}

        loop.run_until_complete(task_of(loop, main()))
        assert not asyncio.all_tasks(loop)

    def test_a_task_is_not_kept_alive(self, loop: Loop) -> None:
        task = task_of(loop, give_way())
        task._log_destroy_pending = False
        watch = weakref.ref(task)
        loop.run_until_complete(give_way(3))
        del task
        gc.collect()
        assert watch() is None

    def test_many_begin_and_end_in_any_order(self, loop: Loop) -> None:
        async def main() -> None:
            tasks = [task_of(loop, give_way(number % 7)) for number in range(1000)]
            assert len(asyncio.all_tasks()) == 1001
            for task in tasks[::3]:
                task.cancel()
            await asyncio.wait(tasks)
            assert len(asyncio.all_tasks()) == 1

        loop.run_until_complete(task_of(loop, main()))

    def test_loops_in_threads_do_not_mix(self) -> None:
        counts: list[int] = []

        async def main() -> None:
            tasks = [asyncio.get_running_loop().create_task(give_way(50)) for _ in range(100)]
            for _ in range(20):
                await asyncio.sleep(0)
                counts.append(len(asyncio.all_tasks()))
            for task in tasks:
                await task

        threads = [threading.Thread(target=plait.asyncio.run, args=(main(),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert counts == [101] * 80


class TestEnd:
    def test_a_pending_task_that_is_lost_is_reported(self, loop: Loop) -> None:
        seen: list[str] = []
        loop.set_exception_handler(lambda _, context: seen.append(context["message"]))

        async def forever() -> None:
            await plait.asyncio.Future(loop=loop)

        task_of(loop, forever())
        loop.run_until_complete(give_way(2))
        gc.collect()
        assert seen == ["Task was destroyed but it is pending!"]

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
    def test_what_ends_the_program_leaves_the_loop(self, loop: Loop, kind: type[BaseException]) -> None:
        async def main() -> None:
            raise kind("out")

        task = task_of(loop, main())
        with pytest.raises(kind):
            loop.run_until_complete(task)
        assert isinstance(task.exception(), kind)
        loop.run_until_complete(give_way())
        assert asyncio.all_tasks(loop) == set()

    def test_no_task_runs_between_steps(self, loop: Loop) -> None:
        seen: list[Any] = []

        async def main() -> None:
            loop.call_soon(lambda: seen.append(asyncio.current_task(loop)))
            await give_way(2)

        loop.run_until_complete(task_of(loop, main()))
        assert seen == [None]

    def test_exceptions_make_no_cycles(self, loop: Loop) -> None:
        async def fail() -> None:
            raise KeyError

        async def main() -> None:
            try:
                await task_of(loop, fail())
            except KeyError:
                pass

        gc.collect()
        gc.disable()
        try:
            loop.run_until_complete(task_of(loop, main()))
            assert [found for found in gc.get_objects() if isinstance(found, plait.asyncio.Task)] == []
        finally:
            gc.enable()


class TestWhatIsAwaited:
    def test_what_cannot_be_waited_for(self, loop: Loop) -> None:
        class Odd:
            def __await__(self) -> Generator[Any, None, None]:
                yield 5

        async def main() -> None:
            with pytest.raises(RuntimeError, match="Task got bad yield: 5"):
                await Odd()
            other = asyncio.new_event_loop()
            try:
                with pytest.raises(RuntimeError, match="attached to a different loop"):
                    await plait.asyncio.Future(loop=other)
            finally:
                other.close()
            with pytest.raises(RuntimeError, match="cannot await on itself"):
                await asyncio.current_task()  # type: ignore[misc]

        loop.run_until_complete(task_of(loop, main()))

    def test_objects_like_coroutines(self, loop: Loop) -> None:
        class Like:
            def __init__(self) -> None:
                self.left = 3

            def __await__(self) -> Like:
                return self

            def __iter__(self) -> Like:
                return self

            def __next__(self) -> None:
                return self.send(None)

            def send(self, _: object) -> None:
                self.left -= 1
                if not self.left:
                    raise StopIteration("done")

            def throw(self, *error: Any) -> None:
                raise error[0]

            def close(self) -> None:
                pass

        @types.coroutine
        def generator() -> Generator[Any, Any, str]:
            yield
            return "generated"

        async def use() -> str:
            return await generator()

        async def main() -> Any:
            return await task_of(loop, Like()), await task_of(loop, use())

        assert loop.run_until_complete(task_of(loop, main())) == ("done", "generated")

    def test_each_task_has_its_context(self, loop: Loop) -> None:
        var: contextvars.ContextVar[int] = contextvars.ContextVar("var", default=0)

        async def change(value: int) -> int:
            assert var.get() == 7
            var.set(value)
            await give_way(2)
            return var.get()

        async def main() -> None:
            var.set(7)
            tasks = [task_of(loop, change(number)) for number in range(5)]
            assert [await task for task in tasks] == [0, 1, 2, 3, 4]
            given = contextvars.copy_context()
            await task_of(loop, change(9), context=given)
            assert given[var] == 9
            assert var.get() == 7

        loop.run_until_complete(task_of(loop, main()))

    def test_a_cancel_between_the_wake_up_and_the_step(self, loop: Loop) -> None:
        future = plait.asyncio.Future(loop=loop)
        seen: list[str] = []

        async def main() -> None:
            try:
                await future
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        task = task_of(loop, main())
        loop.run_until_complete(give_way())
        future.set_result(1)
        assert task.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
        assert seen == ["cancelled"]
        assert future.result() == 1


@pytest.mark.skipif(sys.version_info < (3, 12), reason="3.12 has eager tasks")
class TestEager:
    def test_it_begins_at_once(self, loop: Loop) -> None:
        seen: list[Any] = []

        async def child() -> int:
            seen.append(asyncio.current_task())
            return 1

        async def waits() -> int:
            await give_way(2)
            return 2

        async def main() -> None:
            me = asyncio.current_task()
            task = task_of(loop, child(), eager_start=True)
            assert task.done()
            assert seen == [task]
            assert asyncio.current_task() is me
            later = task_of(loop, waits(), eager_start=True)
            assert not later.done()
            assert asyncio.all_tasks() == {me, later}
            assert await later == 2

        loop.run_until_complete(task_of(loop, main()))

    def test_the_factory(self, loop: Loop) -> None:
        async def child() -> int:
            return 1

        async def main() -> None:
            loop.set_task_factory(plait.asyncio.eager_task_factory)
            task = loop.create_task(child(), name="quick")
            assert type(task) is plait.asyncio.Task
            assert task.done()
            assert task.get_name() == "quick"

        loop.run_until_complete(main())


def test_names(loop: Loop) -> None:
    first, second = task_of(loop, give_way()), task_of(loop, give_way())
    numbers = [int(task.get_name().removeprefix("Task-")) for task in (first, second)]
    assert numbers[1] == numbers[0] + 1
    assert task_of(loop, give_way(), name=5).get_name() == "5"
    first.set_name(1.5)
    assert first.get_name() == "1.5"
    loop.run_until_complete(give_way(3))


@pytest.mark.skipif(sys.version_info < (3, 14), reason="3.14 has call graphs")
def test_who_waits_for_whom(loop: Loop) -> None:
    async def main() -> None:
        future = plait.asyncio.Future(loop=loop)

        async def wait() -> None:
            await future

        tasks = {task_of(loop, wait()) for _ in range(3)}
        await give_way()
        assert future._asyncio_awaited_by == tasks
        future.set_result(None)
        await asyncio.wait(tasks)
        assert future._asyncio_awaited_by is None

    loop.run_until_complete(task_of(loop, main()))
