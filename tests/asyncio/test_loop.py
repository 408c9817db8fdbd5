"""The event loop: order, waking, debug mode, what leaves it and what does not.

Long because every way into the loop is tried beside asyncio's.
"""

import asyncio
import contextvars
import gc
import logging
import os
import socket
import threading
import time
import warnings
from collections.abc import Iterator

import pytest

import plait.asyncio


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = plait.asyncio.EventLoop()
    yield loop
    if not loop.is_closed():
        loop.close()


def turns(loop, count=1):
    for _ in range(count):
        loop.call_soon(loop.stop)
        loop.run_forever()


def test_callbacks_run_in_order_and_what_they_schedule_runs_in_the_next_turn(loop):
    seen = []
    loop.call_soon(lambda: (seen.append(1), loop.call_soon(seen.append, 3)))
    loop.call_soon(seen.append, 2)
    turns(loop)
    assert seen == [1, 2]
    turns(loop)
    assert seen == [1, 2, 3]


def test_stop_before_run_forever_runs_one_turn(loop):
    seen = []
    loop.call_soon(seen.append, 1)
    loop.stop()
    loop.run_forever()
    assert seen == [1]


def test_a_busy_loop_polls_and_keeps_its_timers(loop):
    """Callbacks that are always ready starve neither descriptors, nor timers, nor other threads."""
    here, there = socket.socketpair()
    here.setblocking(False)
    seen = []

    def spin():
        if len(seen) < 3:
            loop.call_soon(spin)
        else:
            loop.stop()

    def on_read():
        here.recv(1)
        seen.append("read")

    with here, there:
        loop.add_reader(here, on_read)
        there.send(b"x")
        loop.call_later(0.01, seen.append, "timer")
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(seen.append, "thread"))
        loop.call_soon(thread.start)
        loop.call_soon(spin)
        loop.run_forever()
        thread.join()
        loop.remove_reader(here)
    assert sorted(seen) == ["read", "thread", "timer"]


def test_an_idle_loop_uses_no_processor(loop):
    pairs = [socket.socketpair() for _ in range(100)]
    for pair in pairs:
        loop.add_reader(pair[0], pytest.fail)
    loop.call_later(0.5, loop.stop)
    before = time.process_time()
    loop.run_forever()
    assert time.process_time() - before < 0.1
    for pair in pairs:
        loop.remove_reader(pair[0])
        pair[0].close()
        pair[1].close()


def test_no_wake_up_from_another_thread_is_lost(loop):
    rounds, done = 3_000, threading.Event()
    count = 0

    def hear():
        nonlocal count
        count += 1
        done.set()
        if count == rounds:
            loop.stop()

    def call():
        for _ in range(rounds):
            loop.call_soon_threadsafe(hear)
            assert done.wait(10)
            done.clear()

    thread = threading.Thread(target=call)
    thread.start()
    loop.run_forever()
    thread.join()
    assert count == rounds


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_leaves_the_loop_loses_no_callback(loop, error):
    seen = []

    def leave():
        raise error

    loop.call_soon(seen.append, 1)
    loop.call_soon(leave)
    loop.call_soon(seen.append, 2)
    with pytest.raises(error):
        loop.run_forever()
    assert seen == [1]
    assert not loop.is_running()
    turns(loop)
    assert seen == [1, 2]


def test_an_exception_in_a_callback_is_reported_once(loop):
    contexts = []
    loop.set_exception_handler(lambda _loop, context: contexts.append(context))
    handle = loop.call_soon(lambda: 1 / 0)
    turns(loop)
    (context,) = contexts
    assert context["message"].startswith("Exception in callback ")
    assert "<lambda>" in context["message"]
    assert isinstance(context["exception"], ZeroDivisionError)
    assert context["handle"] is handle


def test_a_handle_is_what_asyncio_says(loop):
    context = contextvars.copy_context()
    handle = loop.call_soon(print, 1, 2, context=context)
    assert isinstance(handle, asyncio.Handle)
    assert handle._callback is print
    assert handle._args == (1, 2)
    assert handle._context is context
    assert repr(handle).startswith("<Handle print(")
    assert not handle.cancelled()
    handle.cancel()
    assert handle.cancelled()
    assert handle._callback is None
    assert repr(handle) == "<Handle cancelled>"
    turns(loop)


def test_a_callback_runs_in_a_copy_of_the_context(loop):
    variable = contextvars.ContextVar("variable", default=0)
    seen = []

    def callback():
        seen.append(variable.get())
        variable.set(5)

    variable.set(1)
    loop.call_soon(callback)
    variable.set(2)
    loop.call_soon(callback)
    turns(loop)
    assert seen == [1, 2]
    assert variable.get() == 2


def test_texts_of_wrong_calls(loop):
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'callback'"):
        loop.call_soon()
    with pytest.raises(TypeError, match="unexpected keyword argument 'delay'"):
        loop.call_soon(print, delay=1)
    with pytest.raises(TypeError, match="delay must not be None"):
        loop.call_later(None, print)
    with pytest.raises(TypeError, match="when cannot be None"):
        loop.call_at(None, print)
    loop.close()
    for call in (loop.call_soon, loop.call_soon_threadsafe):
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            call(print)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.call_later(1, print)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.run_forever()


def test_a_running_loop_does_not_run_again(loop):
    other = plait.asyncio.EventLoop()

    async def main():
        with pytest.raises(RuntimeError, match="This event loop is already running"):
            loop.run_forever()
        with pytest.raises(RuntimeError, match="Cannot run the event loop while another loop is running"):
            other.run_forever()
        with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
            loop.close()

    loop.run_until_complete(main())
    other.close()


