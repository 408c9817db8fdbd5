"""Hurts the workers of a pool while it works, and checks that nothing is lost: `make chaos`, and shorter in the tests.

    python tests/chaos.py [--seconds 60] [--seed N] [trouble ...]

Each trouble hits random workers again and again while thousands of calls of several kinds are made with retries. Then
every result has to be there, once and right, and no descriptor, shared memory, process or zombie may be left over.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import signal
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

from chaos_calls import checksum, dies_sometimes, large, listing, square
from plait._processes import start
from plait.concurrent.futures import ProcessPoolExecutor

RETRIES = 1000


# What workers are asked to do ----------------------------------------------------------------


def calls(number: int, odds: float) -> tuple[Callable[..., Any], tuple[Any, ...], Any]:
    """Function, arguments and the value that is due."""
    kind = number % 8
    if kind == 0:
        data = bytes([number % 256]) * (number % 40_000)
        return checksum, (number, data), (zlib.crc32(data) + number, data[::-1])
    if kind == 1:
        things = {"a": [number] * 10, "b": (None, 1.5)}
        return listing, (number, things), {**things, "number": number}
    if kind == 2 and number % 80 == 2:
        data = bytearray(300_000)
        due = bytearray(data)
        due[0] = number % 251
        return large, (number, data), due
    if kind == 3 and odds:
        return dies_sometimes, (number, odds), -number
    seconds = 0.0005 if kind % 2 else 0.0
    return square, (number, seconds), number * number


# What is done to them --------------------------------------------------------------------------


def _pids(pool: ProcessPoolExecutor) -> list[int]:
    return [process.pid for process in list((pool._processes or {}).values())]


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def kill(pool: ProcessPoolExecutor, dice: random.Random) -> None:
    """SIGKILL to a random worker."""
    if pids := _pids(pool):
        _signal(dice.choice(pids), signal.SIGKILL)


def stop(pool: ProcessPoolExecutor, dice: random.Random) -> None:
    """SIGSTOP to a random worker; it goes on two seconds later."""
    if pids := _pids(pool):
        pid = dice.choice(pids)
        _signal(pid, signal.SIGSTOP)
        timer = threading.Timer(2.0, _signal, (pid, signal.SIGCONT))
        timer.start()
        _stopped.append(timer)


_stopped: list[threading.Timer] = []


def kill_zygote(pool: ProcessPoolExecutor, dice: random.Random) -> None:
    """SIGKILL to the zygote, and then to a worker, so that a new zygote is needed."""
    pid, _ = start._current().process()
    if pid is not None:
        _signal(pid, signal.SIGKILL)
    kill(pool, dice)


def nothing(pool: ProcessPoolExecutor, dice: random.Random) -> None:
    """Nothing: the calls themselves do the harm."""


class Trouble:
    """What is done, how often (in seconds), and how often a call harms its own worker."""

    def __init__(self, do: Callable[[ProcessPoolExecutor, random.Random], None], every: float, odds: float = 0):
        self.do, self.every, self.odds = do, every, odds


TROUBLES = {
    "kill": Trouble(kill, 0.04),
    "stop": Trouble(stop, 1.0),
    "zygote": Trouble(kill_zygote, 0.3),
    "deaths": Trouble(nothing, 1.0, odds=0.02),
}


# What is left ------------------------------------------------------------------------------------


def descriptors() -> Counter[str]:
    """The kinds of open descriptors of this process, memfds by their names."""
    found: Counter[str] = Counter()
    for fd in os.listdir("/proc/self/fd"):
        try:
            name = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue  # the listing's own
        kind, _, rest = name.partition(":")
        found[rest.partition(" ")[0] if "memfd" in name else kind] += 1
    return found


def family(pid: int) -> dict[int, str]:
    """The state of each process that descends from this one, zombies among them."""
    parents: dict[int, list[tuple[int, str]]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        parents.setdefault(int(parent), []).append((int(name), state))
    found: dict[int, str] = {}
    line = [pid]
    while line:
        for child, state in parents.get(line.pop(), ()):
            found[child] = state
            line.append(child)
    return found


def left_over(before: Counter[str], processes: set[int], seconds: float = 10) -> str:
    """What is there that was not before; nothing is, as a rule, after a moment. The zygote may stay, with one spare."""
    deadline = time.monotonic() + seconds
    while True:
        gc.collect()  # handles of workers have pidfds
        zygote, _ = start._current().process()
        more = descriptors() - before
        others = {
            pid: state for pid, state in family(os.getpid()).items() if pid not in processes and pid != zygote
        }
        spares = [pid for pid in others if zygote is not None and pid in family(zygote)]
        if not more and len(others) == len(spares) <= 1:
            return ""
        if time.monotonic() > deadline:
            return f"descriptors {dict(more)}, processes {others}"
        time.sleep(0.05)


# A run -------------------------------------------------------------------------------------------


def run(name: str, tasks: int = 4000, workers: int = 3, seed: int = 0, seconds: float = 0) -> Counter[str]:
    """Make so many calls, more until the time is over, while a trouble goes on. AssertionError if anything is wrong."""
    start.prestart()
    before, processes = descriptors(), set(family(os.getpid()))
    counts = _work(TROUBLES[name], tasks, workers, random.Random(seed), seconds)
    left = left_over(before, processes)
    assert not left, f"left over: {left}"
    return counts


def _work(trouble: Trouble, tasks: int, workers: int, dice: random.Random, seconds: float) -> Counter[str]:
    over = threading.Event()
    ended: Counter[int] = Counter()
    counts: Counter[str] = Counter()
    end = time.monotonic() + seconds

    def harm() -> None:
        while not over.wait(trouble.every):
            counts["blows"] += 1
            trouble.do(pool, dice)

    with ProcessPoolExecutor(workers, retries=RETRIES) as pool:
        # A pool none of whose first workers has ever done anything gives up after three.
        assert pool.submit(square, 2, 0.0).result(120) == 4
        thread = threading.Thread(target=harm)
        thread.start()
        try:
            while counts["calls"] == 0 or time.monotonic() < end:
                _submit_and_check(pool, range(counts["calls"], counts["calls"] + tasks), trouble.odds, ended)
                counts["calls"] += tasks
        finally:
            over.set()
            thread.join()
            for timer in _stopped:
                timer.join()
            _stopped.clear()
    twice = {number: count for number, count in ended.items() if count != 1}
    assert not twice, f"callbacks were called more than once: {twice}"
    assert len(ended) == counts["calls"], f"{counts['calls'] - len(ended)} callbacks were never called"
    return counts


def _submit_and_check(pool: ProcessPoolExecutor, numbers: range, odds: float, ended: Counter[int]) -> None:
    due = []
    for number in numbers:
        function, args, value = calls(number, odds)
        future = pool.submit(function, *args)
        future.add_done_callback(lambda _, number=number: ended.update((number,)))
        due.append((number, future, value))
    for number, future, value in due:
        got = future.result(120)
        assert got == value, f"call {number} gave {got!r:.100}, not {value!r:.100}"


def main() -> None:
    """Run the troubles one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("troubles", nargs="*", default=list(TROUBLES), help=", ".join(TROUBLES))
    parser.add_argument("--seconds", type=float, default=30, help="for each trouble")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    chosen = parser.parse_args()
    for name in chosen.troubles:
        print(f"{name}: seed {chosen.seed} ... ", end="", flush=True)
        counts = run(name, seed=chosen.seed, seconds=chosen.seconds)
        print(f"{counts['calls']} calls, {counts['blows']} blows: nothing lost, nothing left", flush=True)


if __name__ == "__main__":
    main()
