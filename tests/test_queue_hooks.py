"""Subclasses that override `_init`, `_qsize`, `_put`, `_get`; and what a queue shows of its inside."""

import collections
import queue as standard
import threading
from types import ModuleType
from typing import Any

import pytest

import plait.queue
import plait.threading
from blocked import PATIENCE, Background, outcome, until, waiting

both = pytest.mark.parametrize("module", [plait.queue, standard], ids=["plait", "standard"])


def unique_queue(module: ModuleType) -> Any:
    """A queue of the kind that users write: each item once, in no order but that of insertion."""

    class UniqueQueue(module.Queue):  # type: ignore[misc, name-defined]
        def _init(self, maxsize: int) -> None:
            self.queue = {}

        def _put(self, item: object) -> None:
            self.queue[item] = None

        def _get(self) -> object:
            item = next(iter(self.queue))
            del self.queue[item]
            return item

    return UniqueQueue


@both
def test_hooks_decide_what_the_queue_is(module: ModuleType) -> None:
    queue = unique_queue(module)(2)
    for item in (1, 1, 2):
        queue.put_nowait(item)
    assert (queue.qsize(), queue.full(), queue.empty(), queue.unfinished_tasks) == (2, True, False, 3)
    with pytest.raises(standard.Full):
        queue.put(3, timeout=0.001)
    assert [queue.get(), queue.get_nowait(), queue.queue] == [1, 2, {}]
    with pytest.raises(standard.Empty):
        queue.get(block=False)


@both
@pytest.mark.parametrize("hooks", ["", "_put", "_get", "_qsize", "_init", "_put _get _qsize _init"])
def test_each_overridden_hook_gets_every_call_and_can_call_its_base(module: ModuleType, hooks: str) -> None:
    calls: list[str] = []

    def hook(name: str) -> Any:
        def method(self: Any, *arguments: object) -> object:
            calls.append(name)
            return getattr(module.Queue, name)(self, *arguments)

        return method

    queue = type("Spy", (module.Queue,), {name: hook(name) for name in hooks.split()})(5)
    queue.put("a")
    queue.put_nowait("b")
    assert [queue.get(), queue.get(timeout=1)] == ["a", "b"]
    assert {name: calls.count(name) for name in hooks.split() if name != "_qsize"} == {
        name: {"_put": 2, "_get": 2, "_init": 1}[name] for name in hooks.split() if name != "_qsize"
    }
    assert ("_qsize" in calls) == ("_qsize" in hooks)
    assert queue.qsize() == 0


@both
@pytest.mark.parametrize("name", ["_put", "_get", "_qsize"])
def test_a_hook_that_raises_leaves_the_queue_free_and_consistent(module: ModuleType, name: str) -> None:
    class Broken(module.LifoQueue):  # type: ignore[misc, name-defined]
        broken = False

    def method(self: Any, *arguments: object) -> object:
        if self.broken:
            raise LookupError(name)
        return getattr(module.LifoQueue, name)(self, *arguments)

    setattr(Broken, name, method)
    queue = Broken(3)
    queue.put(1)
    queue.broken = True
    assert outcome(lambda: queue.put(2)) == (("returns", "None") if name == "_get" else ("LookupError", name))
    assert outcome(queue.get) == (("returns", "1") if name == "_put" else ("LookupError", name))
    assert not queue.mutex.locked()
    queue.broken = False
    left = {"_put": 0, "_get": 2, "_qsize": 1}[name]
    assert (queue.qsize(), queue.unfinished_tasks) == (left, max(left, 1))
    queue.put(9)
    assert queue.get() == 9


@both
def test_items_that_cannot_be_compared_leave_a_heap_usable(module: ModuleType) -> None:
    queue = module.PriorityQueue()
    queue.put((1, "one"))
    with pytest.raises(TypeError, match="not supported between"):
        queue.put("two")
    assert (queue.mutex.locked(), queue.unfinished_tasks) == (False, 1)
    while queue.qsize():
        queue.get()
    queue.put(3)
    assert queue.get() == 3


