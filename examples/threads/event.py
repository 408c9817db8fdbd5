"""An Event is a flag that threads wait for: nobody goes on before `set`, everybody does after it.

Prints:

    went on before set: 0
    went on after set: 5
"""

import threading

event = threading.Event()
all_started = threading.Barrier(6)
lock = threading.Lock()
went_on = 0


def wait_for_event() -> None:
    global went_on
    all_started.wait()
    event.wait()
    with lock:
        went_on += 1


threads = [threading.Thread(target=wait_for_event) for _ in range(5)]
for t in threads:
    t.start()
all_started.wait()

print("went on before set:", went_on)
event.set()
for t in threads:
    t.join()
print("went on after set:", went_on)
