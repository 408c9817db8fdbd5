"""Two threads that only compute. Under the GIL they take turns, so two threads are no faster than one.

Prints:

    Result: 333333283333335000000
    Result: 333333283333335000000
    Done
"""

import threading


def cpu_bound_task(n: int) -> int:
    total = 0
    for i in range(n):
        total += i * i
    return total


def run_in_thread(n: int) -> None:
    # One write for the line and its end: print would make two, and the other thread could get in between.
    print(f"Result: {cpu_bound_task(n)}\n", end="")


t1 = threading.Thread(target=run_in_thread, args=(10_000_000,))
t2 = threading.Thread(target=run_in_thread, args=(10_000_000,))

t1.start()
t2.start()
t1.join()
t2.join()
print("Done")
