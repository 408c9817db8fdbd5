"""plait's processes as a backend of joblib."""

import multiprocessing
import os
import threading
import time

import pytest

import plait
from needed import missing

try:
    import joblib
    from joblib import Parallel, delayed
except ImportError:
    missing("joblib is not installed (pip install --group programs)")
    joblib = None

pytestmark = [pytest.mark.skipif(joblib is None, reason="joblib is not installed"), pytest.mark.timeout(200)]


@pytest.fixture(autouse=True)
def _backend():
    plait.register_joblib()
    with joblib.parallel_config(backend="plait", n_jobs=2):
        yield


def square(number: int) -> int:
    return number * number


def where(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def third_fails(number: int) -> int:
    if number == 3:
        raise ValueError("the third")
    time.sleep(0.01)
    return number


def sum_of_squares(count: int) -> int:
    return sum(Parallel(n_jobs=2)(delayed(square)(number) for number in range(count)))


def threads_of_blas() -> str:
    return os.environ["OMP_NUM_THREADS"]


def test_calls_are_made_in_two_other_processes() -> None:
    pids = set(Parallel()(delayed(where)(0.05) for _ in range(8)))
    assert os.getpid() not in pids
    assert len(pids) == 2
    # The pool outlives the call.
    assert set(Parallel()(delayed(where)(0.05) for _ in range(8))) == pids


def test_results_come_in_order_whatever_the_batches() -> None:
    assert Parallel()(delayed(square)(number) for number in range(2000)) == [number**2 for number in range(2000)]
    assert Parallel(batch_size=7)(delayed(square)(number) for number in range(50)) == [n**2 for n in range(50)]
    assert list(Parallel(return_as="generator")(delayed(square)(n) for n in range(5))) == [0, 1, 4, 9, 16]
    unordered = Parallel(return_as="generator_unordered")(delayed(square)(n) for n in range(5))
    assert sorted(unordered) == [0, 1, 4, 9, 16]


def test_one_job_needs_no_process() -> None:
    assert Parallel(n_jobs=1)(delayed(where)(0) for _ in range(3)) == [os.getpid()] * 3
    with pytest.raises(ValueError, match="n_jobs == 0"):
        Parallel(n_jobs=0)(delayed(square)(1) for _ in range(3))


def test_an_error_ends_the_call_and_the_next_one_works() -> None:
    with pytest.raises(ValueError, match="the third"):
        Parallel()(delayed(third_fails)(number) for number in range(200))
    assert Parallel()(delayed(square)(number) for number in range(3)) == [0, 1, 4]


def test_a_timeout_ends_the_call() -> None:
    with pytest.raises(multiprocessing.TimeoutError):
        Parallel(timeout=0.2)(delayed(time.sleep)(2) for _ in range(2))


def test_calls_may_be_nested() -> None:
    assert Parallel()(delayed(sum_of_squares)(count) for count in range(6)) == [0, 0, 1, 5, 14, 30]


def test_workers_leave_the_cores_to_each_other() -> None:
    limits = set(Parallel(n_jobs=2)(delayed(threads_of_blas)() for _ in range(4)))
    assert limits == {os.environ.get("OMP_NUM_THREADS", str(max(joblib.cpu_count() // 2, 1)))}
    with joblib.parallel_config(backend="plait", inner_max_num_threads=3):
        assert set(Parallel(n_jobs=2)(delayed(threads_of_blas)() for _ in range(4))) == {"3"}


def test_several_threads_may_call_with_pools_of_their_own() -> None:
    def call(jobs: int) -> None:
        results[jobs] = Parallel(n_jobs=jobs, backend="plait")(delayed(square)(number) for number in range(100))

    results: dict[int, list[int]] = {}
    threads = [threading.Thread(target=call, args=(jobs,)) for jobs in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[2] == results[3] == [number**2 for number in range(100)]


def test_it_can_be_the_default() -> None:
    before = joblib.parallel.DEFAULT_BACKEND
    try:
        plait.register_joblib(make_default=True)
        with joblib.parallel_config():
            pass
        assert joblib.parallel.DEFAULT_BACKEND == "plait"
    finally:
        joblib.parallel.DEFAULT_BACKEND = before
