"""Ctrl-C: what `asyncio.run` does on SIGINT, on the standard library and on plait."""

import os
import signal
import subprocess

import pytest

from side_by_side import PLAIT, PYTHON

PROGRAMS = {
    "idle": """
import asyncio
async def main():
    print("ready", flush=True)
    try:
        await asyncio.sleep(60)
    finally:
        print("cleaned up", asyncio.current_task().cancelling())
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
""",
    "busy with tasks": """
import asyncio
async def turn():
    while True:
        await asyncio.sleep(0)
async def main():
    tasks = [asyncio.create_task(turn()) for _ in range(10)]
    print("ready", flush=True)
    try:
        await asyncio.gather(*tasks)
    except asyncio.CancelledError:
        print("cancelled", all(task.cancelled() or task.cancelling() for task in tasks))
        raise
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
""",
    "in a callback that does not end": """
import asyncio
async def main():
    print("ready", flush=True)
    while not asyncio.current_task().cancelling():
        pass
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        print("cancelled")
    return "done"
print(asyncio.run(main()))
""",
    "caught": """
import asyncio
async def main():
    print("ready", flush=True)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print("caught", asyncio.current_task().uncancel())
    await asyncio.sleep(0.01)
    return "done"
print(asyncio.run(main()))
""",
    "a handler of the program's": """
import asyncio, signal
async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    print("ready", flush=True)
    await stop.wait()
    return "stopped"
print(asyncio.run(main()))
""",
    "a loop without run": """
import asyncio
loop = asyncio.new_event_loop()
seen = []
async def work():
    while True:
        seen.append(1)
        await asyncio.sleep(0.001)
task = loop.create_task(work())
loop.call_soon(lambda: print("ready", flush=True))
try:
    loop.run_forever()
except KeyboardInterrupt:
    print("interrupted", loop.is_running(), task.done())
before = len(seen)
loop.call_later(0.05, loop.stop)
loop.run_forever()
print("goes on", len(seen) > before)
task.cancel()
loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
loop.close()
""",
    "in a thread of the executor": """
import asyncio, time
async def main():
    print("ready", flush=True)
    try:
        await asyncio.to_thread(time.sleep, 0.2)
    finally:
        print("cleaned up")
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
""",
}


def interrupt(command: tuple[str, ...], program: str) -> tuple[int, str, str]:
    with subprocess.Popen(
        [*command, "-c", program],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        os.kill(process.pid, signal.SIGINT)
        try:
            stdout, stderr = process.communicate(timeout=30)
        finally:
            process.kill()
    return process.returncode, line + stdout, stderr


@pytest.mark.parametrize("name", PROGRAMS)
def test_ctrl_c(name: str) -> None:
    expected = interrupt(PYTHON, PROGRAMS[name])
    assert expected[1].startswith("ready\n"), expected
    assert interrupt(PLAIT, PROGRAMS[name]) == expected


def test_twice_ends_even_who_does_not_listen() -> None:
    program = """
import asyncio, time
async def main():
    print("ready", flush=True)
    while True:
        try:
            while True:
                time.sleep(0.01)
        except asyncio.CancelledError:
            pass
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""
    with subprocess.Popen([*PLAIT, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            while process.poll() is None:
                os.kill(process.pid, signal.SIGINT)
                try:
                    process.wait(0.2)
                except subprocess.TimeoutExpired:
                    continue
            assert process.stdout.read() == "interrupted\n"
        finally:
            process.kill()
    assert process.returncode == 0
