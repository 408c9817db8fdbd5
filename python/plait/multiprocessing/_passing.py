"""How what is shared reaches another process: by descriptor, and only while one is being started.

A context of multiprocessing passes descriptors in its own way (`reduction.DupFd`). plait's own starter has no such
way: there a descriptor of shared memory travels as its place under `/proc`, where the child opens it again.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import context, reduction
from typing import Any, cast


def duplicate(descriptor: int) -> Any:
    """Something that can be pickled for the process that is being started; its `detach()` returns the descriptor there.

    Several objects may lie behind one descriptor: it is passed once for each process.
    """
    popen = context.get_spawning_popen()
    passed = popen.__dict__.setdefault("_plait_passed", {})
    if descriptor not in passed:
        passed[descriptor] = reduction.DupFd(descriptor)
    return passed[descriptor]


class Reopened:
    """A descriptor of memory that another process of the same user holds open; `detach()` opens it here."""

    def __init__(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        self._path = f"/proc/{os.getpid()}/fd/{descriptor}"
        self._file = (found.st_dev, found.st_ino)

    def detach(self) -> int:
        """Opens it. OSError if the other process has closed it, or is gone."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise OSError(error.errno, "what was shared is gone with the process that shared it", self._path) from None
        found = os.fstat(descriptor)
        if (found.st_dev, found.st_ino) != self._file:
            os.close(descriptor)
            raise OSError(f"{self._path} is another file by now")
        return descriptor


class _Popen:
    """What stands for the process that is being started, where plait's own starter starts it."""

    def duplicate_for_child(self, descriptor: int) -> int:
        return descriptor

    def DupFd(self, descriptor: int) -> Reopened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # a memfd is a file without a name
            raise RuntimeError("what has a descriptor of its own goes to processes of multiprocessing only")
        return Reopened(descriptor)


@contextmanager
def spawning() -> Iterator[None]:
    """While this lasts, locks and queues can be pickled by this thread for workers that plait's own starter starts.

    The objects have to live as long as workers may be started with that pickle.
    """
    before = context.get_spawning_popen()
    context.set_spawning_popen(cast(Any, _Popen()))
    try:
        yield
    finally:
        context.set_spawning_popen(before)
