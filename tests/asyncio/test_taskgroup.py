"""TaskGroup on plait's loop, and its limit."""

# ruff: noqa: PT012 (a group raises at the end of its block)
import asyncio as stdlib
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import plait.asyncio as asyncio


async def give(value: Any, turns: int = 1) -> Any:
    for _ in range(turns):
        await asyncio.sleep(0)
    return value


async def fail(error: BaseException, turns: int = 1) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)
    raise error


RUNNERS = pytest.mark.parametrize("run", [asyncio.run, stdlib.run], ids=["plait's loop", "asyncio's loop"])


@RUNNERS
def test_the_block_ends_when_its_tasks_have(run: Callable[[Any], Any]) -> None:
    async def main() -> list[int]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(give(number, number), name=f"n{number}") for number in range(5)]
            assert [task.get_name() for task in tasks] == ["n0", "n1", "n2", "n3", "n4"]
        return [task.result() for task in tasks]

    assert run(main()) == [0, 1, 2, 3, 4]


@RUNNERS
def test_the_first_error_cancels_the_others_and_the_block(run: Callable[[Any], Any]) -> None:
    async def main() -> None:
        victim = None
        with pytest.raises(ExceptionGroup, match="unhandled errors in a TaskGroup") as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail(ValueError(1)))
                group.create_task(fail(KeyError(2)))
                victim = group.create_task(asyncio.sleep(100))
                await asyncio.sleep(100)
        assert [type(error) for error in caught.value.exceptions] == [ValueError, KeyError]
        assert caught.value.__cause__ is None
        assert victim is not None
        assert victim.cancelled()
        assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(0)

    run(main())


def test_an_error_of_the_block_is_in_the_group() -> None:
    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(asyncio.sleep(100))
                raise KeyError("block")
        assert task.cancelled()
        (error,) = caught.value.exceptions
        assert isinstance(error, KeyError)
        assert caught.value.__context__ is error

    asyncio.run(main())


def test_cancelled_from_outside_it_cancels_its_tasks() -> None:
    async def main() -> None:
        tasks = []

        async def block() -> None:
            async with asyncio.TaskGroup() as group:
                tasks.append(group.create_task(asyncio.sleep(100)))

        task = asyncio.create_task(block())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel("outside")
        with pytest.raises(asyncio.CancelledError, match="outside"):
            await task
        assert task.cancelling() == 1
        assert tasks[0].cancelled()

    asyncio.run(main())


def test_keyboard_interrupt_is_raised_as_it_is() -> None:
    class Interrupt(KeyboardInterrupt):
        pass

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(100))
            raise Interrupt

    with pytest.raises(Interrupt):
        asyncio.run(main())


def test_states_and_their_texts() -> None:
    async def main() -> None:
        group = asyncio.TaskGroup()
        assert repr(group) == "<TaskGroup>"
        refused = give(1)
        with pytest.raises(RuntimeError, match=r"TaskGroup <TaskGroup> has not been entered"):
            group.create_task(refused)
        refused.close()  # early versions leave that to the caller
        async with group:
            assert repr(group) == "<TaskGroup entered>"
            with pytest.raises(RuntimeError, match="has already been entered"):
                await group.__aenter__()
            group.create_task(give(1))
            assert repr(group) == "<TaskGroup tasks=1 entered>"
        refused = give(1)
        with pytest.raises(RuntimeError, match="is finished"):
            group.create_task(refused)
        refused.close()
        group = asyncio.TaskGroup()
        with pytest.raises(ExceptionGroup):
            async with group:

                async def late() -> None:
                    try:
                        await asyncio.sleep(100)
                    finally:
                        assert repr(group) == "<TaskGroup tasks=1 errors=1 cancelling>"
                        refused = give(1)
                        with pytest.raises(RuntimeError, match="is shutting down"):
                            group.create_task(refused)
                        refused.close()

                group.create_task(late())
                group.create_task(fail(KeyError()))

    asyncio.run(main())


def test_a_subclass_has_arguments_of_its_own() -> None:
    class Named(asyncio.TaskGroup):
        def __init__(self, name: str) -> None:
            super().__init__(limit=2)
            self.name = name

        def create_task(self, coro: Any, **kwargs: Any) -> Any:
            return super().create_task(coro, name=self.name, **kwargs)

    async def main() -> str:
        async with Named("crew") as group:
            assert group.limit == 2
            return group.create_task(give(1)).get_name()

    assert asyncio.run(main()) == "crew"


