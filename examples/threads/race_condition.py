"""A race condition: two threads read the counter before either writes it, and one addition is lost.

The Barrier makes that order certain; without it the loss would come once in a while, which is worse.

Prints:

    added by 2 threads, counter = 1
"""

import threading

counter = 0
both_have_read = threading.Barrier(2)


def increment() -> None:
    global counter
    temp = counter
    both_have_read.wait()
    counter = temp + 1


threads = [threading.Thread(target=increment) for _ in range(2)]
for t in threads:
    t.start()
for t in threads:
    t.join()

print(f"added by {len(threads)} threads, counter = {counter}")
