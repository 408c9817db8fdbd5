"""`plait ps PID`: the tasks of a running process."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from plait.cli.program import UsageError

__all__ = ["main"]

HELP = """\
usage: plait ps PID

Shows the tasks of a running process: for each event loop its tasks, each with its name,
where its coroutines stand, what it waits for and which task waits for it. asyncio's own tasks
and plait's, whether or not the program was started by `plait run`.

The process has to run on plait (it has imported plait.asyncio), on this machine, as the same user
or asked by root. It is not stopped.

  Python 3.14 and later   as it is, if this user may debug it (as for gdb -p)
  every version           if it was started with PLAIT_PS=1 in its environment; its loop
                          answers, so not while a callback holds it

exit status: 0 shown, 1 the process cannot be asked, 2 wrong argument
"""

SECONDS = 5.0  # that the process has for its answer


class CannotAsk(Exception):
    """Why not, in words."""


def main(arguments: Sequence[str]) -> int:
    """Print the tasks. Returns 0, or 1 where the process cannot be asked."""
    match list(arguments):
        case ["-h" | "--help"]:
            print(HELP, end="")
            return 0
        case [text] if text.isdecimal():
            process = int(text)
        case []:
            raise UsageError("plait ps", "which process? Its number is missing")
        case [text, *_]:
            raise UsageError("plait ps", f"{text!r} is no process number" if len(arguments) == 1 else "one PID")
    try:
        print(ask(process), end="")
    except CannotAsk as error:
        print(f"plait ps: {error}", file=sys.stderr)
        return 1
    return 0


def ask(process: int) -> str:
    """The tasks of `process`, as text; CannotAsk says why not."""
    if not Path(f"/proc/{process}").exists():
        raise CannotAsk(f"there is no process {process}")
    text = _by_socket(process)
    return _by_remote_exec(process) if text is None else text


def _by_socket(process: int) -> str | None:
    """What the process answers; None where it does not listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(SECONDS)
        try:
            connection.connect(f"\0plait-ps-{process}")
        except OSError:
            return None
        parts = []
        try:
            while part := connection.recv(65536):
                parts.append(part)
        except TimeoutError:
            raise CannotAsk(f"process {process} listens and does not answer: a callback holds its loop") from None
    if not parts:
        raise CannotAsk(f"process {process} does not answer this user")
    return b"".join(parts).decode()


SCRIPT = """\
import sys
if "plait.asyncio" in sys.modules:
    from plait.asyncio import _ps
    _ps.write({answer!r})
else:
    with open({answer!r}, "r+") as file:
        file.write("?\\0")
"""


def _by_remote_exec(process: int) -> str:
    remote_exec: Callable[[int, str], None] | None = getattr(sys, "remote_exec", None)
    if remote_exec is None:
        raise CannotAsk(f"process {process} does not answer: start it with PLAIT_PS=1 (from Python 3.14 on without)")
    with tempfile.TemporaryDirectory(prefix="plait-ps-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # the process may be another user's, who is asked by root
        answer, script = folder / "answer", folder / "script.py"
        answer.touch()
        answer.chmod(0o666)
        script.write_text(SCRIPT.format(answer=str(answer)), encoding="utf-8")
        script.chmod(0o644)
        try:
            remote_exec(process, str(script))
        except (OSError, RuntimeError) as error:
            raise CannotAsk(f"process {process} cannot be asked: {error}") from None
        _wake(process)
        end = time.monotonic() + SECONDS
        while not (text := answer.read_text(encoding="utf-8", errors="replace")).endswith("\0"):
            if time.monotonic() > end:
                raise CannotAsk(f"process {process} did not come to Python code within {SECONDS:g} seconds")
            time.sleep(0.01)
    if text == "?\0":
        raise CannotAsk(f"process {process} does not use plait.asyncio; try: python -m asyncio ps {process}")
    return text[:-1]


PIDFD_OPEN, PIDFD_GETFD = 434, 438  # system calls, on every architecture


def _wake(process: int) -> None:
    """End the sleep of an idle loop: a process runs the line when it next comes to Python code.

    Every reactor takes a wake-up without a reason, so each eventfd of the process gets one.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    handle = libc.syscall(PIDFD_OPEN, process, 0)
    if handle < 0:
        return
    try:
        for link in Path(f"/proc/{process}/fd").iterdir():
            try:
                if os.readlink(link) != "anon_inode:[eventfd]":
                    continue
            except OSError:
                continue
            copy = libc.syscall(PIDFD_GETFD, handle, int(link.name), 0)
            if copy >= 0:
                try:
                    if not os.get_blocking(copy):
                        os.write(copy, (1).to_bytes(8, sys.byteorder))
                except OSError:
                    pass
                finally:
                    os.close(copy)
    finally:
        os.close(handle)
