"""Functions and classes that travel by value: pickled and unpickled once, and again when they have changed."""

import subprocess
import sys
import textwrap
from typing import Any

import pytest

from plait._processes import by_value, pickling
from plait.concurrent.futures import ProcessPoolExecutor
from plait.multiprocessing.pool import Pool


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[type]:
    """The classes that were pickled."""
    made: list[type] = []
    keep = by_value._keep

    def noted(kind: type, *rest: object) -> object:
        made.append(kind)
        return keep(kind, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(by_value, "_keep", noted)
    return made


def measure(numbers: list[Any]) -> tuple[list[int], bool, list[Any]]:
    return [number.times() for number in numbers], numbers[0].of() is type(numbers[0]), numbers


def test_a_class_is_pickled_once_until_it_changes(kept: list[type]) -> None:
    class Base:
        factor = 2

    class Number(Base):
        def __init__(self, value: int) -> None:
            self.value = value

        def times(self) -> int:
            return self.value * self.factor

        def of(self) -> type:
            return __class__  # type: ignore[name-defined]

    with ProcessPoolExecutor(1) as pool:

        def there(*values: int) -> list[int]:
            call = pool.submit(measure, [Number(value) for value in values])
            times, is_own, back = call.result(60)
            assert is_own
            assert {type(each) for each in back} == {Number}
            return times

        for value in range(3):
            assert there(value, 1) == [2 * value, 2]
        assert kept == [Number]
        Base.factor = 3
        assert there(1) == [3]
        Number.factor = 4
        assert there(1) == [4]
        assert kept == [Number] * 3
        for _ in range(by_value._MOST + 10):
            pickling.dumps(type("Other", (), {})())
        assert len(by_value._kept) <= by_value._MOST
        assert there(2) == [8]


def test_classes_may_refer_to_each_other_and_to_themselves() -> None:
    class One:
        other: type
        own: type

    class Two:
        other = One

    One.other, One.own = Two, One

    def names(one: One, two: Two) -> tuple[str, ...]:
        same = type(one) is two.other and type(two) is one.other
        return one.own.__name__, one.other.__name__, two.other.__name__, str(same)

    with ProcessPoolExecutor(1) as pool:
        for _ in range(2):
            assert pool.submit(names, One(), Two()).result(60) == ("One", "Two", "One", "True")


def test_classes_of_main_come_back_as_they_are() -> None:
    program = """
        import enum
        from dataclasses import dataclass
        from plait.concurrent.futures import ProcessPoolExecutor
        from plait._processes import by_value

        class Colour(enum.Enum):
            RED = 1

        @dataclass
        class Point:
            x: int
            colour: Colour = Colour.RED
            def moved(self): return Point(self.x + SHIFT, self.colour)

        SHIFT = 1

        def move(point, seen=[]):
            seen.append(type(point))
            assert seen[0] is type(point) and isinstance(point, Point) and point.colour is Colour.RED
            return point.moved()

        with ProcessPoolExecutor(1) as pool:
            for x in range(20):
                got = pool.submit(move, Point(x)).result(60)
                assert type(got) is Point and got == Point(x + 1), got
        print(len(by_value._kept))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("2\n", "")


def test_a_function_by_value_is_pickled_once_for_all_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    pickled = []
    original = pickling.dumps_function

    def noting(fn: object, by_value: bool = True) -> bytes:
        pickled.append(fn)
        return original(fn, by_value)

    monkeypatch.setattr(pickling, "dumps_function", noting)
    offset = 5

    def shifted(number: int) -> int:
        return number + offset

    wanted = [number + 5 for number in range(100)]
    with ProcessPoolExecutor(1) as executor:
        assert list(executor.map(shifted, range(100), chunksize=10)) == wanted
        assert len(pickled) == 1
    pickled.clear()
    with Pool(1) as pool:
        assert pool.map(shifted, range(100), chunksize=10) == wanted
        assert list(pool.imap(shifted, range(100), 10)) == wanted
        assert pool.starmap(lambda a, b: a - b, [(3, 2)] * 100, 10) == [1] * 100
        assert len(pickled) == 3
