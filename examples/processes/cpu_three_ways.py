"""The same computing one after another, in threads, and in processes: the answers are the same, the time is not.

Threads of one interpreter take turns under the GIL; processes compute at the same time. `time` shows it.

Prints:

    one after another: [9592, 8392, 8013, 7863]
    threads: [9592, 8392, 8013, 7863]
    processes: [9592, 8392, 8013, 7863]
"""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

STEP = 100_000


def count_primes(start: int) -> int:
    """How many primes there are from `start` up to STEP further, by a sieve."""
    end = start + STEP
    sieve = bytearray([1]) * STEP
    for divisor in range(2, int(end**0.5) + 1):
        first = max(divisor * divisor, -(-start // divisor) * divisor)
        for multiple in range(first, end, divisor):
            sieve[multiple - start] = 0
    return sum(sieve[2:] if start == 0 else sieve)


if __name__ == "__main__":
    starts = [0, STEP, 2 * STEP, 3 * STEP]
    print("one after another:", [count_primes(start) for start in starts])
    with ThreadPoolExecutor(4) as threads:
        print("threads:", list(threads.map(count_primes, starts)))
    with ProcessPoolExecutor(4) as processes:
        print("processes:", list(processes.map(count_primes, starts)))
