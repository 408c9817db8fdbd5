"""What asyncio's own functions know of plait's tasks: `asyncio.all_tasks()` lists them, whoever took that function, and
whether or not `plait.install()` was called.

It looks into a set of weak references for tasks that are not of the standard library's own type. An entry there would
cost as much as the rest of a task. So that set becomes one that also yields what the engine lists.
"""

from __future__ import annotations

import _asyncio
import asyncio.tasks
import gc
import sys
from weakref import WeakSet

from plait._engine.asyncio import Task, _create_task_function, _every_task

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of this
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


class AllTasks(WeakSet):  # type: ignore[type-arg]
    """Weak references to some tasks, and the engine's tasks."""

    def __iter__(self) -> Iterator[Any]:
        yield from super().__iter__()
        yield from _every_task()

    def __len__(self) -> int:
        return super().__len__() + len(_every_task())


def _known() -> list[Any]:
    """Where asyncio looks for tasks."""
    tasks: Any = asyncio.tasks
    known = [tasks._scheduled_tasks if sys.version_info >= (3, 12) else tasks._all_tasks]
    if sys.version_info >= (3, 14):
        # C's own has no name from 3.14 on, but the module refers to it.
        known += [found for found in gc.get_referents(_asyncio) if type(found) is WeakSet]
    return known


for _set in _known():
    if type(_set) is WeakSet:
        _set.__class__ = AllTasks

if sys.version_info >= (3, 12):
    # The running version's function, and so its keywords, which differ.
    eager_task_factory: Any = asyncio.tasks.create_eager_task_factory(Task)
    eager_task_factory.__doc__ = "Makes a task that begins at once, in the middle of the one that makes it."

# The running version's, for its keywords; without any, the engine asks the running loop itself.
_create_task: Any = asyncio.tasks.create_task
create_task: Any = _create_task_function(_create_task)
for _name in ("__name__", "__qualname__", "__doc__", "__module__", "__code__", "__defaults__", "__kwdefaults__"):
    setattr(create_task, _name, getattr(_create_task, _name))
create_task.__annotations__ = {}
