"""One run of a program on the standard library or on plait: what it printed, how it ended and what it took."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from plait.cli.program import Program

__all__ = ["Side", "Trial", "run"]

Side = Literal["stdlib", "plait"]


@dataclass(frozen=True)
class Trial:
    """What one run printed, how it ended, and what it took."""

    stdout: bytes
    stderr: bytes
    status: (
        int | None
    )  # as subprocess's returncode: negative for a signal; None: it was stopped at the time limit
    wall: float  # seconds
    cpu: float  # seconds, user and system, of the program and of what it started, but for what outlives it
    memory: int  # peak bytes of the largest process among these

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        if self.status is None:
            return "no end within the time limit"
        if self.status < 0:
            return f"killed by {signal.Signals(-self.status).name}"
        return f"exit status {self.status}"


def run(program: Program, side: Side, stdin: BinaryIO, timeout: float | None) -> Trial:
    """Run `program` on one side. `stdin` is read from its beginning; `timeout` is in seconds."""
    stdin.seek(0)
    command = [sys.executable, *_interpreter_flags(), *_prefix(side), *program.words()]
    reaper = Path(__file__).with_name("reaper.py")
    read, write = os.pipe()
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr, open(read, "rb") as report:
        try:
            keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(reaper), str(write), *command],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=[write],
                # Workers would forget their peak memory after a long call, to tell what the next one takes.
                env={"PYTHONHASHSEED": "0", "PLAIT_KEEP_PEAK": "1", **os.environ},
                process_group=0,
            )
        finally:
            os.close(write)
        try:
            keeper.wait(timeout)
        except subprocess.TimeoutExpired:
            _kill(keeper)
        except BaseException:
            _kill(keeper)
            raise
        line = report.read() if keeper.returncode == 0 else b""
        stdout.seek(0)
        stderr.seek(0)
        output, errors = stdout.read(), stderr.read()
    if not line:
        return Trial(output, errors, None, 0.0, 0.0, 0)
    wall, user, system, kib, status, other_user, other_system, other_kib = line.split()
    return Trial(
        output,
        errors,
        os.waitstatus_to_exitcode(int(status)),
        float(wall),
        float(user) + float(system) + float(other_user) + float(other_system),
        max(int(kib), int(other_kib)) * 1024,
    )


def _prefix(side: Side) -> list[str]:
    return [str(Path(__file__).with_name("__main__.py")), "run"] if side == "plait" else []


def _interpreter_flags() -> list[str]:
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing does
    return flags


def _kill(keeper: subprocess.Popen[bytes]) -> None:
    """End the reaper and all that it has started, but for those that left its process group."""
    os.killpg(keeper.pid, signal.SIGKILL)
    keeper.wait()
