"""The same work in one process and on four: worth it only where a call costs more than sending it.

Prints:

    [3, 4, 5, 6]
    [3, 4, 5, 6]
"""

from concurrent.futures import ProcessPoolExecutor

integers = [2, 3, 4, 5]


def plus_one(integer: int) -> int:
    return integer + 1


if __name__ == "__main__":
    print(list(map(plus_one, integers)))
    with ProcessPoolExecutor(max_workers=4) as executor:
        print(list(executor.map(plus_one, integers)))
