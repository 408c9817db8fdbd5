"""Across threads: run_coroutine_threadsafe and wrap_future, on asyncio, on plait, and on each other's loops."""

import asyncio
import concurrent.futures
import contextvars
import gc
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures.thread import ThreadPoolExecutor as StandardPool
from contextlib import contextmanager

import pytest
from sides import SIDES, Reports, new_loop

import plait
import plait.asyncio
import plait.concurrent.futures


@contextmanager
def served(side) -> Iterator:
    """A loop of that side that runs in a thread of its own."""
    with new_loop(side) as loop:
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield loop
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()


@pytest.fixture(params=[("asyncio", "asyncio"), ("plait", "plait"), ("plait", "asyncio"), ("asyncio", "plait")])
def pair(request):
    """Whose functions on whose loop."""
    functions, loops = request.param
    return SIDES[functions], SIDES[loops]


@pytest.fixture(params=SIDES.values(), ids=SIDES)
def side(request):
    return request.param


async def double(value):
    await asyncio.sleep(0)
    return 2 * value


class TestSubmitted:
    def test_results(self, pair):
        functions, loops = pair
        with served(loops) as loop:
            futures = [functions.run_coroutine_threadsafe(double(n), loop) for n in range(100)]
            assert all(isinstance(future, concurrent.futures.Future) for future in futures)
            assert [future.result(10) for future in futures] == list(range(0, 200, 2))

    def test_from_many_threads(self, pair):
        functions, loops = pair
        with served(loops) as loop, StandardPool(4) as pool:

            def call(n):
                return functions.run_coroutine_threadsafe(double(n), loop).result(10)

            assert list(pool.map(call, range(1000))) == list(range(0, 2000, 2))

    def test_errors(self, pair):
        functions, loops = pair

        async def fail(error):
            await asyncio.sleep(0)
            raise error

        with served(loops) as loop:
            error = LookupError("nothing there")
            assert functions.run_coroutine_threadsafe(fail(error), loop).exception(10) is error
            # The concurrent error of that name would be taken for a cancellation of the thread's own future.
            other = functions.run_coroutine_threadsafe(fail(concurrent.futures.CancelledError("x")), loop)
            assert type(other.exception(10)) is asyncio.CancelledError

    def test_a_cancelled_task_cancels_the_future(self, pair):
        functions, loops = pair

        async def cancel_itself():
            asyncio.current_task().cancel()
            await asyncio.sleep(10)

        with served(loops) as loop:
            future = functions.run_coroutine_threadsafe(cancel_itself(), loop)
            with pytest.raises(concurrent.futures.CancelledError):
                future.result(10)
            assert future.cancelled()

    def test_a_cancelled_future_cancels_the_task(self, pair):
        functions, loops = pair
        begun, ended = threading.Event(), threading.Event()

        async def wait():
            begun.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ended.set()
                raise

        with served(loops) as loop:
            future = functions.run_coroutine_threadsafe(wait(), loop)
            assert begun.wait(10)
            assert not future.running()  # as it has always been: so it can be cancelled
            assert future.cancel()
            assert ended.wait(10)

    def test_cancelled_before_it_begins(self, pair):
        functions, loops = pair
        ran = []

        async def run():
            ran.append(True)

        with served(loops) as loop:
            held = threading.Event()
            loop.call_soon_threadsafe(held.wait, 10)
            future = functions.run_coroutine_threadsafe(run(), loop)
            assert future.cancel()
            held.set()
            functions.run_coroutine_threadsafe(double(1), loop).result(10)
        # Before 3.14 the task begins all the same, and is cancelled at its first await.
        assert ran == ([] if sys.version_info >= (3, 14) else [True])

    def test_a_task_that_returns_in_spite_of_it(self, pair):
        functions, loops = pair
        begun = threading.Event()

        async def stay():
            begun.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return "stayed"

        with served(loops) as loop:
            reports = Reports(loop)
            future = functions.run_coroutine_threadsafe(stay(), loop)
            assert begun.wait(10)
            assert future.cancel()
            functions.run_coroutine_threadsafe(double(1), loop).result(10)
            assert future.cancelled()
            assert reports.contexts == []

    def test_the_callers_context(self, pair):
        functions, loops = pair
        variable = contextvars.ContextVar("variable")

        async def read_and_set():
            value = variable.get()
            variable.set("the task's")
            return value

        with served(loops) as loop:
            variable.set("the caller's")
            assert functions.run_coroutine_threadsafe(read_and_set(), loop).result(10) == "the caller's"
            assert variable.get() == "the caller's"

    def test_task_factory(self, pair):
        functions, loops = pair
        names = []

        def factory(loop, coro, **options):
            names.append(coro.__qualname__)
            return asyncio.Task(coro, loop=loop, **options)

        with served(loops) as loop:
            loop.set_task_factory(factory)
            assert functions.run_coroutine_threadsafe(double(2), loop).result(10) == 4
            assert names == ["double"]

    def test_a_task_factory_that_fails(self, pair):
        functions, loops = pair

        def factory(loop, coro, **options):
            coro.close()
            raise NameError("no task")

        with served(loops) as loop:
            reports = Reports(loop)
            loop.set_task_factory(factory)
            future = functions.run_coroutine_threadsafe(double(2), loop)
            with pytest.raises(NameError, match="no task"):
                future.result(10)
            loop.set_task_factory(None)
            functions.run_coroutine_threadsafe(double(2), loop).result(10)
            assert reports.errors == ["NameError('no task')"]

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
    def test_an_eager_task(self, pair):
        functions, loops = pair

        async def at_once():
            return threading.current_thread()

        with served(loops) as loop:
            loop.set_task_factory(asyncio.eager_task_factory)
            thread = functions.run_coroutine_threadsafe(at_once(), loop).result(10)
            assert thread is not threading.current_thread()

    def test_no_coroutine(self, side):
        with new_loop(side) as loop, pytest.raises(TypeError, match="A coroutine object is required"):
            side.run_coroutine_threadsafe(7, loop)

    def test_a_closed_loop(self, side):
        loop = side.new_event_loop()
        loop.close()
        coro = double(1)
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            side.run_coroutine_threadsafe(coro, loop)
        coro.close()

    def test_nothing_is_left(self, side):
        class Thing:
            pass

        async def give(thing):
            await asyncio.sleep(0)
            return thing

        with served(side) as loop:
            thing = Thing()
            gone = weakref.ref(thing)
            assert side.run_coroutine_threadsafe(give(thing), loop).result(10) is thing
            del thing
            # The loop lets go of the task in the turn after it has told of the result.
            side.run_coroutine_threadsafe(double(1), loop).result(10)
            side.run_coroutine_threadsafe(double(1), loop).result(10)
            gc.collect()
            assert gone() is None

    def test_what_has_not_begun_goes_with_its_loop(self, side):
        loop = side.new_event_loop()
        coro = double(1)
        future = side.run_coroutine_threadsafe(coro, loop)
        gone = weakref.ref(future)
        loop.close()
        coro.close()
        del coro, future, loop
        gc.collect()
        assert gone() is None