def test_debug_mode_refuses_what_is_wrong(loop):
    async def coroutine():
        pass

    loop.set_debug(True)
    with pytest.raises(TypeError, match=r"coroutines cannot be used with call_soon\(\)"):
        loop.call_soon(coroutine)
    with pytest.raises(TypeError, match=r"a callable object was expected by call_later\(\)|call_at\(\)"):
        loop.call_later(0, 1)
    errors = []

    def elsewhere():
        try:
            loop.call_soon(print)
        except RuntimeError as error:
            errors.append(str(error))

    async def main():
        thread = threading.Thread(target=elsewhere)
        thread.start()
        while thread.is_alive():
            await asyncio.sleep(0.01)

    loop.run_until_complete(main())
    assert errors == ["Non-thread-safe operation invoked on an event loop other than the current one"]
    handle = loop.call_soon(print)
    assert handle._source_traceback[-1].name == "test_debug_mode_refuses_what_is_wrong"
    handle.cancel()
    assert "print" in repr(handle)  # it remembers


def test_a_slow_callback_is_told_in_debug_mode(loop, caplog):
    loop.set_debug(True)
    loop.slow_callback_duration = 0.02
    loop.call_soon(time.sleep, 0.05)
    with caplog.at_level(logging.WARNING, "asyncio"):
        turns(loop)
    assert any(record.getMessage().startswith("Executing <Handle sleep(") for record in caplog.records)


def hold_the_loop():
    time.sleep(0.4)


@pytest.mark.parametrize("way", ["debug", "environment"])
def test_a_stalled_loop_is_named_while_it_stalls(loop, caplog, monkeypatch, way):
    if way == "debug":
        loop.set_debug(True)
        loop.slow_callback_duration = 0.05
    else:
        monkeypatch.setenv("PLAIT_STALL", "0.05")
    told = []

    def stall():
        hold_the_loop()
        told.extend(record.getMessage() for record in caplog.records)

    loop.call_soon(stall)
    with caplog.at_level(logging.WARNING, "asyncio"):
        turns(loop)
    (text,) = [text for text in told if text.startswith("One callback has held the event loop for")]
    assert "hold_the_loop" in text
    assert "plait-stall" not in {thread.name for thread in threading.enumerate()}


def test_a_time_for_stalls_that_is_none_is_refused(loop, monkeypatch):
    monkeypatch.setenv("PLAIT_STALL", "soon")
    with pytest.raises(ValueError, match="PLAIT_STALL is a number of seconds, not 'soon'"):
        loop.run_forever()
    assert not loop.is_running()
    monkeypatch.delenv("PLAIT_STALL")
    turns(loop)


def test_an_unclosed_loop_is_told():
    loop = plait.asyncio.EventLoop()
    loop.call_soon(loop.stop)  # a cycle through the queue
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        del loop
        gc.collect()
    assert any("unclosed event loop" in str(warning.message) for warning in told)


def test_a_subclass_that_overrides_call_soon_is_heard():
    seen = []

    class Loop(plait.asyncio.EventLoop):
        def call_soon(self, callback, *args, context=None):
            seen.append(callback)
            return super().call_soon(callback, *args, context=context)

    loop = Loop()
    future = loop.create_future()
    future.add_done_callback(seen.append)
    future.set_result(None)
    turns(loop)
    loop.close()
    assert seen.count(seen.append) == 1
    assert seen[-1] is future


def test_a_reader_that_is_cancelled_does_not_spin(loop):
    here, there = socket.socketpair()
    with here, there:
        there.send(b"x")
        loop._add_reader(here.fileno(), pytest.fail).cancel()
        loop.call_later(0.2, loop.stop)
        before = time.process_time()
        loop.run_forever()
        assert time.process_time() - before < 0.1


def test_readers_and_writers_are_exchanged_and_removed(loop):
    here, there = socket.socketpair()
    with here, there:
        there.send(b"x")
        seen = []
        loop.add_reader(here, pytest.fail)
        loop.add_reader(here, seen.append, "read")
        loop.add_writer(here, seen.append, "write")
        turns(loop)
        assert seen == ["read", "write"]
        assert loop.remove_reader(here)
        assert not loop.remove_reader(here)
        turns(loop)
        assert seen == ["read", "write", "write"]
        assert loop.remove_writer(here.fileno())
        assert not loop.remove_writer(here)
    with pytest.raises(ValueError, match="Invalid file"):
        loop.add_reader(object(), print)
    with pytest.raises(ValueError, match="Invalid file"):
        loop.add_reader(-1, print)
    with open(__file__) as file, pytest.raises(PermissionError):
        loop.add_reader(file, print)


def test_a_child_of_a_running_loop_can_run_one_of_its_own(loop):
    """The child has no running loop, and leaves its parent's descriptors alone."""
    here, there = socket.socketpair()

    async def two():
        return 1 + await asyncio.sleep(0.01, 1)

    def child():
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            return 1
        loop.remove_reader(here)
        return 0 if plait.asyncio.run(two()) == 2 else 2

    async def main():
        heard = loop.create_future()
        loop.add_reader(here, lambda: heard.done() or heard.set_result(here.recv(1)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            code = 3
            try:
                code = child()
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        there.send(b"x")
        assert await asyncio.wait_for(heard, 5) == b"x"
        loop.remove_reader(here)

    with here, there:
        loop.run_until_complete(main())


def test_asynchronous_generators_are_closed(loop):
    ended = []

    async def numbers():
        try:
            yield 1
            yield 2
        finally:
            ended.append(True)

    async def main():
        async for _ in numbers():
            break
        gc.collect()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert ended == [True]
