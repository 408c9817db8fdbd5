"""What a worker is beside its calls: how it begins, what it prints and logs, what it says of errors, how it ends.

The calls themselves are native (`plait._engine.ProcessWorker`).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import atexit
import faulthandler
import io
import os
import signal
import sys
import threading
from types import ModuleType

from plait import _on_import
from plait._engine import ProcessWorker
from plait._processes import pickling

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of plait
if TYPE_CHECKING:
    from typing import Any, NoReturn

__all__ = ["TaskInterrupted", "main", "prepare"]

# A record of the ring is not longer; what is, is cut.
_LONGEST = 48 << 10

_SIGINT, _UNBLOCK = int(signal.SIGINT), int(signal.SIG_UNBLOCK)
_INTERRUPT = signal.SIGRTMIN + 5


class TaskInterrupted(BaseException):
    """Raised within a call whose caller does not want it any more, or that takes too long. It is not to be caught."""


def main(link: int, hello: dict[str, Any] | None = None) -> None:
    """Serve the pool at the other end of the descriptor `link`, until it says that it is enough or is gone.

    hello: what the pool wants of its workers, where `multiprocessing` has started this process and passed it on; this
    returns then, or raises SystemExit. None: it comes over the link of a zygote's child, and the process ends here.
    """
    ours = hello is None
    worker = ProcessWorker.connect(link)
    if worker is None:
        os._exit(1)
    _listen(worker)
    code = 1
    try:
        code = _work(worker, hello)
    except SystemExit as end:
        code = _status(end)
    except BaseException:
        # A signal's handler has raised, or the ring cannot be used.
        sys.excepthook(*sys.exc_info())
    if not ours:
        worker.flush()
        if code:
            sys.exit(code)
        return
    _leave(worker, code)


def _work(worker: ProcessWorker, hello: dict[str, Any] | None) -> int:
    try:
        if hello is None:
            hello = pickling.loads(worker.hello)
        _set_up(worker, hello)
        if hello.get("initializer") is not None:
            hello["initializer"](*hello.get("initargs", ()))
    except BaseException as error:
        import logging

        logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=True)
        worker.unfit(_short(error, pickling.dumps_exception(error)))
        return 1
    finalizer, finargs = hello.get("finalizer"), hello.get("finargs", ())
    del hello
    worker.ready()
    end = worker.serve()
    if end != "retired":
        # Nobody is there to hear, or this is another process, whose parent is the worker.
        os._exit(0 if end == "forked" else 1)
    if finalizer is not None:
        finalizer(*finargs)
    return 0


_streams: tuple[_Stream, _Stream] | None = None


def prepare() -> None:
    """Make this process, a zygote, such that its children begin as those of `multiprocessing` do.

    What is done here once need not be done by each child, and its pages stay shared: touching one takes a child some
    microseconds. To be called again when more has been imported.
    """
    global _streams
    atexit._clear()
    if (util := sys.modules.get("multiprocessing.util")) is not None:  # else it comes with the import
        util._finalizer_registry.clear()
        atexit.register(util._exit_function)
    if "logging" in sys.modules:
        from plait._processes import logs

        logs.prepare()
    if _streams is not None:
        return
    _streams = _Stream(None, 1), _Stream(None, 2)
    _close_stdin()
    faulthandler.enable(file=2)
    # Functions and classes of the program's main module find their globals here.
    main_module = ModuleType("__main__")
    main_module.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main_module


def _close_stdin() -> None:
    """What a worker reads is nothing: the terminal is its parent's."""
    if sys.stdin is None:
        return
    try:
        sys.stdin.close()
    except (OSError, ValueError):
        pass
    try:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    except OSError:
        pass


def _listen(worker: ProcessWorker) -> None:
    # Not SIG_IGN, which programs that a task starts would inherit. (By the functions in C: those of `signal` look up
    # what they return in an Enum each time.)
    _signal.signal(_SIGINT, _ignore)
    _signal.signal(_INTERRUPT, worker.interrupted)
    _signal.pthread_sigmask(_UNBLOCK, (_INTERRUPT, _INTERRUPT + 1, _SIGINT))
    if _streams is None:
        faulthandler.enable(file=2)
        sys.stdout, sys.stderr = _Stream(worker, 1), _Stream(worker, 2)
    else:
        sys.stdout, sys.stderr = stdout, stderr = _streams
        stdout._worker = stderr._worker = worker
    _listen_to_logs(worker)


def _listen_to_logs(worker: ProcessWorker) -> None:
    """At once, or when a task imports `logging`: that takes as long as all else that a worker imports."""

    def forward(name: str) -> None:
        from plait._processes import logs

        logs.forward(worker)

    if "logging" in sys.modules:
        forward("logging")
    else:
        _on_import.watch({"logging"}, forward)