class TestDeadlock:
    """What is asked for most: the result of a coroutine of one's own loop, waited for without `await`."""

    def test_in_the_loops_own_thread(self):
        async def main():
            coro = double(1)
            future = plait.asyncio.run_coroutine_threadsafe(coro, asyncio.get_running_loop())
            with pytest.raises(plait.DeadlockError, match="queued for itself"):
                future.result()
            assert await asyncio.wrap_future(future) == 2  # the loop goes on

        plait.asyncio.run(main())

    def test_two_loops_that_wait_for_each_other(self):
        async def there(other):
            return plait.asyncio.run_coroutine_threadsafe(double(1), other).result()

        with served(plait.asyncio) as one, served(plait.asyncio) as two:
            both = threading.Barrier(2)

            async def cross(other):
                both.wait(10)
                return plait.asyncio.run_coroutine_threadsafe(there(asyncio.get_running_loop()), other).result()

            ends = [
                plait.asyncio.run_coroutine_threadsafe(cross(two), one),
                plait.asyncio.run_coroutine_threadsafe(cross(one), two),
            ]
            found = [end.exception(10) for end in ends]
        assert any(isinstance(error, plait.DeadlockError) for error in found), found

    def test_a_loop_that_runs_elsewhere_is_none(self):
        async def slow():
            await asyncio.sleep(0.6)  # twice as long as it takes to see a deadlock
            return "there"

        with served(plait.asyncio) as loop:
            assert plait.asyncio.run_coroutine_threadsafe(slow(), loop).result() == "there"

    def test_nor_is_one_that_runs_later(self):
        with new_loop(plait.asyncio) as loop:
            loop.run_until_complete(double(1))  # in this thread, which could end the wait then
            future = plait.asyncio.run_coroutine_threadsafe(double(2), loop)
            thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.sleep(0.05)))
            timer = threading.Timer(0.6, thread.start)
            timer.start()
            assert future.result() == 4
            timer.join()
            thread.join()


class TestWrapped:
    @pytest.mark.parametrize("make", [concurrent.futures.Future, plait.concurrent.futures.Future])
    def test_result_error_and_cancellation(self, pair, make):
        functions, loops = pair

        async def main():
            ends = [make() for _ in range(3)]
            wrapped = [functions.wrap_future(end) for end in ends]
            assert all(asyncio.isfuture(future) for future in wrapped)
            ends[0].set_result(1)
            ends[1].set_exception(LookupError("x"))
            ends[2].cancel()
            return await asyncio.gather(*wrapped, return_exceptions=True)

        with new_loop(loops) as loop:
            ended = loop.run_until_complete(main())
        assert ended[0] == 1
        assert [type(end) for end in ended[1:]] == [LookupError, asyncio.CancelledError]

    @pytest.mark.parametrize("make", [concurrent.futures.Future, plait.concurrent.futures.Future])
    def test_cancelling_the_wrapper_cancels_the_other(self, pair, make):
        functions, loops = pair

        async def main():
            end = make()
            functions.wrap_future(end).cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return end.cancelled()

        with new_loop(loops) as loop:
            assert loop.run_until_complete(main())

    def test_from_another_thread(self, pair):
        functions, loops = pair

        async def main(pool):
            return [await functions.wrap_future(pool.submit(pow, 2, n)) for n in range(100)]

        with new_loop(loops) as loop, StandardPool(1) as pool:
            assert loop.run_until_complete(main(pool)) == [2**n for n in range(100)]

    def test_a_loop_that_is_given(self, pair):
        functions, loops = pair
        with new_loop(loops) as loop:
            end = concurrent.futures.Future()
            wrapped = functions.wrap_future(end, loop=loop)
            assert wrapped.get_loop() is loop
            end.set_result("there")
            assert loop.run_until_complete(wrapped) == "there"

    def test_a_loop_that_is_closed_hears_nothing(self, side):
        with new_loop(side) as loop:
            end = concurrent.futures.Future()
            side.wrap_future(end, loop=loop)
            loop.close()
            end.set_result(1)

    def test_a_future_of_a_loop_is_itself(self, side):
        with new_loop(side) as loop:
            future = loop.create_future()
            assert side.wrap_future(future) is future

    def test_anything_else(self, side):
        with new_loop(side) as loop, pytest.raises(AssertionError, match="is expected, got 7"):
            side.wrap_future(7, loop=loop)
