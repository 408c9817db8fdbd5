"""How a pool's workers are started: by plait's zygote, or by a context of `multiprocessing`.

A starter has `start(link_fd, stderr_fd)`, which gives a handle (see `handles`). The zygote's starter is native, so that
the engine can start a worker without the GIL; what a worker of it inherits is said here, by `prepare`, each time that
an attached thread starts one.

A process has one zygote, made at the first need or by `prestart()`; a fork of the process makes its own.
"""

from __future__ import annotations

import _thread
import os
import pickle
import signal
import sys
from importlib import import_module
from pathlib import Path

from plait import _engine, _install

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of plait
if TYPE_CHECKING:
    from collections.abc import Iterable
    from multiprocessing.context import BaseContext
    from typing import Any

    from plait._engine import Zygote, ZygoteStarter
    from plait._processes.handles import ContextProcess

__all__ = ["context_starter", "prepare", "prestart", "zygote_starter"]

# Loads plait from where the parent has it, whatever is in the current directory.
_CODE = """\
import sys as _s
if _s.path[:1] == [""]: del _s.path[0]
import importlib.util as _u
_p = _u.spec_from_file_location("plait", {init!r})
_s.modules["plait"] = _m = _u.module_from_spec(_p)
_p.loader.exec_module(_m)
from plait._processes.zygote import main
main()
"""

_ENTRY = "plait._processes.worker"  # its main() is what a worker does

_lock = _thread.allocate_lock()
_zygote: Zygote | None = None
_environment: dict[bytes, bytes] = {}  # the zygote's
_preload: list[str] = []


def prestart(preload: Iterable[str] = ()) -> None:
    """Start the zygote now, so that the first pool need not wait for it (some 30 ms).

    `preload` names modules that the zygote imports, so that every worker has them from its beginning and shares their
    memory. They must start no threads when they are imported, as numpy may: a threaded process is not forked well.
    Modules that are named after the zygote has been started are ignored.
    """
    _preload.extend(name for name in preload if name not in _preload)
    _current().ensure()


def zygote_starter() -> ZygoteStarter:
    """Give a starter whose workers are forked by plait's zygote, which is started with the first of them."""
    return _engine.ZygoteStarter(_current())


def _current() -> Zygote:
    global _zygote
    with _lock:
        if _zygote is None or not _zygote.is_ours():
            _environment.clear()
            _environment.update(_environ())
            _zygote = _engine.Zygote(_command(), [b"%b=%b" % item for item in _environment.items()], _first())
        return _zygote


def _after_fork() -> None:
    global _lock, _zygote
    _lock = _thread.allocate_lock()  # perhaps another thread held it
    _zygote = None


os.register_at_fork(after_in_child=_after_fork)


def _command() -> list[bytes]:
    from multiprocessing import spawn, util

    flags: list[str] = util._args_from_interpreter_flags()  # type: ignore[attr-defined]
    code = _CODE.format(init=str(Path(__file__).parents[1] / "__init__.py"))
    return [os.fsencode(part) for part in (spawn.get_executable(), *flags, "-c", code)]


def _first() -> bytes:
    preload = list(_preload)
    if "cloudpickle" in sys.modules:
        preload.append("cloudpickle")
    rehearsal = {
        **_description(),
        "start_method": None,
        "log_to_stderr": False,
        "log_level": None,
        "levels": [],
    }
    first = {
        "sys_path": _path(),
        "installed": _install.is_installed(),
        "preload": preload,
        "rehearsal": pickle.dumps(rehearsal, pickle.HIGHEST_PROTOCOL),
    }
    return pickle.dumps(first)


def _path() -> list[str]:
    from multiprocessing import process

    here = process.ORIGINAL_DIR  # type: ignore[attr-defined]
    return [here if part == "" and here is not None else part for part in sys.path]


