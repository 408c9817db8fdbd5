"""The same mathematics one after another and in a process for each part, joined at the end.

The parts compute at the same time, each in an interpreter with a GIL of its own; only the sums come back.

Prints:

    one after another: 59628479.4608
    four processes:    59628479.4608
    exit codes: [0, 0, 0, 0]
"""

from multiprocessing import Process, Queue

PARTS = 4
COUNT = 200_000


def part(number: int) -> float:
    """A share of a sum of square roots."""
    return sum((value + 0.5) ** 0.5 for value in range(number, COUNT, PARTS))


def put_part(number: int, sums: "Queue[tuple[int, float]]") -> None:
    sums.put((number, part(number)))


if __name__ == "__main__":
    total = sum(part(number) for number in range(PARTS))
    print(f"one after another: {total:.4f}")

    sums: "Queue[tuple[int, float]]" = Queue()
    children = [Process(target=put_part, args=(number, sums)) for number in range(PARTS)]
    for child in children:
        child.start()
    came = dict(sums.get() for _ in children)
    for child in children:
        child.join()
    print(f"four processes:    {sum(came[number] for number in range(PARTS)):.4f}")
    print("exit codes:", [child.exitcode for child in children])
