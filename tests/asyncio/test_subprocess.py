"""Subprocesses: by pidfd, without a thread for each."""

import asyncio
import os
import signal
import sys
import threading

import pytest

import plait.asyncio


def run(main):
    return plait.asyncio.run(main)


def test_a_pipeline():
    async def main():
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "import sys; data = sys.stdin.read(); print(data.upper(), end=''); sys.exit(3)",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate(b"abc" * 100_000)
        return out, process.returncode

    assert run(main()) == (b"ABC" * 100_000, 3)


def test_many_children_need_no_threads():
    async def main():
        before = threading.active_count()
        children = [await asyncio.create_subprocess_exec("sleep", "0.2") for _ in range(10)]
        assert threading.active_count() == before
        return await asyncio.gather(*(child.wait() for child in children))

    assert run(main()) == [0] * 10


def test_a_signal_ends_it():
    async def main():
        process = await asyncio.create_subprocess_exec("sleep", "60")
        process.terminate()
        return await process.wait()

    assert run(main()) == -signal.SIGTERM


def test_in_a_loop_outside_of_the_main_thread():
    results = []

    async def main():
        process = await asyncio.create_subprocess_exec("true")
        results.append(await process.wait())

    thread = threading.Thread(target=run, args=(main(),))
    thread.start()
    thread.join()
    assert results == [0]


def test_where_there_is_no_pidfd(monkeypatch):
    def refused(pid):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(plait.asyncio.EventLoop, "_pidfd_open", staticmethod(refused))

    async def main():
        process = await asyncio.create_subprocess_exec("sh", "-c", "exit 7")
        return await process.wait()

    assert run(main()) == 7


def test_a_program_that_is_not_there():
    async def main():
        with pytest.raises(FileNotFoundError):
            await asyncio.create_subprocess_exec("/nowhere/nothing")

    run(main())


def test_no_descriptor_is_left():
    async def main():
        async def once():
            process = await asyncio.create_subprocess_exec("true", stdout=asyncio.subprocess.PIPE)
            await process.communicate()

        await once()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(10):
            await once()
        await asyncio.sleep(0.01)
        return len(os.listdir("/proc/self/fd")) - before

    assert run(main()) <= 0
