"""What runs in workers: in a module of its own, which imports next to nothing, as every worker has to import it."""

from typing import Any

END = None


class Point:
    """A plain class."""

    def __init__(self, x: int, y: int) -> None:
        self.x = x
        self.y = y

    def __repr__(self) -> str:
        return f"Point({self.x}, {self.y})"


class Version:
    """Says itself what makes it, in the program's own code."""

    def __init__(self, *parts: int) -> None:
        self.parts = parts

    def __reduce__(self) -> tuple[Any, tuple[int, ...]]:
        return Version, self.parts

    def __repr__(self) -> str:
        return f"Version{self.parts}"


def noop(*values: object) -> None:
    """Nothing."""


def same(value: Any) -> Any:
    """What it is given."""
    return value


def work(_: int = 0) -> int:
    """Some 100 µs of computing."""
    total = 0
    for number in range(3_000):
        total += number
    return total


def length(array: Any) -> int:
    """What a worker has to have the whole array for."""
    return len(array) + int(array[-1])


def ones(count: int) -> Any:
    """An array that is made here."""
    import numpy

    return numpy.ones(count, dtype="u1")


def plus_one(array: Any) -> Any:
    """An array for an array."""
    return array + 1


def share(pipe: Any) -> None:
    """Tasks without any pool: as many as the pipe says, until it says 0."""
    while count := pipe.recv():
        for number in range(count):
            work(number)
        pipe.send(count)


def consume(queue: Any, pipe: Any) -> None:
    """Take as many as the pipe says, then answer with the last of them; until it says 0."""
    get = queue.get
    while count := pipe.recv():
        for _ in range(count):
            last = get()
        pipe.send(last)


def consume_many(queue: Any, pipe: Any) -> None:
    """As `consume`, from a queue that gives several at a time."""
    while count := pipe.recv():
        taken = 0
        while taken < count:
            items = queue.get_many()
            taken += len(items)
        pipe.send(items[-1])


def produce(queue: Any, pipe: Any) -> None:
    """Put as many as the pipe says, then say so; until it says 0."""
    while count := pipe.recv():
        for number in range(count):
            queue.put(number)
        pipe.send(count)


def echo(there: Any, back: Any) -> None:
    """Put back what comes, until the end comes."""
    while (item := there.get()) is not END:
        back.put(item)
