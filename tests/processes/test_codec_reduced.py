"""Objects that say what makes them, by code of the standard library, travel without pickle, and arrive as by it."""

import collections
import copyreg
import enum
import ipaddress
import pickle
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from plait._processes.kinds import look
from plait.concurrent.futures import ProcessPoolExecutor


class Colour(enum.Enum):
    RED = 1
    GREEN = "green"


class Mode(enum.Flag):
    READ = 1
    WRITE = 2


class Nested:
    class Inner:
        pass


class Pair(NamedTuple):
    first: Any
    second: Any = None


@dataclass
class Slots:
    __slots__ = ("a", "b")
    a: Any
    b: Any


@dataclass(frozen=True, slots=True)
class Frozen:
    a: Any
    b: Any = 2


class Both(Slots):
    """Slots, and a dict."""


class Day(date):
    def __init__(self, *_: int) -> None:
        self.note = "of a day"


class Restored:
    def __setstate__(self, state: Any) -> None:
        self.state = state


class New:
    def __new__(cls) -> Any:
        self = object.__new__(cls)
        self.made = True  # type: ignore[attr-defined]
        return self


class Recent(collections.deque[Any]):
    """Has a dict, as each class of a program."""


class Stack(list[Any]):
    pass


class Table(dict[Any, Any]):
    """What it is filled with it has from its own method."""

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__((0, key), value)


def stacked() -> Stack:
    made = Stack([1, 2])
    made.name = {"of": made[0]}  # type: ignore[attr-defined]
    return made


def itself() -> Any:
    made: Any = collections.deque([1], 3)
    made.append(made)
    return made


def both() -> Both:
    made = Both(1, 2)
    made.c = 3  # type: ignore[attr-defined]
    return made


def restored() -> Restored:
    made = Restored()
    made.a = 1  # type: ignore[attr-defined]
    return made


NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
UNPICKLED = [
    *(date(2026, 11, 22), NOW, datetime(1, 1, 1), time(3, 4, fold=1), timedelta(1, 2, 3)),
    *(timezone(timedelta(hours=1), "x"), [NOW, datetime.max], Decimal("9.950"), Decimal("-Infinity"), Fraction(-3, 4)),
    *({1, "two", 3.0}, frozenset(), frozenset({(1, 2)}), [{1}, {2}, {1}], bytearray(b"bytes"), range(1, 9, 2)),
    *(PurePosixPath("/a/b"), Colour.RED, [Colour.GREEN] * 3, {Colour.RED: {Colour.GREEN}}, Day(2026, 11, 22), New()),
    *(Pair(1, Pair({2})), Slots(1, [2]), Frozen({"a": Slots(None, ())}), both(), restored(), slice(1, None)),
    *({date(2026, 1, 1): Decimal(1), (1, frozenset({2})): Pair(3)}, {Pair(1): {Frozen(1): 2}}),
    *(ipaddress.ip_address("127.0.0.1"), SimpleNamespace(a={1}, b=None), ValueError("no", 1), KeyError({"a"})),
    *(collections.deque([1, {2}]), collections.deque("abc", 2), Recent([3, []], 4), Stack([1, Stack()]), stacked()),
    *(collections.OrderedDict(b=1, a={2}), Table({1: Table(), "a": [2]})),
    *(collections.Counter("abca"), UUID(int=(1 << 128) - 1), 1 << 63, -(1 << 63) - 1, (1 << 2031) - 1, -(1 << 70)),
    *(Slots, int, [date, Colour, {"kind": Pair}], collections.defaultdict(list, a=[1]), collections.defaultdict(None)),
    [collections.defaultdict(Slots, {1: collections.defaultdict(int)})],
]
# These say what cannot be told here, or have reducers.
PICKLED = [
    *(1 + 2j, Nested.Inner, {frozenset(range(100))}, Mode.READ | Mode.WRITE, type(None), [int] * 100),
    *(1 << 2040, len),
    *(collections.deque(range(100)), collections.OrderedDict.fromkeys(range(100)), itself()),
]


def told(value: Any) -> Any:
    """What it is, with the types of what is in it, as far as pickle shows them."""
    return type(value), pickle.dumps(value) if not isinstance(value, (set, frozenset)) else sorted(map(repr, value))


