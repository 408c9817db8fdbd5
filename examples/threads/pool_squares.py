"""A pool of threads squares a list: with submit and shutdown, and with map inside `with`.

submit gives one Future a call; map calls the function on each item and keeps the order.

Prints:

    [1, 36, 9, 64, 25, 4, 36, 81, 2916, 4, 36, 81, 25, 1296, 4]
    [1, 36, 9, 64, 25, 4, 36, 81, 2916, 4, 36, 81, 25, 1296, 4]
"""

import time
from concurrent.futures import ThreadPoolExecutor

integers = [1, 6, 3, 8, 5, 2, 6, 9, 54, 2, 6, 9, 5, 36, 2]


def square(integer: int) -> int:
    time.sleep(0.01)  # stands for waiting on the network: the others go on meanwhile
    return integer**2


executor = ThreadPoolExecutor()  # as many threads as is usual on this machine
futures = [executor.submit(square, integer) for integer in integers]
executor.shutdown()  # waits for all of them
print([future.result() for future in futures])

with ThreadPoolExecutor() as executor:
    print(list(executor.map(square, integers)))
