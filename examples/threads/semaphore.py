"""A Semaphore lets a number of threads in at once: twenty threads, three of them inside.

Prints:

    visits: 20
    never more than 3 inside: True
    permits left: 3
"""

import threading
import time

sem = threading.Semaphore(3)
lock = threading.Lock()
inside = visits = 0
most = 0


def visit() -> None:
    global inside, visits, most
    with sem:
        with lock:
            inside += 1
            visits += 1
            most = max(most, inside)
        time.sleep(0.001)
        with lock:
            inside -= 1


threads = [threading.Thread(target=visit) for _ in range(20)]
for t in threads:
    t.start()
for t in threads:
    t.join()

permits = 0
while sem.acquire(blocking=False):
    permits += 1

print("visits:", visits)
print("never more than 3 inside:", most <= 3)
print("permits left:", permits)
