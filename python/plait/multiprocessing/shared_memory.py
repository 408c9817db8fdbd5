"""`multiprocessing.shared_memory`, with two traps taken out of `SharedMemory`; the rest is the standard library's.

- A program that attaches to a segment of another program's does not take it away when it ends: only who makes a segment
  has it tracked (there, each one that attaches is, and the tracker of the first to end unlinks it under the others).
- A segment's pages are there when it is made: where /dev/shm is too small, making it raises OSError (there, the
  first to write beyond it is killed by SIGBUS).
"""

from __future__ import annotations

import os
import sys
import threading
from multiprocessing import resource_tracker
from multiprocessing import shared_memory as _shared_memory
from multiprocessing.shared_memory import ShareableList

__all__ = ["ShareableList", "SharedMemory"]

_KIND = "shared_memory"

if sys.version_info < (3, 13):
    # Versions that have no `track` register whatever is opened. To take it back would take the maker's entry too.

    class _Silent(threading.local):
        now = False

    class _Tracker:
        """The tracker as that module sees it: deaf to a thread that attaches through the class below."""

        unregister = staticmethod(resource_tracker.unregister)

        @staticmethod
        def register(name: str, kind: str) -> None:
            if not _silent.now:
                resource_tracker.register(name, kind)

    _silent = _Silent()
    _shared_memory.resource_tracker = _Tracker  # type: ignore[attr-defined]


class SharedMemory(_shared_memory.SharedMemory):
    """A named segment of shared memory; as `multiprocessing.shared_memory.SharedMemory`.

    name: of the segment; None for a new one's own. create: whether to make it. size: in bytes, of a new one.
    track: whether a segment that is made here is unlinked at the end if nobody has done so (on every version).
    Raises what there is raised; OSError where there is no room for a new one.
    """

    # Where the standard library's keeps them.
    _fd: int
    _name: str | None

    def __init__(self, name: str | None = None, create: bool = False, size: int = 0, *, track: bool = True) -> None:
        tracked = track and create
        if sys.version_info >= (3, 13):
            super().__init__(name, create, size, track=tracked)
        else:
            _silent.now = not tracked
            try:
                super().__init__(name, create, size)
            finally:
                _silent.now = False
        self._tracked = tracked
        if create:
            try:
                os.posix_fallocate(self._fd, 0, size)
            except OSError:
                self.close()
                self.unlink()
                raise

    def unlink(self) -> None:
        """Have the segment destroyed once nobody uses it; once, by any of its users."""
        if self._name and not getattr(self, "_tracked", True):
            # Its maker may have this tracker, and has then registered it: what is registered twice is there once.
            resource_tracker.register(self._name, _KIND)
            super().unlink()
            if sys.version_info >= (3, 13):
                resource_tracker.unregister(self._name, _KIND)
        else:
            super().unlink()
