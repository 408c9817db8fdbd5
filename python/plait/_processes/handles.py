"""Worker processes as a pool shows them: objects that look like `multiprocessing.Process`."""

from __future__ import annotations

import os
import signal

from plait import _engine

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of plait
if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from plait._engine import ZygoteWorker

__all__ = ["ContextProcess", "ZygoteProcess", "zygote_process_name"]


def zygote_process_name(number: int) -> str:
    """Give the name of a zygote's worker, in its parent and in itself."""
    return f"ZygoteProcess-{number}"


_REPORT = 2.0  # seconds; the fork server tells within microseconds, unless it is stopped


class _Handle:
    """What both kinds have: a process by its pidfd."""

    pid: int
    pidfd: int
    name: str
    daemon = False

    @property
    def ident(self) -> int:
        """The process number, as `pid`."""
        return self.pid

    @property
    def sentinel(self) -> int:
        """A descriptor that is readable when the process has ended, as `multiprocessing.Process.sentinel`."""
        return self.pidfd

    @property
    def exitcode(self) -> int | None:
        """The exit code, or the negative number of the signal that ended the process; None while it runs."""
        raise NotImplementedError

    def _signal(self, number: int) -> None:
        raise NotImplementedError

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self.exitcode is None

    def join(self, timeout: float | None = None) -> None:
        """Wait until the process has ended, for `timeout` seconds at most."""
        if _engine._wait_for_process(self.pidfd, timeout):
            _ = self.exitcode  # reaped, where it is ours to reap

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._signal(signal.SIGKILL)

    def interrupt(self) -> None:
        """Send SIGINT, which workers ignore."""
        self._signal(signal.SIGINT)

    def __repr__(self) -> str:
        code = self.exitcode
        state = "started" if code is None else f"stopped exitcode={code}"
        return f"<{type(self).__name__} name={self.name!r} pid={self.pid} {state}>"


class ZygoteProcess(_Handle):
    """A worker that plait's zygote has forked. The pidfd is open as long as this object is."""

    def __init__(self, worker: ZygoteWorker) -> None:
        self._worker = worker
        self.pid = worker.pid
        self.pidfd = worker.pidfd
        self.name = zygote_process_name(worker.number)

    @property
    def exitcode(self) -> int | None:
        """As `multiprocessing.Process.exitcode`; 255 where nobody can tell (its zygote has died, before Linux 6.15)."""
        return self._worker.exitcode

    def _signal(self, number: int) -> None:
        self._worker.signal(number)

    def close(self) -> None:
        """Nothing to do: the descriptor is closed with this object."""


class ContextProcess(_Handle):
    """A worker that was started as a `multiprocessing.Process`."""

    def __init__(self, process: BaseProcess) -> None:
        pid = process.pid
        assert pid is not None, "it has been started"
        self.pid = pid
        self.name = process.name
        self._process = process
        # Not reaped yet: only poll() of this very object does that for a child, and for a child of the fork server
        # nobody here does. (One that ended before this line has left a zombie, or the server's report.)
        self.pidfd = _engine._pidfd(pid)

    @property
    def exitcode(self) -> int | None:
        """As `multiprocessing.Process.exitcode`."""
        code = self._process.exitcode
        if code is None and _engine._wait_for_process(self.pidfd, 0):
            self._process.join(_REPORT)
            code = self._process.exitcode
        return code

    @property
    def sentinel(self) -> int:
        """As `multiprocessing.Process.sentinel`."""
        return self._process.sentinel

    def _signal(self, number: int) -> None:
        if self.exitcode is None:
            os.kill(self.pid, number)

    def close(self) -> None:
        """Close the pidfd."""
        pidfd, self.pidfd = self.pidfd, -1
        if pidfd >= 0:
            os.close(pidfd)

    def __del__(self) -> None:
        if getattr(self, "pidfd", -1) >= 0:
            self.close()
