"""A process has its own memory: what the child appends, the parent does not see.

`threads/shared_memory.py` is the same program with threads.

Prints:

    in the child: [1, 2, 3]
    in the parent: [1, 2]
"""

import multiprocessing

numbers = [1, 2]


def append() -> None:
    numbers.append(3)
    print("in the child:", numbers)


if __name__ == "__main__":
    child = multiprocessing.Process(target=append)
    child.start()
    child.join()
    print("in the parent:", numbers)
