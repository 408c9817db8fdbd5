"""Workers of a context of multiprocessing: fork, forkserver and spawn pass what a worker needs, each in its own way."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait._processes import start

STAND_IN = """
import json, os, socket

def main(link, hello):
    end = socket.socket(fileno=link)
    end.send(b"\\0" + json.dumps(list(hello)).encode())
    while text := end.recv(65536)[1:]:
        end.send(b"\\0" + json.dumps(eval(text)).encode())
    os._exit(0)
"""


@pytest.fixture(params=["fork", "forkserver", "spawn"])
def context(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(start, "_ENTRY", "stand_in")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # this process may have threads
        yield multiprocessing.get_context(request.param)


@pytest.fixture
def worker(context) -> Iterator[tuple[start.ContextProcess, socket.socket, int]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    errors, stderr = os.pipe()
    starter = start.context_starter(context, {"queue": context.Queue()})
    with theirs:
        handle = starter.start(theirs.fileno(), stderr)
    os.close(stderr)
    yield handle, ours, errors
    handle.kill()
    handle.join()
    handle.close()
    ours.close()
    os.close(errors)


def test_it_has_its_link_its_hello_and_its_standard_error(worker) -> None:
    handle, link, errors = worker
    assert link.recv(100) == b'\0["queue"]'
    link.send(b"\0os.getpid()")
    assert int(link.recv(100)[1:]) == handle.pid
    link.send(b"\0os.write(2, b'alas')")
    link.recv(100)
    assert os.read(errors, 100) == b"alas"


def test_its_end_is_told(worker) -> None:
    handle, link, _ = worker
    link.recv(100)
    assert handle.exitcode is None
    link.send(b"\0os._exit(7)")
    handle.join(20)
    assert handle.exitcode == 7
    handle.kill()  # too late, and no error


def test_it_can_be_killed(worker) -> None:
    handle, link, _ = worker
    link.recv(100)
    handle.kill()
    handle.join(20)
    assert handle.exitcode == -signal.SIGKILL
