"""The zygote: a process with one thread that has loaded what workers need, and forks them.

It is exec'd, so it has nothing of its parent's threads, locks and open files; it never runs the program's `__main__`.
Between forks `plait._engine.Nursery` waits, reaps, watches the parent and hands requests over; here is what needs
Python: the fork, and what the child makes of itself before it is a worker.

A child is forked before it is asked for, makes itself ready as far as it can, and waits for a request: it gets it when
the parent has been told of it, and ends if there will be none.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import sys
from importlib import import_module
from multiprocessing import process

from plait import _engine, _install
from plait._processes import handles, worker

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of plait
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, NoReturn

__all__ = ["main"]

# What a worker may import at its first call. That takes longer than all else, so whoever waits for the first worker has
# it first.
_LATER = [
    "importlib.util",
    "multiprocessing.connection",
    "multiprocessing.resource_tracker",
    "multiprocessing.spawn",
    "multiprocessing.util",
    "plait._processes.by_value",
    "plait._processes.chunks",
    "plait._processes.logs",
    "plait._processes.kinds",
    "traceback",
]


_WARNING = 30  # of logging

_rehearsal = b""  # what a child is told that is nothing yet


def main() -> NoReturn:
    """Serve the parent whose descriptors this process was exec'd with, until that one is gone."""
    status = 1
    try:
        nursery = _engine.Nursery()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's business, and workers ignore it
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        while request := nursery.request():
            if request is True:
                if _LATER and not nursery.is_asked():
                    _import(_LATER)
                    _LATER.clear()
                _fork(nursery)
            else:
                _load(**pickle.loads(request))
        status = 0
    finally:
        os._exit(status)


def _load(sys_path: list[str], preload: list[str], installed: bool, rehearsal: bytes) -> None:
    global _rehearsal
    _rehearsal = rehearsal
    sys.path[:] = sys_path
    if installed:
        import plait

        plait.install()
    _import(preload)


def _import(names: Iterable[str]) -> None:
    for name in names:
        try:
            import_module(name)
        except Exception:
            pass  # who needs it will see what is wrong
    worker.prepare()
    gc.collect()
    gc.freeze()  # children leave these objects alone, so their pages stay shared


def _fork(nursery: _engine.Nursery) -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass
    try:
        nursery.nest()
        pid = os.fork()
    except OSError as error:
        nursery.failed(error.errno or 0)
        return
    if pid == 0:
        _child(nursery)
    try:
        nursery.forked(pid)
    except OSError:
        pass  # the child has been killed


def _child(nursery: _engine.Nursery) -> NoReturn:
    status = 1
    try:
        is_asked = nursery.leave()
        _begin()
        if not is_asked:
            _rehearse()
        errand = nursery.errand()
        if errand is not None:
            ticket, data, (link, stderr, *others), parent = errand
            os.dup2(stderr, 2)
            os.close(stderr)
            entry = _become(ticket, parent, others, **pickle.loads(data))
            for fd in others:  # standard output
                os.dup2(fd, 1)
                os.close(fd)
            (sys.modules.get(entry) or import_module(entry)).main(link, None)
            status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def _begin() -> None:
    """What a child can do before it knows what it is to be."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None and util._afterfork_registry:
        util._run_after_forkers()
    if (numpy := sys.modules.get("numpy")) is not None:  # preloaded: each worker its own numbers
        numpy.random.seed()


def _rehearse() -> None:
    """Do what a worker does until its first call, for nothing.

    A page of the zygote that is touched becomes the child's own, which takes some microseconds, and there are hundreds:
    this is when nobody waits for it. (By its name, as the first call's function will come.)
    """
    _become(0, -1, [], **pickle.loads(_rehearsal))
    pickle.loads(b"cplait._processes.worker\nrehearse\n.")()


def _become(
    ticket: int,
    sentinel: int,
    fds: list[int],
    sys_path: list[str],
    sys_argv: list[str] | None,
    dir: str | None,
    orig_dir: str | None,
    umask: int | None,
    environment: dict[bytes, bytes] | None,
    authkey: bytes,
    parent: tuple[str, int],
    identity: tuple[int, ...],
    start_method: str | None,
    log_to_stderr: bool,
    log_level: int | None,
    levels: list[tuple[str, int]],
    installed: bool,
    tracker: bool,
    entry: str,
) -> str:
    """Make this process what its parent's children are; what it uses up of `fds` it takes out. Gives back `entry`."""
    sys.path[:] = sys_path
    if sys_argv is not None:
        sys.argv[:] = sys_argv
    if umask is not None:
        os.umask(umask)
    if dir is not None:
        try:
            os.chdir(dir)
        except OSError:
            pass
    if environment is not None:
        os.environb.clear()
        os.environb.update(environment)
    if tracker:
        from multiprocessing import resource_tracker

        resource_tracker._resource_tracker._fd = fds.pop(0)  # type: ignore[attr-defined]
    if installed != _install.is_installed():
        (_install.install if installed else _install.uninstall)()

    me: Any = process.BaseProcess.__new__(process.BaseProcess)
    me._identity = (*identity, ticket)
    me._name = handles.zygote_process_name(ticket)
    me._parent_name, me._parent_pid = parent
    me._popen = None
    me._closed = False
    me._config = {"authkey": process.AuthenticationString(authkey), "semprefix": "/mp"}  # type: ignore[attr-defined]
    module: Any = process
    module.ORIGINAL_DIR = orig_dir
    module._current_process = me
    module._parent_process = module._ParentProcess(*parent, sentinel)
    if log_to_stderr or log_level is not None:
        from multiprocessing import util

        if log_to_stderr:
            util.log_to_stderr()
        if log_level is not None:
            util.get_logger().setLevel(log_level)
    # What it begins with needs no import.
    if levels and (levels != [("", _WARNING)] or "logging" in sys.modules):
        import logging

        for name, level in levels:
            logger = logging.getLogger(name) if name else logging.root
            if logger.level != level:
                logger.setLevel(level)
    if start_method is not None:
        multiprocessing.set_start_method(start_method, force=True)
    return entry
