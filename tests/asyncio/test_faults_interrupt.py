"""Ctrl-C at any point ends `run()` as the standard library specifies; a loop without a Runner loses no callback."""

import os
import re
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from sides import SIDES

pytestmark = [pytest.mark.parametrize("side", SIDES.values(), ids=SIDES), pytest.mark.timeout(90)]
SECONDS = 60


def run(side: Any, code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run code with `side` in place of asyncio, in a process of its own: signals are for it alone."""
    return subprocess.run(
        [sys.executable, "-c", f"import {side.__name__} as asyncio\n{code}", *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def test_run_cancels_the_main_task_and_raises(side: Any) -> None:
    done = run(
        side,
        """
import os, signal
async def main():
    asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGINT)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError as error:
        print("cancelled", asyncio.current_task().cancelling())
        await asyncio.sleep(0.01)
        print("cleaned up")
        raise
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
""",
    )
    assert (done.stdout, done.stderr) == ("cancelled 1\ncleaned up\ninterrupted True\n", "")


def test_main_may_ignore_it_once_and_the_second_comes_at_once(side: Any) -> None:
    done = run(
        side,
        """
import os, signal
async def main():
    loop = asyncio.get_running_loop()
    loop.call_later(0.01, os.kill, os.getpid(), signal.SIGINT)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        asyncio.current_task().uncancel()
    return "went on"
print(asyncio.run(main()))

async def stubborn():
    loop = asyncio.get_running_loop()
    loop.call_later(0.01, os.kill, os.getpid(), signal.SIGINT)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print("first")
        loop.call_later(0.01, os.kill, os.getpid(), signal.SIGINT)
        try:
            await asyncio.sleep(60)
        finally:
            print("second")
try:
    asyncio.run(stubborn())
except KeyboardInterrupt:
    print("interrupted")
""",
    )
    assert done.stderr == ""
    assert done.stdout == "went on\nfirst\nsecond\ninterrupted\n"


def test_ctrl_c_while_the_loop_computes(side: Any) -> None:
    """The loop is not asleep: one callback after the other, and a task that never waits for anything real."""
    done = run(
        side,
        """
import signal, threading, os, time
def kill():
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGINT)
async def main():
    threading.Thread(target=kill).start()
    while True:
        await asyncio.sleep(0)
for _ in range(3):
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("interrupted")
""",
    )
    assert (done.stdout, done.stderr) == ("interrupted\n" * 3, "")


def test_ctrl_c_in_a_callback_that_computes(side: Any) -> None:
    done = run(
        side,
        """
import signal, threading, os, time
def kill():
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGINT)
ran = []
def compute():
    threading.Thread(target=kill).start()
    while True:
        pass
loop = asyncio.new_event_loop()
for number in range(5):
    loop.call_soon(ran.append, number)
loop.call_soon(compute)
for number in range(5, 10):
    loop.call_soon(ran.append, number)
try:
    loop.run_forever()
except KeyboardInterrupt:
    print("interrupted", ran, loop.is_running())
loop.call_soon(loop.stop)
loop.run_forever()
print(ran)
loop.close()
""",
    )
    assert done.stderr == ""
    assert done.stdout == "interrupted [0, 1, 2, 3, 4] False\n[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\n"


def test_ctrl_c_while_the_loop_is_asleep(side: Any) -> None:
    """Without a Runner nothing handles the signal: it comes out of run_forever, where the loop polls."""
    done = run(
        side,
        """
import signal, threading, os, time
def kill():
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGINT)
loop = asyncio.new_event_loop()
threading.Thread(target=kill).start()
begin = time.monotonic()
try:
    loop.run_forever()
except KeyboardInterrupt:
    print("interrupted", time.monotonic() - begin < 10)
loop.close()
""",
    )
    assert (done.stdout, done.stderr) == ("interrupted True\n", "")


def test_a_handler_of_the_loop(side: Any) -> None:
    done = run(
        side,
        """
import signal, os
async def main():
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    got = []
    def handle(name):
        got.append(name)
        told.set()
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle, number.name)
        told.clear()
        os.kill(os.getpid(), number)
        await told.wait()
    print(got, loop.remove_signal_handler(signal.SIGUSR1), loop.remove_signal_handler(signal.SIGUSR1))
asyncio.run(main())
""",
    )
    assert (done.stdout, done.stderr) == ("['SIGUSR1', 'SIGTERM', 'SIGINT'] True False\n", "")


_TRAFFIC = """
import itertools, signal, sys, threading, time
begun = ended = 0

async def worker(queue, lock):
    global begun, ended
    begun += 1
    try:
        while True:
            await queue.get()
            async with lock:
                await asyncio.sleep(0)
            await queue.put(1)
    finally:
        ended += 1

async def main():
    queue, lock = asyncio.Queue(3), asyncio.Lock()
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(worker(queue, lock))
        for _ in range(3):
            await queue.put(1)
        print("go", flush=True)
        while True:
            await asyncio.gather(*[asyncio.sleep(0.0001 * (n % 3)) for n in range(20)])

while True:
    begun = ended = 0
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        # Which is raised where the program is, even in here: the rest of a round is shielded.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("interrupted", begun - ended, flush=True)
        if not sys.stdin.readline().strip():
            break
        signal.signal(signal.SIGINT, signal.default_int_handler)
"""


def test_ctrl_c_at_any_point(side: Any) -> None:
    """Rounds of traffic, each interrupted somewhere else: every task that began has ended, and nothing is printed."""
    rounds = 25
    with subprocess.Popen(
        [sys.executable, "-c", f"import {side.__name__} as asyncio\n{_TRAFFIC}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        try:
            assert program.stdin
            assert program.stdout
            assert program.stderr
            for number in range(rounds):
                assert program.stdout.readline() == "go\n"
                time.sleep(0.0007 * number)
                program.send_signal(signal.SIGINT)
                assert program.stdout.readline() == "interrupted 0\n"
                program.stdin.write("again\n" if number < rounds - 1 else "\n")
                program.stdin.flush()
            assert program.wait(SECONDS) == 0
            said = program.stderr.read()
            if side is SIDES["plait"]:
                # asyncio's own: Ctrl-C may come between a look at a future and setting it.
                assert said == ""
        finally:
            program.kill()


@pytest.mark.parametrize("launcher", [[], ["-m", "plait", "run"]], ids=["python", "plait run"])
def test_a_program_that_is_interrupted_ends_by_the_signal(side: Any, launcher: list[str], tmp_path: Any) -> None:
    script = tmp_path / "app.py"
    script.write_text(
        f"import {side.__name__} as asyncio\n"
        "async def main():\n    print('go', flush=True)\n    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, *launcher, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        try:
            assert program.stdout
            assert program.stderr
            assert program.stdout.readline() == "go\n"
            program.send_signal(signal.SIGINT)
            said = program.stderr.read()
            assert program.wait(SECONDS) == -signal.SIGINT
        finally:
            program.kill()
    assert re.search(r"^KeyboardInterrupt$", said, re.MULTILINE)
    assert os.fspath(script) in said