def rehearse() -> None:
    """Do for nothing what a worker does first with signals and streams: nothing remains but what is set anew then."""
    import logging

    before, handler = (sys.stdout, sys.stderr, logging.lastResort), _signal.getsignal(_SIGINT)
    nobody: Any = _Nobody()
    try:
        _listen(nobody)
        print(file=sys.stdout)
    finally:
        sys.stdout, sys.stderr, logging.lastResort = before
        _signal.signal(_SIGINT, handler)


class _Nobody:
    def interrupted(self, number: int, frame: object) -> None:
        pass

    def output(self, stream: int, data: bytes) -> bool:
        return True


def _ignore(number: int, frame: object) -> None:
    pass


def _set_up(worker: ProcessWorker, hello: dict[str, Any]) -> None:
    failures = _PoolFailures() if hello.get("style") == "pool" else _Failures()
    worker.use(pickling.loads, failures, TaskInterrupted)


def _status(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    sys.stderr.write(f"{end.code}\n")
    return 1


def _leave(worker: ProcessWorker, code: int) -> NoReturn:
    """As a child of `multiprocessing` ends: threads are waited for, then exit functions run, and nothing else."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        worker.flush()
    except BaseException:
        code = code or 1
    finally:
        os._exit(code)


# Errors --------------------------------------------------------------------------------


class _Failures:
    """What the caller gets where a call went wrong, as the executors have it."""

    def __call__(self, where: str, error: BaseException, value: object) -> bytes:
        if where == "arguments" and not isinstance(error, TaskInterrupted):
            error = self.unread(error)
        elif where == "result" and not isinstance(error, (MemoryError, OSError)):
            error = self.unsent(error, value)
        return self.dumps(error)

    def dumps(self, error: BaseException) -> bytes:
        return pickling.dumps_exception(error)

    def unread(self, error: BaseException) -> BaseException:
        from concurrent.futures.process import BrokenProcessPool

        told = BrokenProcessPool(
            f"The call could not be unpickled in the worker process: {type(error).__qualname__}: {error}"
        )
        told.__cause__ = error
        return told

    def unsent(self, error: BaseException, value: object) -> BaseException:
        return error


class _PoolFailures(_Failures):
    """As `multiprocessing.Pool` has it."""

    def dumps(self, error: BaseException) -> bytes:
        return pickling.dumps_exception(
            error, pool=True, replaced=lambda problem: self.unsent(problem, error)
        )

    def unread(self, error: BaseException) -> BaseException:
        return error

    def unsent(self, error: BaseException, value: object) -> BaseException:
        from multiprocessing import pool

        wrapped: BaseException = pool.MaybeEncodingError(error, value)  # type: ignore[attr-defined]
        return wrapped


def _short(error: BaseException, data: bytes) -> bytes:
    """The pickle, or one of what fits into a record."""
    if len(data) <= _LONGEST:
        return data
    kind = type(error)
    short = RuntimeError(f"{kind.__module__}.{kind.__qualname__}, too large to be sent: {str(error)[:1000]}")
    return pickling.dumps_exception(short)


# What is printed and logged ------------------------------------------------------------


class _Stream(io.TextIOBase):
    """`sys.stdout` or `sys.stderr` of a worker: goes to the parent's, in order with results and log records."""

    encoding = "utf-8"
    errors = "backslashreplace"
    line_buffering = True
    mode = "w"

    def __init__(self, worker: ProcessWorker | None, number: int) -> None:
        self._worker: Any = worker
        self._number = number
        self.name = ("<stdout>", "<stderr>")[number - 1]
        self.buffer = _Bytes(self)

    def write(self, text: str, /) -> int:
        """Write `text`; it is sent when a line ends."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        data = text.encode("utf-8", "backslashreplace")
        if not self._worker.output(self._number, data):
            _write_all(self._number, data)
        return len(text)

    def flush(self) -> None:
        """Send what is not sent yet."""
        self._worker.flush()

    def writable(self) -> bool:
        """True."""
        return True

    def fileno(self) -> int:
        """The descriptor to which programs that this process starts write."""
        return self._number

    def isatty(self) -> bool:
        """False: the parent may have a terminal, the worker has a ring."""
        return False

    def reconfigure(self, **options: Any) -> None:
        """Nothing: the parent's stream is configured in the parent."""

    def close(self) -> None:
        """Nothing: there is nothing to close."""


class _Bytes(io.BufferedIOBase):
    def __init__(self, text: _Stream) -> None:
        self.raw = text

    def write(self, data: Any, /) -> int:
        data = bytes(data)
        self.raw.write(data.decode("utf-8", "backslashreplace"))
        return len(data)

    def flush(self) -> None:
        self.raw.flush()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.raw.fileno()

    def close(self) -> None:
        pass


def _write_all(fd: int, data: bytes) -> None:
    """In a child that a task has forked, which has no ring."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
