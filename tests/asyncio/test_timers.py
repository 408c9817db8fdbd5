"""Timers: order, cancelling, the clock, and a great many of them."""

import asyncio
import gc
import time
import weakref

import pytest

import plait.asyncio


@pytest.fixture
def loop():
    loop = plait.asyncio.EventLoop()
    yield loop
    loop.close()


def test_timers_run_in_order_of_time_and_then_of_arrival(loop):
    seen, now = [], loop.time()
    for name, when in [("c", 0.03), ("a1", 0.01), ("b", 0.02), ("a2", 0.01), ("a3", 0.01)]:
        loop.call_at(now + when, seen.append, name)
    loop.call_at(now + 0.04, loop.stop)
    loop.run_forever()
    assert seen == ["a1", "a2", "a3", "b", "c"]


def test_a_timer_is_what_asyncio_says(loop):
    timer = loop.call_at(loop.time() + 100, print, 1)
    assert isinstance(timer, asyncio.TimerHandle)
    assert timer._scheduled
    assert timer.when() == timer._when
    assert repr(timer).startswith(f"<TimerHandle when={timer.when()} print(")
    same = loop.call_at(timer.when(), print, 1)
    later = loop.call_at(timer.when() + 1, print, 1)
    assert timer == same
    assert hash(timer) == hash(same) == hash(timer.when())
    assert timer < later <= later
    assert timer != later
    assert later > timer
    assert timer != 1
    timer.cancel()
    timer.cancel()
    assert not timer._scheduled
    assert timer != same
    assert repr(timer) == f"<TimerHandle cancelled when={timer.when()}>"


def test_a_cancelled_timer_lets_go_at_once(loop):
    class Thing:
        def call(self):
            pytest.fail("cancelled")

    thing = Thing()
    gone = weakref.ref(thing)
    timer = loop.call_later(3600, thing.call)
    del thing
    timer.cancel()
    assert gone() is None
    assert loop._timer_count() == 0


def test_a_timer_in_the_past_runs_in_the_next_turn_of_a_busy_loop(loop):
    seen = []

    def busy(left):
        if left:
            loop.call_soon(busy, left - 1)
        else:
            loop.stop()

    def start():
        loop.call_later(0, seen.append, 1)
        loop.call_later(-1, seen.append, 0)
        loop.call_soon(busy, 3)

    loop.call_soon(start)
    loop.run_forever()
    assert seen == [0, 1]


def test_no_timer_comes_too_early(loop):
    async def main():
        for delay in (0.0001, 0.0007, 0.0015, 0.01):
            due = loop.time() + delay
            heard = loop.create_future()
            loop.call_later(delay, heard.set_result, None)
            await heard
            assert loop.time() >= due - 1e-6

    loop.run_until_complete(main())


def test_a_sleep_is_precise_to_less_than_a_millisecond(loop):
    """asyncio's selector rounds up to whole milliseconds."""

    async def main():
        took = []
        for _ in range(20):
            before = time.perf_counter()
            await asyncio.sleep(0.0002)
            took.append(time.perf_counter() - before)
        return min(took)

    assert loop.run_until_complete(main()) < 0.001


def test_far_times_are_kept(loop):
    for far in (1e9, 1e18, float("inf")):
        loop.call_later(far, pytest.fail).cancel()
        loop.call_later(far, pytest.fail)
    loop.call_later(0.01, loop.stop)
    loop.run_forever()


def test_a_loop_with_a_clock_of_its_own_keeps_its_delays():
    class Loop(plait.asyncio.EventLoop):
        def time(self):
            return super().time() + 1000

    loop = Loop()
    seen = []
    timer = loop.call_later(0.01, seen.append, 1)
    assert timer.when() > time.monotonic() + 999
    loop.call_at(loop.time() + 0.02, loop.stop)
    loop.run_forever()
    loop.close()
    assert seen == [1]


def test_many_sleepers_cost_no_more_each_than_few(loop):
    """A hundred thousand; asyncio's heap of handles grows worse than linearly."""

    async def sleepers(count):
        before = time.perf_counter()
        await asyncio.gather(*(asyncio.sleep(0.2) for _ in range(count)))
        return (time.perf_counter() - before - 0.2) / count

    gc.disable()
    try:
        few = min(loop.run_until_complete(sleepers(10_000)) for _ in range(3))
        many = loop.run_until_complete(sleepers(100_000))
    finally:
        gc.enable()
    assert many < 5 * max(few, 1e-6)


def test_timers_that_are_cancelled_all_the_time_hold_no_memory(loop):
    for _ in range(100_000):
        loop.call_later(60, print).cancel()
    assert loop._timer_count() == 0
