"""timeout(), timeout_at() and sleep() of asyncio: what CPython's own tests leave open."""

import asyncio
import decimal
import fractions
import sys
import time
from typing import Any

import pytest

import plait.asyncio
from tests.asyncio.primitives import OURS, SIDES, run, turns

sides = pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)
ours = pytest.mark.parametrize("side", OURS.values(), ids=OURS)


@sides
def test_states_and_reprs(side: Any) -> None:
    async def main(side: Any) -> None:
        timeout = side.timeout(None)
        assert (repr(timeout), timeout.when()) == ("<Timeout [created]>", None)
        with pytest.raises(RuntimeError, match="^Timeout has not been entered$"):
            timeout.reschedule(1)
        async with timeout as entered:
            assert entered is timeout
            assert repr(timeout) == "<Timeout [active] when=None>"
            timeout.reschedule(12345678.98765)
            assert repr(timeout) == "<Timeout [active] when=12345678.988>"
            assert (timeout.when(), timeout.expired()) == (12345678.98765, False)
            with pytest.raises(RuntimeError, match="^Timeout has already been entered$"):
                await timeout.__aenter__()
        assert repr(timeout) == "<Timeout [finished]>"
        with pytest.raises(RuntimeError, match="^Cannot change state of finished Timeout$"):
            timeout.reschedule(1)

    run(side, main)


@sides
@pytest.mark.parametrize("delay", [0, -1, 0.001, True, fractions.Fraction(1, 1000)])
def test_it_expires(side: Any, delay: Any) -> None:
    async def main(side: Any) -> None:
        with pytest.raises(TimeoutError) as raised:
            async with side.timeout(delay) as timeout:
                await side.sleep(10)
        assert (timeout.expired(), repr(timeout)) == (True, "<Timeout [expired]>")
        assert isinstance(raised.value.__cause__, asyncio.CancelledError)
        assert raised.value.__context__ is raised.value.__cause__
        assert side.current_task().cancelling() == 0

    if delay is True:
        delay = False
    run(side, main)


@sides
def test_a_block_that_ends_in_time(side: Any) -> None:
    async def main(side: Any) -> None:
        async with side.timeout(0.01):
            pass
        async with side.timeout_at(asyncio.get_running_loop().time() + 0.01):
            pass
        await side.sleep(0.03)
        assert side.current_task().cancelling() == 0

    run(side, main)


@sides
def test_other_errors_and_other_cancels_go_through(side: Any) -> None:
    async def cancelled(side: Any) -> None:
        async with side.timeout(10):
            await side.sleep(10)

    async def main(side: Any) -> None:
        with pytest.raises(KeyError):
            async with side.timeout(10):
                raise KeyError
        task = side.create_task(cancelled(side))
        await turns(side)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(side, main)


@sides
def test_nested(side: Any) -> None:
    async def main(side: Any) -> None:
        with pytest.raises(TimeoutError):
            async with side.timeout(0.001) as outer, side.timeout(10) as inner:
                await side.sleep(10)
        assert (outer.expired(), inner.expired()) == (True, False)
        async with side.timeout(10) as outer:
            with pytest.raises(TimeoutError):
                async with side.timeout(0.001) as inner:
                    await side.sleep(10)
            await side.sleep(0)
        assert (outer.expired(), inner.expired()) == (False, True)

    run(side, main)


@sides
@pytest.mark.parametrize("moved", [False, True])
def test_a_block_that_ends_or_is_moved_in_the_turn_in_which_its_time_comes(side: Any, moved: bool) -> None:
    told = []

    def late(future: asyncio.Future[None]) -> None:
        future.set_result(None)
        time.sleep(0.05)  # the next turn finds both the task ready and the timer due, in this order

    async def main(side: Any) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context))
        future = loop.create_future()
        async with side.timeout(0.02) as timeout:
            loop.call_soon(late, future)
            await future
            if moved:
                timeout.reschedule(loop.time() + 10)
                await side.sleep(0.02)
        await side.sleep(0.02)
        assert side.current_task().cancelling() == 0
        assert repr(timeout) == "<Timeout [finished]>"

    run(side, main)
    assert told == []


@sides
def test_moved(side: Any) -> None:
    async def main(side: Any) -> None:
        loop = asyncio.get_running_loop()
        async with side.timeout(0.001) as timeout:
            timeout.reschedule(loop.time() + 10)
            await side.sleep(0.01)
            timeout.reschedule(None)
            await side.sleep(0.001)
        with pytest.raises(TimeoutError):
            async with side.timeout(10) as timeout:
                await side.sleep(10, timeout.reschedule(loop.time()))

    run(side, main)


@sides
def test_outside_of_a_task_and_of_a_loop(side: Any) -> None:
    with pytest.raises(RuntimeError, match="^no running event loop$"):
        side.timeout(1)
    side.timeout_at(1)
    loop = side.new_event_loop()
    errors: list[Exception] = []

    def enter() -> None:
        try:
            side.timeout(1).__aenter__().send(None)
        except RuntimeError as error:
            errors.append(error)
        loop.stop()

    loop.call_soon(enter)
    loop.run_forever()
    loop.close()
    assert [str(error) for error in errors] == ["Timeout should be used inside a task"]


@sides
def test_wrong_delays(side: Any) -> None:
    async def main(side: Any) -> None:
        with pytest.raises(TypeError):
            await side.sleep("1")
        with pytest.raises(TypeError):
            await side.sleep(decimal.Decimal(1))
        with pytest.raises(TypeError):
            side.timeout("1")
        if sys.version_info >= (3, 13):
            with pytest.raises(ValueError, match=r"^Invalid delay: NaN \(not a number\)$"):
                await side.sleep(float("nan"))
        await side.sleep(fractions.Fraction(1, 1000))
        await side.sleep(True / 1000)

    run(side, main)


@sides
def test_sleeps_end_in_order(side: Any) -> None:
    async def main(side: Any) -> list[int]:
        order: list[int] = []

        async def sleep(who: int, delay: float) -> None:
            await side.sleep(delay)
            order.append(who)

        delays = [0.03, 0.01, 0.02, 0, -1]
        await side.gather(*(sleep(who, delay) for who, delay in enumerate(delays)))
        return order

    assert run(side, main) == [3, 4, 1, 2, 0]


@ours
def test_a_cancelled_sleep_leaves_no_timer(side: Any) -> None:
    async def main(side: Any) -> None:
        loop = asyncio.get_running_loop()
        task = side.create_task(side.sleep(100))
        before = len(loop._scheduled)
        await turns(side)
        assert len(loop._scheduled) == before + 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        if side is plait.asyncio:
            assert len(loop._scheduled) == before

    run(side, main)


@sides
def test_a_loop_with_a_clock_of_its_own(side: Any) -> None:
    kind = plait.asyncio.EventLoop if side is plait.asyncio else asyncio.SelectorEventLoop

    class Fast(kind):  # type: ignore[misc, valid-type]
        """Time passes a thousand times as fast."""

        def time(self) -> float:
            return super().time() * 1000  # type: ignore[no-any-return]

    loop = Fast()

    async def main() -> float:
        before = loop.time()
        await side.sleep(0.5)  # of this clock; the poller waits so long by its own
        with pytest.raises(TimeoutError):
            async with side.timeout(0.5):
                await side.sleep(1000)
        return loop.time() - before

    passed = loop.run_until_complete(main())
    loop.close()
    assert 1 <= passed < 100_000
