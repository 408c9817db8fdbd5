"""Objects that say what makes them, by code of the program, are asked once, and arrive as by pickle."""

import pickle
from queue import Full
from typing import Any, NamedTuple

import pytest

from plait._processes.kinds import look
from plait.concurrent.futures import ProcessPoolExecutor
from plait.multiprocessing import Queue


class Pair(NamedTuple):
    first: Any
    second: Any = None


class Asked:
    times = 0

    def __reduce__(self) -> Any:
        Asked.times += 1
        return Pair, (1, 2)


class Kept:
    """As `Asked`, of what cannot be told without pickle."""

    times = 0

    def __reduce__(self) -> Any:
        Kept.times += 1
        return Pair, (len, 2)


class Poured:
    """What it gives can be taken once only."""

    def __reduce__(self) -> Any:
        return list, (), None, iter([1, 2])


class Named:
    def __reduce__(self) -> Any:
        return "NAMED"


class Wrong:
    def __reduce__(self) -> Any:
        return ()


class Made:
    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __reduce__(self) -> Any:
        return Made, self.parts


class Upset:
    times = 0

    def __reduce__(self) -> Any:
        Upset.times += 1
        raise ValueError("upset")


NAMED = Named()


class Told:
    times = 0

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __getstate__(self) -> Any:
        Told.times += 1
        return {"a": 5}


def told(value: Any) -> Any:
    """What it is, and what pickle sees in it."""
    return type(value), pickle.dumps(value)


def same(value: Any) -> Any:
    return value


def counted(function: Any, *args: Any) -> tuple[int, Any]:
    """How often classes of the program were asked meanwhile, and the result."""
    kinds = (Asked, Told, Kept, Upset)
    before = sum(kind.times for kind in kinds)
    result = function(*args)
    return sum(kind.times for kind in kinds) - before, result


def test_code_of_the_program_is_run_once(pool: ProcessPoolExecutor, queue: Any):
    for kind in (Asked, Told, Kept):
        assert look(kind) == (__name__, kind.__name__, "told")
    values = [Asked(), Told(), Kept(), {"more": Asked()}, lock := [Kept()], lock]
    for _ in range(3):
        asked, _ = counted(queue.put, values)
        assert asked == 5
        pair, told, kept, more, first, second = queue.get()
        assert (pair, told.state, kept, more) == (Pair(1, 2), {"a": 5}, Pair(len, 2), {"more": Pair(1, 2)})
        assert first is second
        asked, future = counted(pool.submit, same, *values[:4])
        assert asked == 4
        assert isinstance(future.exception(), TypeError)  # `same` takes one
        asked, future = counted(pool.submit, same, values)
        assert asked == 5
        assert future.result()[2] == kept


def asked_for_it() -> Any:
    """The result of a call is pickled after it: what counts is seen by the next."""
    return [Asked(), Kept()]


def times() -> tuple[int, int]:
    return Asked.times, Kept.times


def test_nor_is_it_run_twice_for_a_result(pool: ProcessPoolExecutor):
    before = pool.submit(times).result()
    assert pool.submit(asked_for_it).result() == [Pair(1, 2), Pair(len, 2)]
    assert pool.submit(times).result() == (before[0] + 1, before[1] + 1)


def test_a_full_queue_does_not_ask_again():
    queue = Queue(1)
    queue.put(1)
    asked, _ = counted(pytest.raises, Full, queue.put, Asked(), False)
    assert asked == 1
    asked, _ = counted(pytest.raises, Full, queue.put, Kept(), True, 0.05)
    assert asked == 1


@pytest.mark.parametrize("value", [Poured(), NAMED, Made(1, [2]), Made(Made()), [Made(1), Poured()]])
def test_what_a_program_says_comes_as_by_pickle(pool: ProcessPoolExecutor, queue: Any, value: Any):
    for _ in range(2):
        wanted = pickle.loads(pickle.dumps(value, 5))
        queue.put(value)
        assert told(queue.get()) == told(wanted)
        assert told(pool.submit(same, value).result()) == told(wanted)


def test_what_it_raises_is_raised(pool: ProcessPoolExecutor, queue: Any):
    with pytest.raises(ValueError, match="upset"):
        queue.put([Made(1), Upset()])
    with pytest.raises(ValueError, match="upset"):
        pool.submit(same, Upset()).result()
    asked, _ = counted(pytest.raises, ValueError, queue.put, Upset())
    assert asked == 1
    asked, future = counted(pool.submit, same, [Made(1), Upset()])
    assert asked == 1
    with pytest.raises(ValueError, match="upset"):
        pool.submit(Upset).result()
    with pytest.raises(pickle.PicklingError, match="tuple"):
        queue.put([Made(1), Wrong()])


def test_one_that_submits_while_it_is_asked(pool: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch):
    def ask(self: Made) -> Any:
        return Made, (pool.submit(same, 5).result(),)

    monkeypatch.setattr(Made, "__reduce__", ask)
    assert pool.submit(same, (1, Made())).result()[1].parts == (5,)