@both
def test_other_constructors_and_public_overrides_are_honoured(module: ModuleType) -> None:
    class Named(module.Queue):  # type: ignore[misc, name-defined]
        def __init__(self, name: str, *, size: int) -> None:
            super().__init__(maxsize=size)
            self.name, self.calls = name, []

        def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:
            self.calls.append(("put", block))
            super().put(item, block, timeout)

        def get(self, block: bool = True, timeout: float | None = None) -> object:
            self.calls.append(("get", block))
            return super().get(block, timeout)

    queue = Named("jobs", size=1)
    queue.put_nowait(1)
    assert queue.get_nowait() == 1
    assert (queue.name, queue.maxsize, queue.calls) == ("jobs", 1, [("put", False), ("get", False)])


@both
def test_a_hook_set_on_one_queue_is_called(module: ModuleType) -> None:
    queue = module.Queue()
    queue.put(1)
    queue._put = lambda item: queue.queue.appendleft(item)
    queue.put(2)
    del queue._put
    queue.put(3)
    assert [queue.get() for _ in range(3)] == [2, 1, 3]


@both
def test_a_queue_without_storage_says_so(module: ModuleType) -> None:
    class Bare(module.Queue):  # type: ignore[misc, name-defined]
        def _init(self, maxsize: int) -> None:
            pass

    queue = Bare()
    assert outcome(lambda: queue.put(1)) == ("AttributeError", "'Bare' object has no attribute 'queue'")
    assert not queue.mutex.locked()
    queue.queue = collections.deque()
    queue.put(1)
    assert queue.get() == 1


@both
@pytest.mark.parametrize(
    ("kind", "shown"), [("Queue", collections.deque), ("LifoQueue", list), ("PriorityQueue", list)]
)
def test_the_object_with_the_items_is_the_real_one(module: ModuleType, kind: str, shown: type) -> None:
    queue = getattr(module, kind)()
    for item in (1, 2, 3):
        queue.put(item)
    assert type(queue.queue) is (collections.deque if kind == "Queue" else list)
    assert list(queue.queue) == [1, 2, 3]
    assert queue.queue is queue.queue
    with queue.mutex:
        queue.queue.clear()
        queue.unfinished_tasks = 0
        queue.all_tasks_done.notify_all()
    assert queue.empty()
    queue.join()
    queue.queue.append(4)
    assert queue.get() == 4
    queue.queue = type(queue.queue)([7])
    assert [queue.qsize(), queue.get()] == [1, 7]


@both
def test_who_holds_the_mutex_shuts_everybody_out(module: ModuleType) -> None:
    queue = module.Queue()
    with queue.mutex:
        calls = [Background(lambda: queue.put(1)), Background(queue.get), Background(queue.qsize)]
        for call in calls:
            call._thread.join(0.02)
        assert [call.outcome for call in calls] == [None] * 3
        assert queue._qsize() == 0
        assert outcome(queue._get) == ("IndexError", "pop from an empty deque")
        queue._put(0)
        queue.not_empty.notify()
    assert [call.result() for call in calls[:2]] == [("returns", "None"), ("returns", "0")]
    assert calls[2].result()[0] == "returns"
    assert queue.get() == 1


def test_the_conditions_stand_on_the_mutex_and_are_ours() -> None:
    queue: plait.queue.Queue[int] = plait.queue.Queue(1)
    assert type(queue.mutex) is plait.threading.Lock
    for condition in (queue.not_empty, queue.not_full, queue.all_tasks_done):
        assert type(condition) is plait.threading.Condition
        with condition:
            assert queue.mutex.locked()


def test_a_wait_at_a_condition_of_the_queue_is_notified_by_the_queue() -> None:
    queue: plait.queue.Queue[int] = plait.queue.Queue(1)
    seen: list[bool] = []

    def wait() -> None:
        with queue.not_empty:
            seen.append(queue.not_empty.wait(PATIENCE))

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: waiting(queue.not_empty) == 1)
    queue.put(1)
    thread.join(PATIENCE)
    assert seen == [True]
    assert queue.get_nowait() == 1


def test_items_put_before_the_first_look_and_after_come_out_alike() -> None:
    queue: plait.queue.Queue[int] = plait.queue.Queue()
    for item in range(100):
        queue.put(item)
        if item == 50:
            assert len(queue.queue) == 51
    assert [queue.get() for _ in range(100)] == list(range(100))