def test_nothing_holds_on_to_errors_or_tasks() -> None:
    class Lost(Exception):
        pass

    async def lose() -> None:
        raise Lost

    async def main() -> None:
        error, task = None, None
        gc.disable()
        try:
            try:
                async with asyncio.TaskGroup() as group:
                    task = weakref.ref(group.create_task(lose()))
            except ExceptionGroup as caught:
                error = weakref.ref(caught.exceptions[0])
            assert error is not None
            assert error() is None
            assert task is not None
            assert task() is None
        finally:
            gc.enable()

    asyncio.run(main())


class Meter:
    """How many run at a time."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self.order: list[int] = []

    async def work(self, number: int, turns: int = 3) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        self.order.append(number)
        try:
            for _ in range(turns):
                await asyncio.sleep(0)
        finally:
            self.running -= 1
        return number


@RUNNERS
def test_no_more_than_the_limit_run_at_a_time(run: Callable[[Any], Any]) -> None:
    async def main() -> None:
        meter = Meter()
        async with asyncio.TaskGroup(limit=3) as group:
            tasks = [group.create_task(meter.work(number, number % 4)) for number in range(50)]
            assert not meter.order
        assert meter.most == 3
        assert meter.order == list(range(50))
        assert [task.result() for task in tasks] == list(range(50))

    run(main())


def test_a_task_in_the_line_can_be_awaited_named_and_cancelled() -> None:
    async def main() -> None:
        meter = Meter()
        async with asyncio.TaskGroup(limit=1) as group:
            group.create_task(meter.work(0, 5))
            waiting = group.create_task(meter.work(1), name="second")
            group.create_task(meter.work(2))
            assert waiting.get_name() == "second"
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert meter.order == [0]
        assert meter.order == [0, 2]
        assert meter.most == 1

    asyncio.run(main())


def test_an_error_cancels_those_in_the_line() -> None:
    async def main() -> None:
        meter = Meter()
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup(limit=1) as group:
                group.create_task(fail(KeyError()))
                tasks = [group.create_task(meter.work(number)) for number in range(10)]
        assert len(caught.value.exceptions) == 1
        assert all(task.cancelled() for task in tasks)
        assert not meter.order

    asyncio.run(main())


def test_spawn_waits_until_there_is_room() -> None:
    async def main() -> None:
        meter = Meter()
        ahead = 0
        async with asyncio.TaskGroup(limit=4) as group:
            for number in range(40):
                task = await group.spawn(meter.work(number), name=f"n{number}")
                assert task.get_name() == f"n{number}"
                ahead = max(ahead, number + 1 - len(meter.order))
                assert len(group._tasks) <= 4
        assert meter.most == 4
        assert ahead <= 4
        assert meter.order == list(range(40))

    asyncio.run(main())


def test_spawn_without_a_limit_does_not_wait() -> None:
    async def main() -> int:
        async with asyncio.TaskGroup() as group:
            steps = group.spawn(give(7))
            with pytest.raises(StopIteration) as stopped:
                steps.send(None)
        return stopped.value.value.result()

    assert asyncio.run(main()) == 7


def test_a_spawn_that_is_given_up_leaves_its_place() -> None:
    async def main() -> None:
        meter = Meter()
        async with asyncio.TaskGroup(limit=1) as group:
            group.create_task(meter.work(0, 4))
            given_up = asyncio.create_task(group.spawn(meter.work(1)))
            patient = asyncio.create_task(group.spawn(meter.work(2)))
            await asyncio.sleep(0)
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
            assert await (await patient) == 2
        assert meter.order == [0, 2]

    asyncio.run(main())


def test_spawn_is_turned_away_when_the_group_shuts_down() -> None:
    async def main() -> None:
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup(limit=1) as group:
                group.create_task(fail(KeyError(), 3))
                outside = asyncio.create_task(group.spawn(give(1)))
                await asyncio.sleep(100)
        with pytest.raises(RuntimeError, match="is shutting down|is finished"):
            await outside

    asyncio.run(main())


@pytest.mark.parametrize(
    ("limit", "error"), [(0, ValueError), (-1, ValueError), ("2", TypeError), (1.5, TypeError)]
)
def test_a_limit_is_a_number_of_tasks(limit: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="limit"):
        asyncio.TaskGroup(limit=limit)
