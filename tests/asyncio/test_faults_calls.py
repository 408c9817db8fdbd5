"""What a program must not do with a loop, and what goes wrong in its own code: errors, and the loop goes on."""

import asyncio
import gc
import logging
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sides import SIDES, Reports, new_loop

pytestmark = pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)


@pytest.fixture
def loop(side: Any) -> Iterator[Any]:
    with new_loop(side) as loop:
        yield loop


def turn(loop: Any, times: int = 1) -> None:
    """Let the loop turn so many times."""
    for _ in range(times):
        loop.call_soon(loop.stop)
        loop.run_forever()


# ---------------------------------------------------------------- exceptions in the program's own code


def test_error_in_a_callback_is_reported_once_and_the_next_runs(loop: Any) -> None:
    reports, ran = Reports(loop), []

    def fail() -> None:
        raise ValueError("in a callback")

    loop.call_soon(fail)
    loop.call_soon(ran.append, 1)
    loop.call_later(0, fail)
    loop.call_soon_threadsafe(fail)
    turn(loop, 3)
    assert ran == [1]
    assert reports.errors == ["ValueError('in a callback')"] * 3
    assert all(message.startswith("Exception in callback ") and "fail" in message for message in reports.messages)
    assert all("handle" in context for context in reports.contexts)


def test_error_in_a_done_callback_leaves_the_others(loop: Any) -> None:
    reports, ran = Reports(loop), []
    future = loop.create_future()
    future.add_done_callback(lambda _: 1 / 0)
    future.add_done_callback(ran.append)
    future.set_result(None)
    turn(loop)
    assert ran == [future]
    assert reports.errors == ["ZeroDivisionError('division by zero')"]


def test_error_in_the_exception_handler(loop: Any, caplog: pytest.LogCaptureFixture) -> None:
    def handler(_loop: Any, _context: dict[str, Any]) -> None:
        raise RuntimeError("in the handler")

    loop.set_exception_handler(handler)
    ran: list[int] = []
    loop.call_soon(lambda: 1 / 0)
    loop.call_soon(ran.append, 1)
    with caplog.at_level(logging.ERROR, "asyncio"):
        turn(loop)
    assert ran == [1]
    (record,) = caplog.records
    assert record.getMessage().startswith("Unhandled error in exception handler")


