"""`multiprocessing.queues` on plait's engine: items lie in shared memory that grows, and no thread feeds them.

`put` pickles in the caller, so that is where an object that cannot be pickled raises; what was put is there for others
when `put` returns. A process that is killed while it puts or gets harms nobody: others take no half of an item, and
wait for nobody.
"""

import types
from multiprocessing import context
from typing import Any

from plait import _engine
from plait.multiprocessing._passing import duplicate

__all__ = ["JoinableQueue", "Queue", "SimpleQueue"]


class _End:
    """One of the two ends that the standard library's queues have: it says whether the queue is closed."""

    def __init__(self, queue: "_Queue") -> None:
        self._queue = queue

    @property
    def closed(self) -> bool:
        """Whether it is."""
        return self._queue._is_closed

    def close(self) -> None:
        """Closes the queue in this process."""
        self._queue._close()

    def poll(self, timeout: float = 0.0) -> bool:
        """Whether an item is there now."""
        if self.closed:
            raise OSError("handle is closed")
        return not self._queue._is_empty()


class _Queue(_engine.SharedQueue):
    """What the three have in common. `ctx` is accepted as there; what is made here can be used with every context."""

    _maxsize = 0

    def __getstate__(self) -> Any:
        context.assert_spawning(self)
        return (self._maxsize, duplicate(self._location()))

    def __setstate__(self, state: Any) -> None:
        self._maxsize, descriptor = state
        self._attach(descriptor.detach())

    def __reduce__(self) -> Any:
        return (_rebuild, (type(self), self.__getstate__()))

    @property
    def _reader(self) -> _End:
        return _End(self)

    @property
    def _writer(self) -> _End:
        return _End(self)

    __class_getitem__: Any = classmethod(types.GenericAlias)


def _rebuild(kind: Any, state: Any) -> Any:
    rebuilt = kind.__new__(kind)
    rebuilt.__setstate__(state)
    return rebuilt


class Queue(_Queue):
    """`Queue(maxsize=0)`: as `multiprocessing.Queue`; any number of items if `maxsize` is not positive.

    A subclass that overrides `_on_queue_feeder_error` is told of objects that cannot be pickled, as there; else `put`
    raises.
    """

    def __init__(self, maxsize: int = 0, *, ctx: Any = None) -> None:
        self._maxsize = maxsize if maxsize > 0 else _engine.SemLock.SEM_VALUE_MAX
        self._create(max(maxsize, 0))

    def put_nowait(self, obj: Any) -> None:
        """Puts an item; raises queue.Full if there is no room for it now."""
        self.put(obj, False)

    def get_nowait(self) -> Any:
        """Takes an item; raises queue.Empty if there is none now."""
        return self.get(False)

    def empty(self) -> bool:
        """Whether there is no item now. OSError once it has been used and closed, as with the standard library."""
        if self._is_closed and self._is_used:
            raise OSError("handle is closed")
        return self._is_empty()

    def close(self) -> None:
        """This process puts and gets nothing more: both raise ValueError. What is in the queue stays for others."""
        self._close()

    def join_thread(self) -> None:
        """Returns: there is no thread, and what was put is there. The queue has to be closed."""
        assert self._is_closed, f"Queue {self!r} not closed"

    def cancel_join_thread(self) -> None:
        """Does nothing: no thread is waited for when the process ends."""

    def _refusal(self) -> Exception:
        return ValueError(f"Queue {self!r} is closed")

    def _not_pickled(self, error: BaseException, obj: Any) -> bool:
        """Gives an error of pickling to the hook, if there is one that is not the standard one."""
        hook = self._on_queue_feeder_error
        if hook is Queue._on_queue_feeder_error:
            return False
        hook(error, obj)
        return True

    @staticmethod
    def _on_queue_feeder_error(e: BaseException, obj: Any) -> None:
        """For overriding: called with the error and an object that cannot be pickled; `put` does not raise then."""


class JoinableQueue(Queue):
    """`JoinableQueue(maxsize=0)`: as `multiprocessing.JoinableQueue`."""

    def task_done(self) -> None:
        """Says that an item taken before is done with. ValueError if it is said more often than items were put."""
        self._task_done()

    def join(self) -> None:
        """Waits until `task_done` has been called for every item that was put."""
        self._join()


class SimpleQueue(_Queue):
    """As `multiprocessing.SimpleQueue`. `put` never waits."""

    def __init__(self, *, ctx: Any = None) -> None:
        self._create(0)

    def empty(self) -> bool:
        """Whether there is no item now."""
        return not self._poll()

    def close(self) -> None:
        """This process uses it no more: OSError from then on. What is in the queue stays for others."""
        self._close()

    def _poll(self, timeout: float = 0.0) -> bool:
        return self._reader.poll(timeout)

    def _refusal(self) -> Exception:
        return OSError("handle is closed")
