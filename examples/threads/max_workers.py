"""max_workers is the number of threads: never more jobs at once, however many are submitted.

The jobs meet in threes at a Barrier, so that three of them do run at once.

Prints:

    jobs: 12
    threads: 3
    most at once: 3
"""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock, get_ident

lock = Lock()
three = Barrier(3)
running = most = 0


def job(number: int) -> int:
    global running, most
    with lock:
        running += 1
        most = max(most, running)
    three.wait()
    with lock:
        running -= 1
    return get_ident()


with ThreadPoolExecutor(max_workers=3) as executor:
    idents = list(executor.map(job, range(12)))

print("jobs:", len(idents))
print("threads:", len(set(idents)))
print("most at once:", most)
