"""`queue` on plait's engine: the same names, so that changing the import is enough.

Queue, LifoQueue and PriorityQueue are native, and have `shutdown()` on every version. Empty, Full and SimpleQueue are
the standard library's own; so is ShutDown where it has one (from 3.13 on).
"""

import queue as _queue
import sys
from queue import Empty, Full, SimpleQueue

from plait._engine import LifoQueue, PriorityQueue, Queue

if sys.version_info >= (3, 13):
    from queue import ShutDown
else:
    from plait._engine import ShutDown

__all__ = ["Empty", "Full", "LifoQueue", "PriorityQueue", "Queue", "ShutDown", "SimpleQueue"]


def __getattr__(name: str) -> object:
    """Names that are not public here are the standard library's."""
    return getattr(_queue, name)
