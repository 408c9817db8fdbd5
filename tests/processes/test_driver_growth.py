"""A pool has as many workers as its calls need: a long call does not keep the next one waiting."""

import time

import fault_tasks as tasks
import pytest

from plait.concurrent.futures import ProcessPoolExecutor


@pytest.mark.parametrize("waits", [True, False], ids=["a caller that waits", "nobody waits"])
@pytest.mark.parametrize("quick", [0, 1, 100])
def test_what_comes_behind_a_long_call_goes_to_another_worker(quick: int, waits: bool) -> None:
    with ProcessPoolExecutor(2) as pool:
        for number in range(quick):
            assert pool.submit(pow, number, 2).result(60) == number**2
        long = pool.submit(tasks.nap, 4)
        begin = time.monotonic()
        futures = [pool.submit(pow, number, 3) for number in range(3)]
        if not waits:
            while not all(future.done() for future in futures) and time.monotonic() < begin + 10:
                time.sleep(0.01)
        assert [future.result(60) for future in futures] == [0, 1, 8]
        assert not long.done(), f"they took {time.monotonic() - begin} s"
        long.cancel()


def test_a_worker_that_is_up_before_it_is_expected_is_heard() -> None:
    # One in thirty was, and its calls waited for the long one.
    for _ in range(50):
        with ProcessPoolExecutor(2) as pool:
            long = pool.submit(tasks.nap, 30)
            quick = pool.submit(pow, 2, 3)
            begin = time.monotonic()
            while not quick.done() and time.monotonic() < begin + 20:
                time.sleep(0.002)
            assert quick.done()
            long.cancel()
