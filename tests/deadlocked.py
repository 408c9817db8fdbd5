"""Programs with deadlocks, each run in a process of its own: one that is only warned of stays a deadlock."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

SECONDS = 30  # for a program that should have ended long before
START = """
import faulthandler, os, signal, sys, threading, time, warnings
faulthandler.enable()
import plait
plait.install()

def start(function, *args, daemon=False, name=None):
    thread = threading.Thread(target=function, args=args, daemon=daemon, name=name)
    thread.start()
    return thread

def reported(function, *args):
    "What the call raised, as (seconds that it took, text)."
    begin = time.monotonic()
    try:
        function(*args)
    except plait.DeadlockError as error:
        return time.monotonic() - begin, str(error)
    raise AssertionError("no DeadlockError")

def until(condition):
    while not condition():
        time.sleep(0.005)

class Shown:
    "Warnings instead of text on stderr."
    def __init__(self):
        self.all = []
        warnings.simplefilter("always")
        warnings.showwarning = lambda *args: self.all.append(args)
    def texts(self):
        return [str(args[0]) for args in self.all]

def work(mine, other, both, done):
    with mine:
        both.wait()
        try:
            with other:
                done.append("got both")
        except plait.DeadlockError as error:
            done.append(error)

def cycle(kind, size=2):
    locks = [kind() for _ in range(size)]
    both, done = threading.Barrier(size), []
    threads = [
        start(work, locks[i], locks[(i + 1) % size], both, done, name=f"worker {i}") for i in range(size)
    ]
    return threads, done
"""


def run(program: str, mode: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a program on plait. One that hangs is killed with a traceback of all its threads."""
    environment = {name: value for name, value in os.environ.items() if name != "PLAIT_DEADLOCK"}
    if mode is not None:
        environment["PLAIT_DEADLOCK"] = mode
    with subprocess.Popen(
        [sys.executable, "-c", START + textwrap.dedent(program)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            out, err = process.communicate()
            pytest.fail(f"the program hung\n{out}\n{err}")
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def lines_of(program: str, mode: str | None = None) -> list[str]:
    """What a program printed that ended well and said nothing on stderr."""
    result = run(program, mode)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return result.stdout.splitlines()
