"""What a call in a process may fail with beside what it raised: `WorkerDied`, `TaskTimeout`, `MemoryLimitExceeded`.

All three can be pickled, so that they pass through the processes of nested pools.
"""

from __future__ import annotations

import signal
from concurrent.futures.process import BrokenProcessPool

__all__ = ["MemoryLimitExceeded", "TaskTimeout", "WorkerDied"]

_SHOWN = 2000  # characters of the worker's stderr that an error's text shows; the attribute has all


class WorkerDied(BrokenProcessPool):
    """The process that made the call ended before the call did. Other calls are not touched by it.

    exitcode: as `multiprocessing.Process.exitcode`: the exit status, or the negative number of the signal that ended
    it; None where it is not known. stderr: the last that the worker wrote to its standard error, faulthandler's report
    among it. call: the call, as text; empty where it is not known. pid: the process; None where it is not known.
    """

    def __init__(
        self, exitcode: int | None = None, stderr: str = "", call: str = "", pid: int | None = None
    ) -> None:
        super().__init__(exitcode, stderr, call, pid)
        self.exitcode = exitcode
        self.stderr = stderr
        self.call = call
        self.pid = pid

    def __str__(self) -> str:
        who = "a worker process" if self.pid is None else f"worker process {self.pid}"
        text = f"{who} {_how(self.exitcode)} while the call was running"
        if self.call:
            text += f": {self.call}"
        said = self.stderr.strip()
        if said:
            cut = "[...]" if len(said) > _SHOWN else ""
            text += f"\nits last words on stderr:\n{cut}{said[-_SHOWN:]}"
        return text


class TaskTimeout(TimeoutError):
    """The call ran longer than its `timeout=` and was stopped.

    seconds: the timeout. call: the call, as text; empty where it is not known.
    """

    def __init__(self, seconds: float | None = None, call: str = "") -> None:
        super().__init__(seconds, call)
        self.seconds = seconds
        self.call = call

    def __str__(self) -> str:
        text = "the call was stopped: it ran too long"
        if self.seconds is not None:
            text = f"the call was stopped: it ran longer than {self.seconds:g} s"
        return f"{text}: {self.call}" if self.call else text


class MemoryLimitExceeded(MemoryError, RuntimeError):
    """The worker's memory grew beyond the pool's `memory_limit=` during the call, and the worker was ended.

    used, limit: bytes. call: the call, as text; empty where it is not known.
    """

    def __init__(self, used: int | None = None, limit: int | None = None, call: str = "") -> None:
        super().__init__(used, limit, call)
        self.used = used
        self.limit = limit
        self.call = call

    def __str__(self) -> str:
        text = "the worker process used more memory than its limit"
        if self.used is not None and self.limit is not None:
            text = f"the worker process used {_size(self.used)} of memory, its limit is {_size(self.limit)}"
        return f"{text}: {self.call}" if self.call else text


def _how(exitcode: int | None) -> str:
    if exitcode is None:
        return "ended"
    if exitcode >= 0:
        return f"exited with code {exitcode}"
    try:
        return f"was ended by {signal.Signals(-exitcode).name}"
    except ValueError:
        return f"was ended by signal {-exitcode}"


def _size(bytes_: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if bytes_ >= size:
            return f"{bytes_ / size:.1f} {unit}"
    return f"{bytes_} bytes"