def same(value: Any) -> Any:
    return value


@pytest.mark.parametrize("value", [*UNPICKLED, *PICKLED], ids=lambda value: repr(value)[:40])
def test_they_arrive_as_by_pickle(pool: ProcessPoolExecutor, queue: Any, value: Any):
    wanted = pickle.loads(pickle.dumps(value, 5))
    queue.put(value)
    assert told(queue.get()) == told(wanted)
    # There and back.
    wanted = pickle.loads(pickle.dumps(wanted, 5))
    assert told(pool.submit(same, value).result()) == told(wanted)
    assert told(pool.submit(same, value=[value]).result()[0]) == told(wanted)


FOUND = """
import sys
from plait.multiprocessing import Queue
from test_codec_reduced import *

found = []
sys.addaudithook(lambda event, args: found.append(args) if event == "pickle.find_class" else None)
queue = Queue()
for values, pickled in ((UNPICKLED, False), (PICKLED[:2], True)):
    for value in values:
        found.clear()
        queue.put(value)
        queue.get()
        assert bool(found) is pickled, (value, found)
print("seen")
"""


def test_pickle_has_no_part_in_it(request: pytest.FixtureRequest):
    ran = subprocess.run(
        [sys.executable, "-c", FOUND], cwd=request.path.parent, capture_output=True, text=True, timeout=60
    )
    assert (ran.stdout, ran.stderr) == ("seen\n", "")


def test_what_is_one_object_stays_one_where_that_can_be_seen(pool: ProcessPoolExecutor):
    one = {1}
    first, second, third = pool.submit(same, (one, one, {1})).result()
    assert first is second
    assert first is not third
    for empty in ([], {}, set(), Stack(), Slots((), ())):
        first, second = pool.submit(same, [empty, empty]).result()
        assert first is second
    pair = Slots(1, None)
    pair.b = pair
    back = pool.submit(same, pair).result()
    assert back.b is back
    assert pool.submit(same, Colour.RED).result() is Colour.RED
    # As with numbers, nobody looks whether two moments are one.
    assert pool.submit(same, [NOW, NOW, NOW + timedelta(1)]).result() == [NOW, NOW, NOW + timedelta(1)]


class Looked:
    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def __reduce__(self) -> Any:
        return Pair, (1,)


class Shown(list[Any]):
    times = 0

    def __iter__(self) -> Any:
        Shown.times += 1
        return super().__iter__()


def test_how_a_container_is_shown_is_for_pickle_only(queue: Any):
    assert look(Shown) == (__name__, "Shown", "other")
    assert look(Looked) == (__name__, "Looked", "other")
    queue.put([Shown([1, 2]), Shown(range(100))])
    assert Shown.times == 2
    assert queue.get() == [[1, 2], [*range(100)]]


def test_a_reducer_of_the_program_is_asked(queue: Any):
    copyreg.pickle(Colour, lambda colour: (str, ("reduced",)))
    try:
        queue.put([Colour.RED])
        assert queue.get() == ["reduced"]
    finally:
        del copyreg.dispatch_table[Colour]
    queue.put([Colour.RED])
    assert queue.get() == [Colour.RED]


def test_what_the_class_raises_is_raised(queue: Any, monkeypatch: pytest.MonkeyPatch):
    queue.put(Pair(1))
    monkeypatch.setattr(sys.modules[__name__], "Pair", New)
    with pytest.raises(TypeError, match="positional argument"):
        queue.get()


def test_a_class_that_is_gone(queue: Any, monkeypatch: pytest.MonkeyPatch):
    queue.put(Pair(1))
    monkeypatch.delattr(sys.modules[__name__], "Pair")
    with pytest.raises(AttributeError, match="Pair"):
        queue.get()


INTERRUPTED = """
import signal, sys
from fractions import Fraction
from plait.multiprocessing import Queue

queue = Queue()
queue.put(Fraction(1, 2))
def trace(frame, event, arg):
    if frame.f_code.co_name == "__reduce__":
        sys.settrace(None)
        signal.raise_signal(signal.SIGINT)
sys.settrace(trace)
try:
    queue.put(Fraction(1, 3))
    for _ in range(10): pass
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interruption_while_it_says_so_is_not_lost():
    ran = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("interrupted\n", "", 0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
