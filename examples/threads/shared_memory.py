"""Threads of one process share its memory: what one thread appends, all see.

`processes/not_shared_memory.py` is the same program with processes.

Prints:

    in the thread: [1, 2, 3]
    in the main thread: [1, 2, 3]
"""

import threading

numbers = [1, 2]


def append() -> None:
    numbers.append(3)
    print("in the thread:", numbers)


t = threading.Thread(target=append)
t.start()
t.join()
print("in the main thread:", numbers)
