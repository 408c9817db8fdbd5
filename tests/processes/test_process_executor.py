"""`plait.concurrent.futures.ProcessPoolExecutor`: as the standard library's, and what a death costs."""

import asyncio
import concurrent.futures
import gc
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import weakref
from concurrent.futures.process import BrokenProcessPool

import pytest

from plait.concurrent.futures import ProcessPoolExecutor, as_completed, wait
from plait.concurrent.futures._errors import WorkerDied

METHODS = [None, "fork", "forkserver", "spawn", "zygote"]


def context(method):
    import plait.multiprocessing

    return None if method is None else plait.multiprocessing.get_context(method)


def square(number):
    return number * number


def fail(*args):
    raise ValueError(*args)


def end(code=1):
    os._exit(code)


def nap(seconds, value=None):
    time.sleep(seconds)
    return value


_told = []


def tell(*args):
    _told.extend(args)


def told():
    return list(_told)


def inner(number):
    with ProcessPoolExecutor(2) as pool:
        return sum(pool.map(square, range(number)))


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(2) as pool:
        yield pool


@pytest.mark.parametrize("method", METHODS)
def test_each_start_method(method):
    with ProcessPoolExecutor(2, context(method), initializer=tell, initargs=("a", 1)) as pool:
        assert pool.submit(square, 7).result() == 49
        assert pool.submit(told).result() == ["a", 1]
        assert list(pool.map(square, range(20))) == [square(number) for number in range(20)]
        with pytest.raises(ValueError, match="text"):
            pool.submit(fail, "text").result()
        with pytest.raises(WorkerDied):
            pool.submit(end).result()
        assert pool.submit(square, 8).result() == 64


@pytest.mark.parametrize("method", [None, "fork", "forkserver", "spawn"])
def test_a_lock_of_the_standard_library_may_be_given_to_the_initializer(method):
    """It can only be inherited: where no start method is named, plait's zygote gives way."""
    lock = multiprocessing.get_context(method).Lock()
    with ProcessPoolExecutor(1, context(method), initializer=tell, initargs=(lock,)) as pool:
        assert pool.submit(len, [1, 2]).result() == 2


def test_it_is_what_is_exported():
    import plait
    import plait.concurrent.futures as face

    assert face.ProcessPoolExecutor is ProcessPoolExecutor
    assert issubclass(ProcessPoolExecutor, concurrent.futures.ProcessPoolExecutor)
    assert isinstance(face.process, type(sys))
    assert plait.install


def test_one_made_before_installing_is_one_after():
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        assert isinstance(pool, ProcessPoolExecutor)
        assert not issubclass(concurrent.futures.ProcessPoolExecutor, ProcessPoolExecutor)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"max_workers": 0}, ValueError("max_workers must be greater than 0")),
        ({"max_workers": -2}, ValueError("max_workers must be greater than 0")),
        ({"initializer": 1}, TypeError("initializer must be a callable")),
        ({"max_tasks_per_child": 0}, ValueError("max_tasks_per_child must be >= 1")),
        ({"max_tasks_per_child": "1"}, TypeError("max_tasks_per_child must be an integer")),
        ({"max_tasks_per_child": 1, "mp_context": multiprocessing.get_context("fork")}, None),
    ],
    ids=str,
)
def test_bad_arguments_are_refused_as_there(arguments, error):
    texts = []
    for kind in (concurrent.futures.ProcessPoolExecutor, ProcessPoolExecutor):
        with pytest.raises((ValueError, TypeError)) as caught:
            kind(**arguments)
        texts.append(repr(caught.value))
    assert texts[0] == texts[1]
    assert error is None or texts[0] == repr(error)


@pytest.mark.parametrize(
    "arguments",
    [{"retries": -1}, {"timeout": 0}, {"memory_limit": 0}],
    ids=str,
)
def test_what_is_plaits_own_is_checked_too(arguments):
    with pytest.raises(ValueError):
        ProcessPoolExecutor(1, **arguments)


def test_it_cannot_be_pickled(pool):
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(pool)


def test_no_more_calls_after_shutdown():
    pool = ProcessPoolExecutor(1)
    last = pool.submit(nap, 0.1, 5)
    pool.shutdown(wait=False)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.submit(square, 1)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.map(square, [1])
    assert last.result() == 5
    pool.shutdown()
    assert pool._processes is None


def test_futures_that_have_not_begun_are_cancelled():
    pool = ProcessPoolExecutor(1)
    futures = [pool.submit(nap, 0.05) for _ in range(50)]
    futures[0].result()
    pool.shutdown(cancel_futures=True)
    assert all(future.done() for future in futures)
    assert sum(future.cancelled() for future in futures) > 20


def test_shutdown_that_cancels_waits_for_a_first_call_to_begin_and_no_longer():
    pool = ProcessPoolExecutor(1)
    first, *others = [pool.submit(nap, 0.5, 5) for _ in range(4)]
    pool.shutdown(cancel_futures=True)
    assert first.result(0) == 5
    assert all(future.cancelled() for future in others)


def test_arguments_that_cannot_be_pickled_are_the_futures_error(pool):
    future = pool.submit(id, threading.Lock())
    assert isinstance(future.exception(timeout=30), (TypeError, pickle.PicklingError))
    assert pool.submit(square, 3).result() == 9