def prepare(starter: ZygoteStarter) -> None:
    """Have the starter's next workers inherit what this process is now.

    That is: arguments, `sys.path`, current directory, environment, umask, the start method of `multiprocessing` and its
    key, the resource tracker if there is one, and whether plait is installed.
    """
    from multiprocessing import resource_tracker

    data = _description()
    fds = []
    tracker = resource_tracker._resource_tracker._fd  # type: ignore[attr-defined]
    if tracker is not None:
        data["tracker"] = True
        fds.append(tracker)
    starter._prepare(pickle.dumps(data, pickle.HIGHEST_PROTOCOL), fds)


def _description() -> dict[str, Any]:
    """What `plait._processes.zygote` is told of this process."""
    import multiprocessing
    from multiprocessing import process, util

    environment = _environ()
    me = process.current_process()
    return {
        "sys_path": _path(),
        "sys_argv": getattr(sys, "argv", None),
        "dir": _directory(),
        "orig_dir": process.ORIGINAL_DIR,  # type: ignore[attr-defined]
        "umask": _umask(),
        "environment": None if environment == _environment else environment,
        "authkey": bytes(me.authkey),
        "parent": (me.name, os.getpid()),
        "identity": me._identity,
        "start_method": multiprocessing.get_start_method(allow_none=True),
        "log_to_stderr": util._log_to_stderr,  # type: ignore[attr-defined]
        "log_level": util._logger.getEffectiveLevel() if util._logger is not None else None,  # type: ignore[attr-defined]
        "levels": _levels(),
        "installed": _install.is_installed(),
        "tracker": False,
        "entry": _ENTRY,
    }


def _levels() -> list[tuple[str, int]]:
    """The levels that the program has given to its loggers: workers send what their parent would handle."""
    logging = sys.modules.get("logging")
    if logging is None:
        return []
    found = [("", logging.root.level)]
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if level := getattr(logger, "level", 0):
            found.append((name, level))
    return found


def _directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it has been removed
        return None


def _environ() -> dict[bytes, bytes]:
    """A copy of the environment; by way of the mapping in `os` it would take ten times as long."""
    data = getattr(os.environb, "_data", None)
    return data.copy() if type(data) is dict else dict(os.environb)


def _umask() -> int | None:
    """The umask, which the system call tells only by setting it, for all threads."""
    try:
        file = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
        try:
            status = os.read(file, 4096)
        finally:
            os.close(file)
        at = status.index(b"\nUmask:") + 7
        return int(status[at : status.index(b"\n", at)], 8)
    except (OSError, ValueError):
        return None


class context_starter:
    """Starts workers as processes of a context of `multiprocessing`: fork, forkserver or spawn.

    What a worker needs beside its link goes the way of that context: `hello`, the dict with `initializer` and
    `initargs`, is an argument of the process, so it may hold what is only inherited (queues and locks of
    `multiprocessing`).
    """

    def __init__(self, context: BaseContext, hello: dict[str, Any] | None = None) -> None:
        self.context = context
        self._hello = hello

    def start(self, link: int, stderr: int) -> ContextProcess:
        """Start a worker that has this link to its parent and this standard error."""
        from plait._processes.handles import ContextProcess

        process: Any = self.context.Process(  # type: ignore[attr-defined]
            target=_serve, args=(_ENTRY, _Passed(link), _Passed(stderr), self._hello)
        )
        # A Ctrl-C while the new interpreter starts is not its business; it unblocks the signal when it has a handler.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            return ContextProcess(process)
        except BaseException:  # it cannot be watched
            process.terminate()
            process.join()
            raise


class _Passed:
    """A descriptor on its way to a process that is being started, as that process's context passes descriptors."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __reduce__(self) -> tuple[Any, ...]:
        from multiprocessing import reduction

        return _received, (reduction.DupFd(self.fd),)


def _received(passed: Any) -> _Passed:
    return _Passed(passed.detach())


def _serve(entry: str, link: _Passed, stderr: _Passed, hello: dict[str, Any] | None) -> None:
    """What a process of a context does: it is a worker until it ends."""
    os.dup2(stderr.fd, 2)
    os.close(stderr.fd)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A pool's own thread, which may have started this one, hears no signals.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    import_module(entry).main(link.fd, hello)
