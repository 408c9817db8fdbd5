"""`plait ps PID`: the tasks of a running process, asked from outside."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plait.cli import ps
from side_by_side import Ended, start

NEEDS_NOTHING = sys.version_info >= (3, 14)

PROGRAM = """
import asyncio, sys

async def inner(event):
    await event.wait()

async def worker(event):
    await inner(event)

async def waits_for(task):
    await task

async def main():
    event = asyncio.Event()
    first = asyncio.create_task(worker(event), name="the worker")
    second = asyncio.create_task(waits_for(first), name="the other")
    async def ready():
        print("ready", flush=True)
    asyncio.create_task(ready())
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    event.set()
    await second

asyncio.run(main())
"""

INSTALLED = "import plait; plait.install()\n"


@contextmanager
def running(program: str, **env: str) -> Iterator[int]:
    """A process that runs the program and has said "ready"; it ends when the block does."""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PLAIT_PS": "0", **env},
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process.pid
        finally:
            try:
                process.communicate("go on\n", timeout=30)
            finally:
                process.kill()
    assert process.returncode == 0


def ask(*arguments: str) -> Ended:
    return start([sys.executable, "-m", "plait", "ps", *arguments])


def may_look_into(process: int) -> bool:
    """Whether this user may debug that process: a container can forbid it."""
    try:
        Path(f"/proc/{process}/mem").open("rb").close()
    except OSError:
        return False
    return True


def says_all(text: str) -> None:
    assert "loop 1: plait.asyncio.loop.EventLoop, running, 3 tasks" in text
    assert "the worker: waits for " in text
    assert "the other: waits for task the worker" in text
    assert "awaited by the other" in text
    worker = text[text.index("the worker: ") :]
    assert worker.index("worker (") < worker.index("inner (")


def test_over_the_socket() -> None:
    with running(INSTALLED + PROGRAM, PLAIT_PS="1") as process:
        ended = ask(str(process))
        assert (ended.status, ended.stderr) == (0, "")
        says_all(ended.stdout)


@pytest.mark.skipif(not NEEDS_NOTHING, reason="from 3.14 on a process can be asked that was not prepared")
def test_without_preparation_while_the_loop_sleeps() -> None:
    with running(INSTALLED + PROGRAM) as process:
        if not may_look_into(process):
            pytest.skip("this machine does not let one process look into another")
        ended = ask(str(process))
        assert (ended.status, ended.stderr) == (0, "")
        says_all(ended.stdout)


@pytest.mark.skipif(not NEEDS_NOTHING, reason="from 3.14 on a process can be asked that was not prepared")
def test_a_program_without_plait() -> None:
    with running(PROGRAM) as process:
        if not may_look_into(process):
            pytest.skip("this machine does not let one process look into another")
        ended = ask(str(process))
        assert ended.status == 1
        assert "does not use plait.asyncio" in ended.stderr or "did not come to Python code" in ended.stderr


@pytest.mark.skipif(NEEDS_NOTHING, reason="from 3.14 on a process can be asked that was not prepared")
def test_a_process_that_was_not_prepared() -> None:
    with running(INSTALLED + PROGRAM) as process:
        ended = ask(str(process))
        assert ended.status == 1
        assert "PLAIT_PS=1" in ended.stderr


@pytest.mark.skipif(not NEEDS_NOTHING, reason="asyncio has its own ps from 3.14 on")
@pytest.mark.parametrize("command", ["ps", "pstree"])
def test_asyncios_own_ps_does_no_harm(command: str) -> None:
    """It reads asyncio's C structures; what it shows of plait's tasks is its affair, but the process lives on."""
    with running(INSTALLED + PROGRAM) as process:
        ended = start([sys.executable, "-m", "asyncio", command, str(process)])
        assert ended.status >= 0, ended
        Path(f"/proc/{process}/status").read_text()


def test_the_socket_is_gone_with_the_loop() -> None:
    code = """
import asyncio, socket, os
from plait.asyncio import _ps
def is_there():
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(_ps.address(os.getpid()))
        except OSError:
            return False
        return True
async def main():
    return is_there()
print(asyncio.run(main()), is_there(), asyncio.run(main()), is_there())
"""
    ended = start([sys.executable, "-W", "error", "-c", INSTALLED + code], env={"PLAIT_PS": "1"})
    assert (ended.status, ended.stdout, ended.stderr) == (0, "True False True False\n", "")


def test_a_process_that_there_is_not() -> None:
    ended = ask("4194304999")
    assert ended.status == 1
    assert "there is no process" in ended.stderr


@pytest.mark.parametrize("arguments", [[], ["x"], ["1", "2"], ["-1"]])
def test_wrong_arguments(arguments: list[str]) -> None:
    assert ask(*arguments).status == 2


def test_help() -> None:
    ended = ask("--help")
    assert (ended.status, ended.stderr) == (0, "")
    assert "PLAIT_PS=1" in ended.stdout


def test_one_that_listens_and_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ps, "SECONDS", 0.05)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0plait-ps-{os.getpid()}")
        listener.listen()
        with pytest.raises(ps.CannotAsk, match="a callback holds its loop"):
            ps.ask(os.getpid())
