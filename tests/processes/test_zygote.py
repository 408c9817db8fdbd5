"""The zygote: what its workers inherit, who is told of their end, and that nobody is left behind.

The workers here serve a small language instead of a pool (`stand_in`), so that the zygote is tested by itself.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

from plait._processes import start
from plait._processes.handles import ZygoteProcess
from plait.concurrent.futures import ProcessPoolExecutor

STAND_IN = """
import json, os, socket, sys, time

def fds():
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}").partition(":")[0])
        except FileNotFoundError:
            pass  # the listing's own
    return sorted(found)

def main(link, hello):
    end = socket.socket(fileno=link)
    while text := end.recv(65536)[1:]:
        end.send(b"\\0" + json.dumps(eval(text)).encode())
    os._exit(0)
"""


class Started:
    """A worker, and the parent's end of its link."""

    def __init__(self, starter: start.ZygoteStarter) -> None:
        self.end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.errors, stderr = os.pipe()
        with theirs:
            self.handle = starter.start(theirs.fileno(), stderr)
        os.close(stderr)

    def send(self, code: str) -> None:
        self.end.send(b"\0" + code.encode())

    def ask(self, code: str) -> object:
        self.send(code)
        return json.loads(self.end.recv(65536)[1:])

    def close(self) -> None:
        self.handle.kill()
        self.handle.join()
        self.end.close()
        os.close(self.errors)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(start, "_ENTRY", "stand_in")


@pytest.fixture
def worker(stand_in: None) -> Iterator[Started]:
    worker = Started(start.zygote_starter())
    yield worker
    worker.close()


def zygote() -> int:
    pid, _ = start._current().process()
    assert pid is not None
    return pid


def test_a_worker_has_its_own_descriptors_and_no_others(worker: Started) -> None:
    stdout = os.readlink("/proc/self/fd/1").partition(":")[0]
    # What it reads (twice, as multiprocessing has it), writes and complains to; its link; its parent's pidfd.
    due = ["/dev/null", "/dev/null", stdout, "pipe", "socket", "anon_inode"]
    if resource_tracker._resource_tracker._fd is not None:
        due.append("pipe")  # to the resource tracker of the family
    assert worker.ask("fds()") == sorted(due)


def test_it_is_what_its_parent_is_when_it_is_started(
    stand_in: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starter = start.zygote_starter()
    monkeypatch.setenv("PLAIT_TEST_VALUE", "set after the zygote was")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["program", "--flag"])
    monkeypatch.syspath_prepend("/nowhere/in/particular")
    before = os.umask(0o27)
    try:
        worker = Started(starter)
    finally:
        os.umask(before)
    try:
        assert worker.ask("os.environ['PLAIT_TEST_VALUE']") == "set after the zygote was"
        assert worker.ask("'HOME' in os.environ") is False
        assert worker.ask("os.getcwd()") == str(tmp_path)
        assert worker.ask("sys.argv") == ["program", "--flag"]
        assert worker.ask("sys.path") == sys.path
        assert worker.ask("os.umask(0)") == 0o27
    finally:
        worker.close()


def test_it_is_a_process_of_multiprocessing_to_itself(worker: Started) -> None:
    mp = "__import__('multiprocessing')"
    assert worker.ask(f"{mp}.current_process().name") == worker.handle.name
    assert worker.ask(f"{mp}.parent_process().pid") == os.getpid()
    assert worker.ask(f"{mp}.parent_process().is_alive()") is True
    assert worker.ask(f"{mp}.current_process().daemon") is False
    assert worker.ask("__import__('signal').getsignal(2) == __import__('signal').SIG_IGN") is True


def test_each_has_random_numbers_of_its_own(worker: Started) -> None:
    other = Started(start.zygote_starter())
    try:
        number = "__import__('random').random()"
        assert worker.ask(number) != other.ask(number)
    finally:
        other.close()


def test_plait_is_installed_where_it_is_in_the_parent(worker: Started) -> None:
    import plait

    asked = "__import__('threading').Lock.__module__"
    assert not str(worker.ask(asked)).startswith("plait")
    with plait.installed():
        other = Started(start.zygote_starter())
    try:
        assert str(other.ask(asked)).startswith("plait")
    finally:
        other.close()


def test_the_handle_looks_like_a_process(worker: Started) -> None:
    handle = worker.handle
    assert handle.is_alive()
    assert handle.exitcode is None
    assert handle.pid == handle.ident == worker.ask("os.getpid()")
    handle.join(0.01)
    assert handle.is_alive()
    worker.send("os._exit(7)")
    handle.join(20)
    assert not handle.is_alive()
    assert handle.exitcode == 7
    assert "exitcode=7" in repr(handle)
    handle.kill()  # too late, and no error
    handle.terminate()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_signal_is_told_as_a_negative_number(worker: Started, number: int) -> None:
    os.kill(worker.handle.pid, number)
    worker.handle.join(20)
    assert worker.handle.exitcode == -number


