"""Eight elements and four processes: each takes the next element when it is ready, and map keeps the order.

One after another eight steps take eight times as long as one; four at a time twice as long, and some for the sending.

Prints:

    [3, 4, 5, 6, 7, 8, 9, 10]
    [3, 4, 5, 6, 7, 8, 9, 10]
    less than half of the time: True
"""

import time
from concurrent.futures import ProcessPoolExecutor

integers = [2, 3, 4, 5, 6, 7, 8, 9]
STEP = 0.25  # seconds; a step sleeps, so that a machine of two cores shows the same as one of four


def plus_one(integer: int) -> int:
    time.sleep(STEP)
    return integer + 1


if __name__ == "__main__":
    begin = time.monotonic()
    print([plus_one(integer) for integer in integers])
    one_after_another = time.monotonic() - begin

    with ProcessPoolExecutor(max_workers=4) as executor:
        list(executor.map(plus_one, [0] * 4))  # starts the processes, which is not what is measured
        begin = time.monotonic()
        print(list(executor.map(plus_one, integers)))
        four_at_a_time = time.monotonic() - begin
    print("less than half of the time:", four_at_a_time < one_after_another / 2)
