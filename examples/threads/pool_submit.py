"""The life of a pool: submit returns at once, done asks, result waits, shutdown ends it.

Prints:

    hello
    False
    1
    func1 ran 10 times
    RuntimeError: cannot schedule new futures after shutdown
"""

from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock

said_hello = Event()
lock = Lock()
calls = 0


def func1() -> int:
    global calls
    said_hello.wait()  # stands for two seconds of work, so that the lines below come in this order
    with lock:
        calls += 1
    return 1


pool = ThreadPoolExecutor(max_workers=3)
for _ in range(10):
    future = pool.submit(func1)

print("hello")  # at once, while the pool has work
print(future.done())  # asks, and does not wait
said_hello.set()
print(future.result())  # waits
pool.shutdown()  # waits for all jobs
print(f"func1 ran {calls} times")

try:
    pool.submit(func1)
except RuntimeError as error:
    print(f"RuntimeError: {error}")
