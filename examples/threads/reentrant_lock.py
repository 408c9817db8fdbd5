"""An RLock can be taken again by the thread that has it; a plain Lock would wait for itself for ever.

Prints:

    3! = 6
    free again: True
"""

import threading

lock = threading.RLock()


def factorial(n: int) -> int:
    with lock:
        return n * factorial(n - 1) if n else 1


print("3! =", factorial(3))

answers: list[bool] = []
t = threading.Thread(target=lambda: answers.append(lock.acquire(blocking=False)))
t.start()
t.join()
print("free again:", answers[0])
