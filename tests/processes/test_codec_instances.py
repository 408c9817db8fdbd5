"""Objects of a program's own classes: where pickle would add nothing they travel without it, and arrive as by it."""

import copyreg
import pickle
import subprocess
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import pytest

from plait._processes.kinds import look
from plait.concurrent.futures import ProcessPoolExecutor

T = TypeVar("T")


class Empty:
    pass


@dataclass
class Point:
    x: float
    y: float = 2.0


@dataclass(frozen=True)
class Line:
    begin: Point
    end: Point
    tags: dict[str, list[int]] = field(default_factory=dict)


class Shape(ABC):
    @abstractmethod
    def area(self) -> float: ...


class Square(Shape):
    def __init__(self, side: float) -> None:
        self.side = side

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value * 2)

    def area(self) -> float:
        return self.side**2


class Box(Generic[T]):
    def __init__(self, content: T) -> None:
        self.content = content

    @property
    def contents(self) -> T:
        return self.content


class Counted:
    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.number = self.made


PLAIN = [
    Empty(),
    Point(1.0),
    Line(Point(1, 2), Point(3, 4), {"a": [1, 2]}),
    Square(3),
    Box(Box((Point(1), None))),
]


class Reduced:
    def __reduce__(self) -> Any:
        return Point, (5, 6)


class Stated:
    def __init__(self) -> None:
        self.a = 1

    def __getstate__(self) -> Any:
        return {"a": 2}


class Setting:
    def __init__(self) -> None:
        self.a = 1

    def __setstate__(self, state: Any) -> None:
        self.a = state["a"] + 10


class Made:
    def __new__(cls) -> Any:
        self = object.__new__(cls)
        self.made = True
        return self


class Slotted:
    __slots__ = ("__dict__", "a")

    def __init__(self) -> None:
        self.a, self.b = 1, 2


class Derived(list):  # type: ignore[type-arg]
    def __init__(self) -> None:
        super().__init__([1])
        self.a = 1


class Hidden:
    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        return {"a": 5}


class Meta(type):
    pass


class OfMeta(metaclass=Meta):
    pass


class Outer:
    class Inner:
        pass


def with_a_reducer_of_its_own() -> Any:
    value = Point(1)
    value.__reduce_ex__ = Fixed()  # type: ignore[method-assign]
    return value


class Fixed:
    def __call__(self, protocol: int) -> Any:
        return str, ("its own",)


OTHER = [
    *(kind() for kind in (Reduced, Stated, Setting, Made, Slotted, Derived, Hidden, OfMeta, Outer.Inner)),
    ValueError("no", 1),
    with_a_reducer_of_its_own(),
]


def same(value: Any) -> Any:
    return value


def told(value: Any) -> Any:
    """What it is made of, with the types."""
    inside = vars(value) if hasattr(value, "__dict__") else {}
    parts = {name: told(part) for name, part in inside.items()}
    return type(value), repr(value) if type(value).__repr__ is not object.__repr__ else "", parts


@pytest.mark.parametrize("value", [*PLAIN, *OTHER], ids=lambda value: type(value).__name__)
def test_they_arrive_as_by_pickle(pool: ProcessPoolExecutor, queue: Any, value: Any):
    wanted = told(pickle.loads(pickle.dumps(value)))
    queue.put([value])
    assert told(queue.get()[0]) == wanted
    # There and back: twice.
    twice = told(pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(value)))))
    assert told(pool.submit(same, value).result()) == twice
    assert told(pool.submit(same, value=value).result()) == twice


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: type(value).__name__)
def test_these_are_plain(value: Any):
    assert look(type(value)) == (__name__, type(value).__name__, "plain")


@pytest.mark.parametrize("value", OTHER[:-1], ids=lambda value: type(value).__name__)
def test_these_are_not(value: Any):
    kind = look(type(value))
    assert kind is None or kind[2] != "plain"


def test_names_of_attributes_are_interned(queue: Any):
    queue.put(Point(1))
    assert all(name is sys.intern(name) for name in vars(queue.get()))


UNPICKLED = """
import sys
from plait.multiprocessing import Queue
from test_codec_instances import *

found = []
sys.addaudithook(lambda event, args: found.append(args[1]) if event == "pickle.find_class" else None)
queue = Queue()
for value in [*PLAIN, Reduced(), Point, [Point] * 100]:
    queue.put(value)
    queue.get()
print(found)
"""


def test_pickle_has_no_part_in_it(request: pytest.FixtureRequest):
    ran = subprocess.run(
        [sys.executable, "-c", UNPICKLED], cwd=request.path.parent, capture_output=True, text=True, timeout=60
    )
    assert (ran.stdout, ran.stderr) == ("['Point']\n", "")


def test_what_is_one_object_stays_one(pool: ProcessPoolExecutor):
    point = Point(1)
    first, second = pool.submit(same, (point, point)).result()
    assert first is second
    box: Box[Any] = Box(None)
    box.content = box
    back = pool.submit(same, box).result()
    assert back.content is back


def test_a_reducer_of_the_program_is_asked_and_a_change_of_the_class_seen(queue: Any):
    def sent(value: Any) -> Any:
        queue.put(value)
        return queue.get()

    assert sent(Point(1)) == Point(1)
    copyreg.pickle(Point, lambda point: (str, ("reduced",)))
    try:
        assert sent(Point(1)) == "reduced"
    finally:
        del copyreg.dispatch_table[Point]
    assert sent(Line(Point(1), Point(2))) == Line(Point(1), Point(2))
    Point.__getstate__ = lambda self: {"x": 5}  # type: ignore[method-assign]
    try:
        assert vars(sent(Point(1))) == {"x": 5}
    finally:
        del Point.__getstate__
    assert sent(Point(1)) == Point(1)


def test_a_class_that_changes_all_the_time(queue: Any):
    for number in range(1, 41):
        queue.put(Counted())
        assert queue.get().number == number


def test_a_class_that_is_another_than_before(queue: Any, monkeypatch: pytest.MonkeyPatch):
    class Point:  # the one of this name now
        def __setstate__(self, state: Any) -> None:
            self.state = state

    Point.__qualname__ = "Point"
    old = globals()["Point"](1.5)
    queue.put(old)
    monkeypatch.setitem(globals(), "Point", Point)
    new = queue.get()
    assert type(new) is Point
    assert new.state == {"x": 1.5, "y": 2.0}
    with pytest.raises(pickle.PicklingError, match="not the same object"):
        queue.put(old)


def test_a_class_that_is_gone(queue: Any, monkeypatch: pytest.MonkeyPatch):
    data = pickle.dumps(Point(1))
    queue.put(Point(1))
    monkeypatch.delitem(globals(), "Point")
    with pytest.raises(AttributeError) as ours:
        queue.get()
    with pytest.raises(AttributeError) as theirs:
        pickle.loads(data)
    assert str(ours.value) == str(theirs.value)


def test_a_result_whose_class_is_gone_says_so_as_in_the_standard_library(
    pool: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch
):
    from concurrent.futures.process import BrokenProcessPool

    future = pool.submit(same, Empty())
    monkeypatch.delitem(globals(), "Empty")
    with pytest.raises(BrokenProcessPool, match="failed to un-serialize.*Empty"):
        future.result()
    monkeypatch.undo()
    assert type(pool.submit(same, Empty()).result()) is Empty
