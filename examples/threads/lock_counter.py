"""A thousand threads add one to a shared counter; a Lock keeps each reading and writing together.

Prints:

    shared_counter = 1000
"""

import threading

lock = threading.Lock()
shared_counter = 0


def increment_counter() -> None:
    global shared_counter
    with lock:
        temp = shared_counter
        temp += 1
        shared_counter = temp


threads = [threading.Thread(target=increment_counter) for _ in range(1000)]
for t in threads:
    t.start()
for t in threads:
    t.join()

print("shared_counter =", shared_counter)
