"""A queue in place of a lock: who takes the number out is the only one to have it, until it is put back.

Prints:

    100
"""

from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from time import sleep

q: Queue[int] = Queue()


def plus_one() -> None:
    local = q.get(block=True)  # an empty queue is no error: wait for an item
    sleep(0)
    local += 1
    q.put(local)


q.put(0)
with ThreadPoolExecutor() as executor:
    for _ in range(100):
        executor.submit(plus_one)

print(q.get())
