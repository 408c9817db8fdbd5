"""TaskGroup.cancel(), which asyncio has from 3.15 on, and plait on every version."""

# ruff: noqa: PT012 (a group raises at the end of its block)
import asyncio as stdlib
from typing import Any

import pytest

import plait.asyncio as asyncio

GROUPS = pytest.mark.parametrize(
    "group_class",
    [
        asyncio.TaskGroup,
        pytest.param(
            stdlib.TaskGroup,
            marks=pytest.mark.skipif(not hasattr(stdlib.TaskGroup, "cancel"), reason="asyncio's came with 3.15"),
        ),
    ],
    ids=["plait", "asyncio"],
)


class TestCancel:
    @GROUPS
    def test_ends_tasks_and_block_without_an_exception(self, group_class: Any) -> None:
        async def main() -> list[Any]:
            log: list[Any] = []
            async with group_class() as group:
                task = group.create_task(asyncio.sleep(100))
                asyncio.get_running_loop().call_soon(group.cancel)
                try:
                    await asyncio.sleep(100)
                finally:
                    log.append("the block was left")
            return [*log, task.cancelled(), asyncio.current_task().cancelling()]

        assert asyncio.run(main()) == ["the block was left", True, 0]

    @GROUPS
    def test_the_first_result_ends_the_others(self, group_class: Any) -> None:
        async def main() -> list[Any]:
            def first_wins(_: Any) -> None:
                group.cancel()
                group.cancel()  # once is enough

            async with group_class() as group:
                winner = group.create_task(asyncio.sleep(0, 7))
                winner.add_done_callback(first_wins)
                loser = group.create_task(asyncio.sleep(100))
            group.cancel()  # it has ended: nothing
            return [winner.result(), loser.cancelled(), asyncio.current_task().cancelling()]

        assert asyncio.run(main()) == [7, True, 0]

    @GROUPS
    def test_before_the_block(self, group_class: Any) -> None:
        async def main() -> str:
            group = group_class()
            group.cancel()
            async with group:
                await asyncio.sleep(0)
                return "gone on"
            return "left"

        assert asyncio.run(main()) == "left"

    @GROUPS
    def test_an_error_of_a_task_is_raised_all_the_same(self, group_class: Any) -> None:
        async def stubborn() -> None:
            try:
                await asyncio.sleep(100)
            finally:
                raise LookupError("while it was cancelled")

        async def main() -> None:
            with pytest.raises(ExceptionGroup) as caught:
                async with group_class() as group:
                    group.create_task(stubborn())
                    await asyncio.sleep(0)
                    group.cancel()
            assert [type(error) for error in caught.value.exceptions] == [LookupError]

        asyncio.run(main())

    @GROUPS
    def test_a_cancellation_from_outside_stays_one(self, group_class: Any) -> None:
        async def work() -> None:
            async with group_class() as group:
                group.create_task(asyncio.sleep(100))
                await asyncio.sleep(0)
                group.cancel()
                asyncio.current_task().cancel()
                await asyncio.sleep(100)

        async def main() -> bool:
            task = asyncio.create_task(work())
            await asyncio.wait([task])
            return task.cancelled()

        assert asyncio.run(main())

    def test_those_that_wait_for_room_never_begin(self) -> None:
        begun = []

        async def work(number: int) -> None:
            begun.append(number)
            await asyncio.sleep(100)

        async def main() -> list[bool]:
            async with asyncio.TaskGroup(limit=2) as group:
                tasks = [group.create_task(work(number)) for number in range(5)]
                await asyncio.sleep(0.01)
                group.cancel()
            return [task.cancelled() for task in tasks]

        assert asyncio.run(main()) == [True] * 5
        assert begun == [0, 1]
