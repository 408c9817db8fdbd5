"""Signals: Ctrl-C ends the loop at once, handlers run, and no signal is slept over."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import plait.asyncio


def kill_after(seconds, number):
    thread = threading.Thread(target=lambda: (time.sleep(seconds), os.kill(os.getpid(), number)))
    thread.start()
    return thread


def test_ctrl_c_ends_a_sleeping_loop_at_once():
    loop = plait.asyncio.EventLoop()
    thread = kill_after(0.1, signal.SIGINT)
    before = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert time.monotonic() - before < 5
    thread.join()
    loop.close()


def test_ctrl_c_ends_a_busy_loop():
    loop = plait.asyncio.EventLoop()

    async def spin():
        while True:
            await asyncio.sleep(0)

    thread = kill_after(0.1, signal.SIGINT)
    task = loop.create_task(spin())
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    thread.join()
    # It came either in the coroutine, which it ended, or in the loop.
    if task.done():
        assert isinstance(task.exception(), KeyboardInterrupt)
    else:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
    loop.close()


def test_run_cancels_the_main_task_at_ctrl_c():
    ended = []

    async def main():
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    with pytest.raises(KeyboardInterrupt):
        plait.asyncio.run(main())
    assert ended == ["cancelled"]


def test_a_signal_handler_runs_in_the_loop():
    async def main():
        loop = asyncio.get_running_loop()
        heard = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, heard.set_result, "usr1")
        thread = kill_after(0.05, signal.SIGUSR1)
        assert await asyncio.wait_for(heard, 5) == "usr1"
        thread.join()
        assert loop.remove_signal_handler(signal.SIGUSR1)
        assert not loop.remove_signal_handler(signal.SIGUSR1)

    plait.asyncio.run(main())


def test_a_handler_of_the_signal_module_runs_though_the_loop_sleeps():
    """A signal that comes just before the sleep is not slept over."""
    heard = []
    before = signal.signal(signal.SIGUSR2, lambda *_: heard.append(time.monotonic()))
    try:

        async def main():
            for _ in range(20):
                thread = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGUSR2))
                thread.start()
                await asyncio.sleep(0.005)
                thread.join()

        plait.asyncio.run(main())
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert heard


def test_the_wakeup_descriptor_is_as_it_was():
    here, there = os.pipe()
    os.set_blocking(there, False)
    before = signal.set_wakeup_fd(there)
    try:

        async def main():
            await asyncio.sleep(0)

        plait.asyncio.run(main())
        assert signal.set_wakeup_fd(there) == there
    finally:
        signal.set_wakeup_fd(before)
        os.close(here)
        os.close(there)


def test_a_program_ends_by_ctrl_c_as_with_asyncio():
    code = "import plait.asyncio as a; print('up', flush=True); a.run(a.sleep(60))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in errors