def test_a_result_that_cannot_be_pickled_is_an_error(pool):
    assert pool.submit(threading.Lock).exception(timeout=30) is not None
    assert pool.submit(square, 3).result() == 9


def test_the_traceback_of_the_worker_is_the_cause(pool):
    error = pool.submit(fail, "text").exception()
    assert "in fail" in str(error.__cause__)
    assert "ValueError: text" in str(error.__cause__)


def test_a_death_costs_only_its_call():
    with ProcessPoolExecutor(2) as pool:
        futures = [pool.submit(nap, 0.02, number) for number in range(20)]
        victim = pool.submit(end, 7)
        futures += [pool.submit(nap, 0.02, number) for number in range(20, 40)]
        assert [future.result() for future in futures] == list(range(40))
        error = victim.exception()
        assert isinstance(error, BrokenProcessPool)
        assert isinstance(error, WorkerDied)
        assert error.exitcode == 7
        assert not pool._broken


def test_a_killed_worker_says_by_what():
    with ProcessPoolExecutor(1) as pool:
        future = pool.submit(nap, 30)
        (process,) = pool._processes.values()
        deadline = time.monotonic() + 10
        while not future.running() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(WorkerDied, match="SIGKILL"):
            future.result(timeout=30)
        process.join(10)
        assert not process.is_alive()
        assert process.exitcode == -signal.SIGKILL


def test_a_failing_initializer_breaks_the_pool():
    with ProcessPoolExecutor(1, initializer=fail, initargs=("no",)) as pool:
        with pytest.raises(BrokenProcessPool):
            pool.submit(square, 1).result(timeout=30)
        with pytest.raises(BrokenProcessPool):
            pool.submit(square, 1)
        assert pool._broken


def test_workers_are_started_as_they_are_needed():
    with ProcessPoolExecutor(4) as pool:
        assert pool._processes == {}
        for _ in range(5):
            assert pool.submit(square, 2).result() == 4
        assert len(pool._processes) == 1
        (pid,) = pool._processes
        assert pool.submit(os.getpid).result() == pid


def test_workers_are_replaced_after_their_tasks():
    with ProcessPoolExecutor(1, max_tasks_per_child=2) as pool:
        pids = [pool.submit(os.getpid).result() for _ in range(6)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4] == pids[5]


@pytest.mark.parametrize("name", ["terminate_workers", "kill_workers"])
def test_workers_can_be_ended(name):
    pool = ProcessPoolExecutor(1)
    running, waiting = pool.submit(nap, 30), pool.submit(nap, 30)
    processes = list(pool._processes.values())
    while not running.running():
        time.sleep(0.01)
    getattr(pool, name)()
    with pytest.raises((BrokenProcessPool, concurrent.futures.CancelledError)):
        running.result(timeout=30)
    assert waiting.exception is not None
    with pytest.raises((BrokenProcessPool, concurrent.futures.CancelledError)):
        waiting.result(timeout=30)
    for process in processes:
        process.join(10)
        assert not process.is_alive()
    with pytest.raises(RuntimeError):
        pool.submit(square, 1)
    pool.shutdown()


def test_an_executor_that_is_dropped_makes_its_calls_and_ends():
    pool = ProcessPoolExecutor(2)
    results = pool.map(nap, [0.01] * 10, range(10))
    manager, processes, gone = pool._executor_manager_thread, pool._processes, weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None
    assert list(results) == list(range(10))
    manager.join(30)
    assert not manager.is_alive()
    for process in processes.values():
        process.join(10)
        assert not process.is_alive()


def test_wait_and_as_completed_take_its_futures(pool):
    futures = [pool.submit(nap, 0.01, number) for number in range(6)]
    done, left = wait(futures, timeout=30)
    assert (done, left) == (set(futures), set())
    assert sorted(future.result() for future in as_completed(futures)) == list(range(6))
    assert {future.result() for future in concurrent.futures.as_completed(futures)} == set(range(6))


def test_callbacks_are_called(pool):
    seen, came = [], threading.Event()

    def callback(future):
        seen.append(future.result())
        came.set()

    pool.submit(square, 5).add_done_callback(callback)
    assert came.wait(30)
    assert seen == [25]


def test_a_future_can_be_awaited(pool):
    async def main():
        return await asyncio.gather(*(pool.submit(square, number) for number in range(10)))

    assert asyncio.run(main()) == [square(number) for number in range(10)]


def test_a_loop_runs_calls_in_it(pool):
    async def main():
        return await asyncio.get_running_loop().run_in_executor(pool, square, 6)

    assert asyncio.run(main()) == 36


def test_many_threads_use_one_pool(pool):
    results = {}

    def use(start):
        results[start] = list(pool.map(square, range(start, start + 50)))

    threads = [threading.Thread(target=use, args=(start,)) for start in range(0, 400, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for start, found in results.items():
        assert found == [square(number) for number in range(start, start + 50)]


def test_pools_nest(pool):
    assert list(pool.map(inner, [3, 4])) == [5, 14]


def test_lambdas_and_closures_are_sent_by_value(pool):
    factor = 3
    assert pool.submit(lambda number: number * factor, 4).result() == 12
    assert list(pool.map(lambda number: number + factor, range(3))) == [3, 4, 5]