def test_error_in_the_default_handler(
    loop: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def default(_context: dict[str, Any]) -> None:
        raise RuntimeError("in the default handler")

    monkeypatch.setattr(type(loop), "default_exception_handler", lambda _self, context: default(context))
    ran: list[int] = []
    loop.call_soon(lambda: 1 / 0)
    loop.call_soon(ran.append, 1)
    with caplog.at_level(logging.ERROR, "asyncio"):
        turn(loop)
    assert ran == [1]
    assert [record.getMessage() for record in caplog.records] == ["Exception in default exception handler"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_comes_out_and_no_callback_is_lost(loop: Any, error: type[BaseException]) -> None:
    ran: list[int] = []

    def stop_everything() -> None:
        raise error

    for number in range(3):
        loop.call_soon(ran.append, number)
    loop.call_soon(stop_everything)
    for number in range(3, 6):
        loop.call_soon(ran.append, number)
    with pytest.raises(error):
        loop.run_forever()
    assert ran == [0, 1, 2]
    assert not loop.is_running()
    turn(loop)
    assert ran == [0, 1, 2, 3, 4, 5]


def test_error_in_a_finalizer(loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: seen.append(args.exc_value))

    class Bad:
        def __del__(self) -> None:
            raise ValueError("in __del__")

        def __call__(self) -> None:
            pass

    ran: list[int] = []
    loop.call_soon(Bad())
    future = loop.create_future()
    future.set_result(Bad())
    loop.call_soon(ran.append, 1)
    del future
    turn(loop)
    assert ran == [1]
    assert [str(error) for error in seen] == ["in __del__", "in __del__"]


def test_a_finalizer_may_call_the_loop_again(loop: Any) -> None:
    ran: list[int] = []

    class Again:
        def __del__(self) -> None:
            loop.call_soon(ran.append, 2)
            loop.call_later(0, ran.append, 3)

        def __call__(self) -> None:
            ran.append(1)

    loop.call_soon(Again())
    handle = loop.call_later(3600, Again())
    handle.cancel()
    del handle
    for _ in range(3):
        turn(loop)
    assert ran[0] in (1, 2)
    assert sorted(ran) == [1, 2, 2, 3, 3]


def test_error_in_a_task_that_nobody_awaits(side: Any, loop: Any) -> None:
    reports = Reports(loop)

    async def fail() -> None:
        raise ValueError("nobody looks")

    async def main() -> None:
        task = side.get_running_loop().create_task(fail())
        await side.sleep(0)
        await side.sleep(0)
        assert task.done()

    loop.run_until_complete(main())
    gc.collect()
    assert reports.messages == ["Task exception was never retrieved"]
    assert reports.errors == ["ValueError('nobody looks')"]


def test_a_pending_task_that_is_dropped_is_reported(side: Any, loop: Any) -> None:
    reports = Reports(loop)

    async def wait() -> None:
        await loop.create_future()

    task = loop.create_task(wait())
    turn(loop)
    del task
    gc.collect()
    assert reports.messages == ["Task was destroyed but it is pending!"]


# ---------------------------------------------------------------- calls at the wrong time and from the wrong place


def test_a_closed_loop_refuses(side: Any) -> None:
    loop = side.new_event_loop()
    loop.close()
    loop.close()
    assert loop.is_closed()

    async def nothing() -> None:
        pass

    coroutine = nothing()
    for call in (
        lambda: loop.call_soon(print),
        lambda: loop.call_later(0, print),
        lambda: loop.call_at(0, print),
        lambda: loop.call_soon_threadsafe(print),
        lambda: loop.run_in_executor(None, print),
        lambda: loop.create_task(coroutine),
        loop.run_forever,
        lambda: loop.run_until_complete(coroutine),
        lambda: loop.add_signal_handler(10, print),
    ):
        with pytest.raises(RuntimeError, match="^Event loop is closed$"):
            call()
    coroutine.close()


# asyncio's own loop of 3.13.0 forgets that it runs when it refuses to run again (mended in 3.13.1).
FORGETS = sys.version_info[:3] == (3, 13, 0)


def test_a_running_loop_is_not_run_again(side: Any, loop: Any) -> None:
    if FORGETS and side is asyncio:
        pytest.skip("asyncio of 3.13.0 forgets that it runs")

    async def nothing() -> None:
        pass

    async def main() -> None:
        with pytest.raises(RuntimeError, match="^This event loop is already running$"):
            loop.run_forever()
        inner = nothing()
        with pytest.raises(RuntimeError, match="^This event loop is already running$"):
            loop.run_until_complete(inner)
        inner.close()
        with pytest.raises(RuntimeError, match="^Cannot close a running event loop$"):
            loop.close()
        other = side.new_event_loop()
        with pytest.raises(RuntimeError, match="^Cannot run the event loop while another loop is running$"):
            other.run_forever()
        other.close()
        inner = nothing()
        with pytest.raises(RuntimeError, match="cannot be called from a running event loop$"):
            side.run(inner)
        inner.close()
        await side.sleep(0)

    loop.run_until_complete(main())


@pytest.mark.skipif(FORGETS, reason="asyncio of 3.13.0 forgets that another loop runs")
def test_loops_of_the_other_kind_do_not_run_inside(side: Any, loop: Any) -> None:
    (other_side,) = [each for each in SIDES.values() if each is not side]

    async def main() -> None:
        other = other_side.new_event_loop()
        with pytest.raises(RuntimeError, match="while another loop is running"):
            other.run_forever()
        other.close()

    loop.run_until_complete(main())
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()


def test_run_until_complete_that_is_stopped(loop: Any) -> None:
    future = loop.create_future()
    loop.call_soon(loop.stop)
    with pytest.raises(RuntimeError, match="^Event loop stopped before Future completed.$"):
        loop.run_until_complete(future)


def test_a_thread_of_its_own_in_debug_mode(loop: Any) -> None:
    """Calls that are not thread-safe, from another thread than the one that runs the loop."""
    loop.set_debug(True)
    errors: list[str] = []

    def call() -> None:
        for method in (lambda: loop.call_soon(print), lambda: loop.call_later(0, print)):
            try:
                method()
            except RuntimeError as error:
                errors.append(str(error))
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=call)
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    text = "Non-thread-safe operation invoked on an event loop other than the current one"
    assert errors == [text, text]


def test_what_is_no_callback(loop: Any) -> None:
    loop.set_debug(True)

    async def coroutine() -> None:
        pass

    for wrong in (coroutine, 7):
        for call in (loop.call_soon, lambda callback: loop.call_later(0, callback)):
            with pytest.raises(TypeError, match="callable object was expected by|coroutines cannot be used with"):
                call(wrong)
    with pytest.raises(TypeError):
        loop.create_task(7)
    with pytest.raises(TypeError):
        loop.run_until_complete(7)


def test_many_threads_call_at_once(loop: Any) -> None:
    """No callback of any thread is lost, and each thread's come in its order."""
    threads, each = 8, 2000
    got: list[tuple[int, int]] = []

    def call(number: int) -> None:
        for place in range(each):
            loop.call_soon_threadsafe(got.append, (number, place))

    workers = [threading.Thread(target=call, args=(number,)) for number in range(threads)]

    def end() -> None:
        if len(got) < threads * each:
            loop.call_later(0.005, end)
        else:
            loop.stop()

    for worker in workers:
        worker.start()
    loop.call_soon(end)
    loop.run_forever()
    for worker in workers:
        worker.join()
    for number in range(threads):
        assert [place for owner, place in got if owner == number] == list(range(each))


# ---------------------------------------------------------------- fork


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_with_a_running_loop(side: Any, loop: Any) -> None:
    """The child is in no loop, and can run one of its own; the parent's goes on."""

    def child(output: int) -> None:
        try:
            side.get_running_loop()
        except RuntimeError as error:
            os.write(output, f"{error}\n".encode())

        async def main() -> str:
            await side.sleep(0.001)
            return await side.to_thread(lambda: "child's own loop")

        os.write(output, side.run(main()).encode())

    async def main() -> bytes:
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                child(write)
            finally:
                os._exit(0)
        os.close(write)
        said = b""
        while data := await side.to_thread(os.read, read, 1000):
            said += data
        os.close(read)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        return said

    assert loop.run_until_complete(main()) == b"no running event loop\nchild's own loop"
