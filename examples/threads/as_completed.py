"""as_completed yields futures in the order in which they finish, not that in which they were submitted.

Usually that order is chance. Here each job waits at a gate, and the gates open one at a time, last first.

Prints:

    job 2
    job 1
    job 0
"""

from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Event

gates = [Event() for _ in range(3)]


def job(number: int) -> str:
    gates[number].wait()
    return f"job {number}"


with ThreadPoolExecutor(max_workers=3) as pool:
    futures = [pool.submit(job, number) for number in range(3)]
    closed = list(gates)
    closed.pop().set()
    for future in as_completed(futures):
        print(future.result())
        if closed:
            closed.pop().set()
