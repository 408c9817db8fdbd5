"""`Thread.join()` that tells of deadlocks: `plait.install()` puts it in place of the standard library's."""

import threading

from plait._engine import _join as _watched_join
from plait._engine import _watches_joins

__all__: list[str] = []

_stdlib_join = threading.Thread.join
_is_alive = threading.Thread.is_alive
_FIRST = 0.1  # seconds before a join counts as one that lasts


def _join(self: threading.Thread, timeout: float | None = None) -> None:
    """Wait until the thread has ended, `timeout` seconds at most; as `threading.Thread.join`.

    Raises what the standard library's raises, and `plait.DeadlockError` if the thread can never end because it
    waits for this one.
    """
    if timeout is not None or not _watches_joins():
        return _stdlib_join(self, timeout)
    _stdlib_join(self, _FIRST)
    if _is_alive(self) and self.ident is not None:
        _watched_join(self, self.ident, _stdlib_join, _is_alive)
    return None


_join.__name__ = "join"
_join.__qualname__ = "Thread.join"
