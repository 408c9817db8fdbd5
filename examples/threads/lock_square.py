"""A shared variable squared by five jobs; acquire and release keep each reading and writing together.

`sleep(0)` hands the processor to another thread in the worst place. Without the lock a square could be lost.

Prints:

    4294967296
"""

from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from time import sleep

integer = 2
lock = Lock()


def square() -> None:
    global integer
    lock.acquire()
    local = integer
    sleep(0)
    local = local**2
    integer = local
    lock.release()


with ThreadPoolExecutor() as executor:
    for _ in range(5):
        executor.submit(square)

print(integer)
