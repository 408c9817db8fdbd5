"""Calls that harm the process that makes them. In a module of their own, which workers import quickly."""

import ctypes
import os
import signal
import subprocess
import sys
import time


def pid() -> int:
    return os.getpid()


def leave(status: int) -> None:
    os._exit(status)


def segfault() -> None:
    ctypes.string_at(0)


def abort_in(depth: int) -> None:
    if depth:
        abort_in(depth - 1)
    os.abort()


def kill_itself(number: int) -> None:
    os.kill(os.getpid(), number)


def say_and_die(text: str) -> None:
    os.write(2, text.encode())
    os._exit(1)


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def take_memory(size: int) -> int:
    held = []
    while sum(map(len, held)) < size:
        held.append(b"x" * (16 << 20))
        time.sleep(0.01)
    time.sleep(5)
    return size


def take_too_much() -> None:
    bytearray(1 << 60)


class Unpicklable(Exception):
    """Says no when it is pickled."""

    def __reduce__(self):
        raise TypeError("this exception has no pickle")


class Unreadable(Exception):
    """Has a pickle that cannot be read: its constructor wants two arguments, and pickle passes one."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} {two}")


class Trap:
    """Raises where it is unpickled."""

    def __reduce__(self):
        return _spring, ()


def _spring() -> None:
    raise RuntimeError("sprung")


class Bomb:
    """Ends the process that unpickles it, unless that is the one that made it."""

    def __init__(self) -> None:
        self.pid = os.getpid()

    def __reduce__(self):
        return _explode, (self.pid,)


def _explode(pid: int) -> None:
    if os.getpid() != pid:
        os._exit(9)


def raise_unpicklable() -> None:
    raise Unpicklable("oops")


def raise_unreadable() -> None:
    raise Unreadable(1, 2)


def give_lambda() -> object:
    return (number for number in range(3))  # a generator has no pickle


def give_trap() -> Trap:
    return Trap()


def take(value: object) -> str:
    return type(value).__name__


def shout(size: int) -> int:
    line = "x" * 1023 + "\n"
    for _ in range(size // len(line)):
        sys.stdout.write(line)
    return size


def shout_errors(size: int) -> int:
    os.write(2, b"first words\n")
    block = b"e" * 65535 + b"\n"
    for _ in range(size // len(block)):
        os.write(2, block)
    os.write(2, b"last words\n")
    return size


def ignore_sigterm(seconds: float) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(seconds)
    return os.getpid()


def has_child() -> int:
    """Starts a program that outlives the call, and gives its number."""
    return subprocess.Popen(["sleep", "60"]).pid


def forks_a_child() -> tuple[int, int]:
    """Forks, as a library might: the child writes to what it has inherited, and ends."""
    child = os.fork()
    if child == 0:
        print("from the child", flush=True)
        os._exit(5)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), os.getpid()


def scribble() -> None:
    """Writes nonsense over all shared memory of this worker that it can write to."""
    for start, size in _mappings():
        ctypes.memset(start, 0xA5, size)
    time.sleep(10)


def scribble_up() -> None:
    """Writes random bytes over the positions of its rings: what the parent reads next cannot be."""
    noise = os.urandom(4096)
    for _ in range(20):
        for start, size in _mappings():
            ctypes.memmove(start, noise, min(size, len(noise)))
        time.sleep(0.005)


def _mappings() -> list[tuple[int, int]]:
    found = []
    with open("/proc/self/maps") as file:
        for line in file:
            if "memfd:plait-ring" in line and " rw-s " in line:
                first, _, last = line.split()[0].partition("-")
                found.append((int(first, 16), int(last, 16) - int(first, 16)))
    assert found, "no ring is mapped"
    return found
