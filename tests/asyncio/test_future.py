"""`plait.asyncio.Future`: what CPython's own tests (conformance/) do not ask."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from typing import Any

import pytest

import plait.asyncio

Loop = Any


@pytest.fixture(params=["plait", "standard"])
def loop(request: pytest.FixtureRequest) -> Any:
    """A loop of either kind: our futures work on both."""
    made = plait.asyncio.EventLoop() if request.param == "plait" else asyncio.SelectorEventLoop()
    yield made
    made.close()


def test_a_result_is_awaited(loop: Loop) -> None:
    async def main() -> Any:
        future = plait.asyncio.Future()
        loop.call_soon(future.set_result, 7)
        return await future, await future

    assert loop.run_until_complete(main()) == (7, 7)


@pytest.mark.parametrize("value", [None, (), (1, 2), ValueError("a value"), StopIteration(3), [1]])
def test_any_value_is_awaited_as_it_is(loop: Loop, value: object) -> None:
    async def main() -> object:
        future = loop.create_future()
        loop.call_soon(future.set_result, value)
        return await future

    assert loop.run_until_complete(main()) is value


def test_a_value_is_let_go_of_after_the_step(loop: Loop) -> None:
    class Value:
        pass

    async def main() -> weakref.ref[Value]:
        future = plait.asyncio.Future()
        future.set_result(Value())
        return weakref.ref(await future)

    async def outer() -> weakref.ref[Value]:
        return await asyncio.get_running_loop().create_task(main())

    seen = loop.run_until_complete(outer())
    gc.collect()
    assert seen() is None


def test_callbacks_run_in_order_and_later(loop: Loop) -> None:
    seen: list[str] = []
    future = plait.asyncio.Future(loop=loop)
    for name in "abc":
        future.add_done_callback(lambda _, name=name: seen.append(name))
    future.set_result(None)
    assert not seen
    future.add_done_callback(lambda _: seen.append("late"))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == ["a", "b", "c", "late"]


def test_a_callback_that_is_removed_while_it_is_compared(loop: Loop) -> None:
    future = plait.asyncio.Future(loop=loop)
    seen: list[str] = []

    class Odd:
        def __call__(self, _: object) -> None:
            seen.append("odd")

        def __eq__(self, other: object) -> bool:
            if not future.done():
                future.set_result(None)
            return True

        __hash__ = None  # type: ignore[assignment]

    future.add_done_callback(Odd())
    assert future.remove_done_callback(print) == 0
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == ["odd"]


def test_iter_gives_a_generators_methods() -> None:
    loop = asyncio.new_event_loop()
    try:
        future = plait.asyncio.Future(loop=loop)
        steps = iter(future)
        assert steps.send(None) is future
        assert future._asyncio_future_blocking
        future.set_result((1, 2))
        with pytest.raises(StopIteration) as stopped:
            steps.send(None)
        assert stopped.value.args == ((1, 2),)
        assert stopped.value.value == (1, 2)
        with pytest.raises(KeyError):
            iter(future).throw(KeyError())
        iter(future).close()
        assert not hasattr(future, "send")
        assert not asyncio.iscoroutine(future)
    finally:
        loop.close()


class TestObjects:
    def test_a_weak_reference_and_attributes(self, loop: Loop) -> None:
        future = plait.asyncio.Future(loop=loop)
        future.note = "mine"
        gone: list[object] = []
        watch = weakref.ref(future, gone.append)
        assert future.__dict__ == {"note": "mine"}
        del future
        assert gone == [watch]

    def test_the_free_list_gives_clean_objects(self, loop: Loop) -> None:
        for turn in range(3):
            many = [plait.asyncio.Future(loop=loop) for _ in range(5000)]
            assert all(future.__dict__ == {} and not future.done() for future in many), turn
            for future in many:
                future.mark = many
                future.set_result(many)
            del many, future
            gc.collect()

    def test_a_cycle_is_collected(self, loop: Loop) -> None:
        future = plait.asyncio.Future(loop=loop)
        future.me = future
        future.add_done_callback(lambda _, me=future: None)
        watch = weakref.ref(future)
        del future
        gc.collect()
        assert watch() is None

    def test_an_unseen_exception_is_reported_once_even_if_revived(self, loop: Loop) -> None:
        seen: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: seen.append(context))
        future = plait.asyncio.Future(loop=loop)
        future.set_exception(ValueError("lost"))
        del future
        assert [context["message"] for context in seen] == ["Future exception was never retrieved"]
        revived = seen.pop()["future"]
        assert revived.done()
        del revived
        gc.collect()
        assert not seen

    def test_a_subclass(self, loop: Loop) -> None:
        class Mine(plait.asyncio.Future):
            __slots__ = ("extra",)

            def __init__(self, extra: int, *, loop: Loop) -> None:
                super().__init__(loop=loop)
                self.extra = extra

        seen: list[str] = []
        loop.set_exception_handler(lambda _, context: seen.append(context["message"]))

        async def main() -> int:
            future = Mine(3, loop=loop)
            loop.call_soon(future.set_result, 4)
            return await future + future.extra

        assert loop.run_until_complete(main()) == 7
        lost = Mine(1, loop=loop)
        lost.set_exception(KeyError())
        del lost
        gc.collect()
        assert seen == ["Mine exception was never retrieved"]

    def test_what_is_not_initialized(self) -> None:
        future = plait.asyncio.Future.__new__(plait.asyncio.Future)
        assert not future.done()
        for call in (
            lambda: future.set_result(1),
            lambda: future.add_done_callback(print),
            lambda: future.get_loop(),
            lambda: future.cancel(),
        ):
            with pytest.raises(RuntimeError, match="not initialized"):
                call()
        gc.collect()


def test_a_closed_loop_refuses_callbacks() -> None:
    loop = plait.asyncio.EventLoop()
    future = plait.asyncio.Future(loop=loop)
    future.add_done_callback(print)
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        future.set_result(None)


def test_in_debug_mode_another_thread_is_refused() -> None:
    loop = plait.asyncio.EventLoop()
    loop.set_debug(True)
    errors: list[str] = []

    async def main() -> None:
        future = loop.create_future()
        future.add_done_callback(print)

        def wake() -> None:
            try:
                future.set_result(None)
            except RuntimeError as error:
                errors.append(str(error))

        thread = threading.Thread(target=wake)
        thread.start()
        thread.join()

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    assert len(errors) == 1
    assert "Non-thread-safe operation" in errors[0]


@pytest.mark.skipif(sys.version_info < (3, 12, 2), reason="earlier versions refuse it")
def test_stop_iteration_becomes_a_runtime_error(loop: Loop) -> None:
    future = plait.asyncio.Future(loop=loop)
    future.set_exception(StopIteration("x"))
    error = future.exception()
    assert isinstance(error, RuntimeError)
    assert isinstance(error.__cause__, StopIteration)
