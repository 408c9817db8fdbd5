"""A pipeline of processes: seq | grep | sort, pipes between them; exit codes, signals, a time limit, output on both."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE

import seen


async def pipeline() -> str:
    read_a, write_a = os.pipe()
    read_b, write_b = os.pipe()
    first = await asyncio.create_subprocess_exec("seq", "1", "20000", stdout=write_a)
    os.close(write_a)
    second = await asyncio.create_subprocess_exec("grep", "7", stdin=read_a, stdout=write_b)
    os.close(read_a)
    os.close(write_b)
    third = await asyncio.create_subprocess_exec("sort", "-rn", stdin=read_b, stdout=PIPE)
    os.close(read_b)
    out, _ = await third.communicate()
    codes = await asyncio.gather(first.wait(), second.wait())
    lines = out.decode().split()
    return f"{len(lines)} lines, first {lines[0]}, last {lines[-1]}, codes {codes}"


async def worker(number: int) -> int:
    code = f"import sys; print(sum(map(int, sys.stdin)) + {number})"
    process = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", code, stdin=PIPE, stdout=PIPE)
    out, _ = await process.communicate(b"".join(b"%d\n" % n for n in range(1000)))
    return int(out)


async def main() -> None:
    seen.loop()
    print("pipeline:", await pipeline())
    print("workers:", await asyncio.gather(*[worker(number) for number in range(8)]))

    shell = await asyncio.create_subprocess_shell("echo out; echo err >&2; exit 3", stdout=PIPE, stderr=PIPE)
    print("shell:", await shell.communicate(), shell.returncode)

    cat = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
    for number in range(100):
        cat.stdin.write(b"line %d\n" % number)
        assert await cat.stdout.readline() == b"line %d\n" % number
    cat.stdin.close()
    print("cat:", await cat.wait())

    big = os.urandom(1 << 20) * 4
    cat = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
    out, _ = await cat.communicate(big)
    print("four MiB through cat:", out == big)

    sleeping = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        await asyncio.wait_for(sleeping.wait(), 0.1)
    except TimeoutError:
        sleeping.terminate()
        print("terminated:", await sleeping.wait() == -signal.SIGTERM)
    killed = [await asyncio.create_subprocess_exec("sleep", "60") for _ in range(10)]
    for process in killed:
        process.kill()
    print("killed:", set(await asyncio.gather(*[process.wait() for process in killed])) == {-signal.SIGKILL})
    try:
        await asyncio.create_subprocess_exec("/no/such/program")
    except FileNotFoundError as error:
        print(type(error).__name__)
    closed = await asyncio.create_subprocess_exec("true", stdin=PIPE)
    await closed.wait()
    try:
        for _ in range(100):
            closed.stdin.write(b"x" * 100_000)
            await closed.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        print("nobody reads")


asyncio.run(main())