def test_what_it_writes_to_standard_error_reaches_the_parent(worker: Started) -> None:
    worker.ask("os.write(2, b'alas')")
    assert os.read(worker.errors, 100) == b"alas"


def test_a_worker_that_cannot_begin_says_why(stand_in: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "_ENTRY", "no_such_module")
    worker = Started(start.zygote_starter())
    worker.handle.join(20)
    assert worker.handle.exitcode == 1
    assert b"no_such_module" in os.read(worker.errors, 10000)
    worker.close()


def test_the_ends_of_many_are_told_though_nobody_asks_meanwhile(stand_in: None) -> None:
    starter = start.zygote_starter()
    workers = [Started(starter) for _ in range(20)]
    for number, worker in enumerate(workers):
        worker.send(f"os._exit({number})")
    for number, worker in reversed(list(enumerate(workers))):
        worker.handle.join(20)
        assert worker.handle.exitcode == number
        worker.close()


def test_a_killed_zygote_is_replaced_and_its_workers_go_on(worker: Started) -> None:
    assert worker.ask("1") == 1  # one that has not been handed its request yet ends with the zygote
    before = zygote()
    os.kill(before, signal.SIGKILL)
    other = Started(start.zygote_starter())
    try:
        assert zygote() != before
        assert worker.ask("1 + 1") == 2
        assert other.ask("os.getppid()") == zygote()
        worker.handle.kill()
        worker.handle.join(20)
        assert worker.handle.exitcode == -signal.SIGKILL
    finally:
        other.close()


def test_every_request_that_a_killed_zygote_had_is_made_again() -> None:
    """Those of one pool, which are sent before the first is answered, and those of several threads."""
    pools = [ProcessPoolExecutor(2) for _ in range(3)]
    try:
        assert pools[0].submit(abs, -1).result(60) == 1
        stopped = zygote()
        os.kill(stopped, signal.SIGSTOP)
        begin = time.monotonic()
        with ThreadPoolExecutor() as threads:
            started = [threads.submit(lambda pool=pool: list(pool.map(abs, [-1, -2]))) for pool in pools[1:]]
            time.sleep(0.5)  # all have asked, and wait
            os.kill(stopped, signal.SIGKILL)
            assert [future.result(60) for future in started] == [[1, 2]] * 2
        assert time.monotonic() - begin < 20
    finally:
        for pool in pools:
            pool.shutdown()


def test_a_stopped_zygote_is_waited_for(worker: Started) -> None:
    os.kill(zygote(), signal.SIGSTOP)
    child = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -CONT {zygote()}"])
    try:
        other = Started(start.zygote_starter())
        assert other.ask("1") == 1
        other.close()
    finally:
        child.wait()


def test_a_forked_child_has_a_zygote_of_its_own(worker: Started) -> None:
    script = """
        import os, sys, warnings
        warnings.simplefilter("ignore")
        from plait._processes import start
        first = start._current()
        first.ensure()
        pid = os.fork()
        if pid == 0:
            assert not first.is_ours()
            second = start._current()
            os._exit(0 if second is not first and second.ensure() > 0 else 1)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "0\n", done.stderr


# When the parent goes ------------------------------------------------------------------------

PARENT = """
    import os, sys, time
    sys.path[:0] = [{here!r}, {stand_in!r}]
    from test_zygote import Started
    from plait._processes import start
    start._ENTRY = "stand_in"
    starter = start.zygote_starter()
    idle, busy, held = Started(starter), Started(starter), Started(starter)
    busy.send("time.sleep(600)")
    pids = [start._current().process()[0], *(worker.handle.pid for worker in (idle, busy, held))]
    {then}
    print(*pids, flush=True)
    {end}
"""


def is_there(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("then", "end"),
    [
        ("", "os.kill(os.getpid(), 9)"),
        ("", "os._exit(0)"),
        ("", "pass"),
        # A fork that lives longer holds the other ends of all links.
        ("if os.fork() == 0: time.sleep(5); os._exit(0)", "os.kill(os.getpid(), 9)"),
        # The zygote that knew the workers is gone; another has been told of them.
        (
            "os.kill(pids[0], 9); Started(starter); pids.append(start._current().process()[0])",
            "os.kill(os.getpid(), 9)",
        ),
    ],
    ids=["killed", "os._exit", "ends", "killed, with a fork left", "killed, after its zygote"],
)
def test_nobody_is_left_two_seconds_after_the_parent(
    stand_in: None, tmp_path: Path, then: str, end: str
) -> None:
    script = textwrap.dedent(PARENT).format(
        here=str(Path(__file__).parent), stand_in=str(tmp_path), then=textwrap.dedent(then), end=end
    )
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) >= 4
        parent.wait(60)
        deadline = time.monotonic() + 2
        while left := [pid for pid in pids if is_there(pid)]:
            assert time.monotonic() < deadline, f"{left} of {pids} are still there"
            time.sleep(0.02)


def test_a_handle_is_of_its_class(worker: Started) -> None:
    assert type(worker.handle) is ZygoteProcess
    worker.handle.mark = "anything"
