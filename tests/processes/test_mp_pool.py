"""`plait.multiprocessing.Pool`: as the standard library's, and no hang where that one has them."""

import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
import warnings

import pytest

import plait.multiprocessing
from blocked import outcome
from plait.concurrent.futures._errors import WorkerDied
from plait.multiprocessing import Pool
from plait.multiprocessing.pool import AsyncResult, IMapIterator, MapResult, ThreadPool
from pool_calls import CALLS

METHODS = ["default", "fork", "forkserver", "spawn", "zygote"]


def square(number=0):
    return number * number


def fail(text):
    raise ValueError(text)


def end(code):
    os._exit(code)


def nap(seconds):
    time.sleep(seconds)
    return seconds


_told = []


def tell(*args):
    _told.extend(args)


def told():
    return list(_told)


def breaks_off(count):
    yield from range(count)
    raise LookupError("no more")


@pytest.fixture(scope="module")
def pool():
    with Pool(2) as pool:
        yield pool


@pytest.mark.parametrize("method", METHODS)
def test_each_start_method(method):
    context = plait.multiprocessing if method == "default" else plait.multiprocessing.get_context(method)
    with context.Pool(2, tell, ("a", 1)) as pool:
        assert len(pool._pool) == 2
        assert pool.apply(told) == ["a", 1]
        assert pool.map(square, range(30)) == [square(number) for number in range(30)]
        with pytest.raises(ValueError, match="text"):
            pool.apply(fail, ("text",))
    pool.join()
    assert not any(process.is_alive() for process in pool._pool)


@pytest.mark.parametrize("call", CALLS)
def test_each_call_ends_as_in_the_standard_library(call):
    ends = []
    for kind in (multiprocessing.get_context("fork").Pool, plait.multiprocessing.get_context("zygote").Pool):
        with kind(3) as pool:
            ends.append(outcome(lambda pool=pool: CALLS[call](pool)))
        pool.join()
    assert ends[1] == ends[0]


def test_it_is_one_to_isinstance(pool):
    assert isinstance(pool, multiprocessing.pool.Pool)
    assert isinstance(pool.apply_async(square), multiprocessing.pool.AsyncResult)
    assert isinstance(pool.map_async(square, [1]), multiprocessing.pool.MapResult)
    assert isinstance(pool.imap(square, [1]), multiprocessing.pool.IMapIterator)
    assert (AsyncResult, MapResult, IMapIterator) != (None, None, None)


def test_one_call(pool):
    assert pool.apply(square, (3,)) == 9
    assert pool.apply(square, kwds={"number": 4}) == 16
    result = pool.apply_async(square, [5])
    assert result.get(30) == 25
    assert result.get() == 25
    assert result.ready()
    assert result.successful()


def test_a_result_that_is_not_there_yet(pool):
    result = pool.apply_async(nap, (0.5,))
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    with pytest.raises(multiprocessing.TimeoutError):
        result.get(0.05)
    result.wait(0.05)
    result.wait()
    assert result.get(0) == 0.5


@pytest.mark.parametrize("chunksize", [None, 1, 7, 100])
def test_maps(pool, chunksize):
    expected = [square(number) for number in range(40)]
    assert pool.map(square, range(40), chunksize) == expected
    assert pool.map(square, iter(range(40)), chunksize) == expected
    assert pool.map_async(square, range(40), chunksize).get() == expected
    assert pool.starmap(pow, [(2, 3), (3, 2)], chunksize) == [8, 9]
    assert pool.starmap_async(pow, [(2, 3), (3, 2)], chunksize).get() == [8, 9]
    assert pool.map(square, [], chunksize) == []


@pytest.mark.parametrize("chunksize", [1, 7])
@pytest.mark.parametrize("kind", [list, iter])
def test_iterators(pool, chunksize, kind):
    expected = [square(number) for number in range(40)]
    assert list(pool.imap(square, kind(range(40)), chunksize)) == expected
    assert sorted(pool.imap_unordered(square, kind(range(40)), chunksize)) == expected
    assert list(pool.imap(square, kind([]), chunksize)) == []
    assert list(pool.imap_unordered(square, kind([]), chunksize)) == []


def test_iterators_wait_for_a_time(pool):
    results = pool.imap(nap, [0.4, 0.01])
    with pytest.raises(multiprocessing.TimeoutError):
        results.next(0.05)
    assert results.next(30) == 0.4
    assert results.next(timeout=30) == 0.01
    with pytest.raises(StopIteration):
        results.next()
    assert list(pool.imap_unordered(nap, [0.4, 0.01])) == [0.01, 0.4]


@pytest.mark.parametrize("name", ["imap", "imap_unordered"])
def test_an_iterable_that_raises_raises_in_its_place(pool, name):
    with pytest.raises(LookupError):
        list(getattr(pool, name)(square, breaks_off(3)))
    if name == "imap":
        results = pool.imap(square, breaks_off(3))
        assert [next(results), next(results), next(results)] == [0, 1, 4]
    with pytest.raises(LookupError):
        pool.map(square, breaks_off(3))


@pytest.mark.parametrize("name", ["imap", "imap_unordered"])
def test_chunks_are_checked(pool, name):
    with pytest.raises(ValueError, match="Chunksize must be 1"):
        getattr(pool, name)(square, [1], 0)


def test_callbacks_come_before_the_result(pool):
    seen = []
    pool.apply_async(square, (3,), callback=seen.append).get(30)
    pool.map_async(square, [1, 2], callback=seen.append).get(30)
    with pytest.raises(ValueError):
        pool.apply_async(fail, ("no",), callback=seen.append, error_callback=seen.append).get(30)
    assert seen[:2] == [9, [1, 4]]
    assert isinstance(seen[2], ValueError)


def test_a_callback_that_raises_loses_no_result(pool, caplog):
    assert pool.apply_async(square, (3,), callback=fail).get(30) == 9
    assert "exception calling callback" in caplog.text


def test_the_cause_is_the_workers_traceback(pool):
    with pytest.raises(ValueError) as caught:
        pool.apply(fail, ("no",))
    assert isinstance(caught.value.__cause__, multiprocessing.pool.RemoteTraceback)
    assert "in fail" in str(caught.value.__cause__)


def test_a_result_that_cannot_be_pickled_is_told(pool):
    with pytest.raises(multiprocessing.pool.MaybeEncodingError):
        pool.apply(threading.Lock)
    assert pool.apply(square, (3,)) == 9


def test_a_process_that_dies_hangs_nothing():
    with Pool(2) as pool:
        results = [pool.apply_async(nap, (0.01,)) for _ in range(20)]
        victim = pool.apply_async(end, (4,))
        rest = pool.map_async(square, range(20))
        with pytest.raises(WorkerDied) as caught:
            victim.get(30)
        assert caught.value.exitcode == 4
        assert [result.get(30) for result in results] == [0.01] * 20
        assert rest.get(30) == [square(number) for number in range(20)]
        with pytest.raises(WorkerDied):
            pool.map(end, [1], 1)
        with pytest.raises(WorkerDied):
            next(pool.imap(end, [1]))


def test_close_and_join_make_all_calls():
    pool = Pool(2)
    with pytest.raises(ValueError, match="still running"):
        pool.join()
    slow = pool.imap(square, (number for number in iter([1, 2, time.sleep(0.1) or 3])))
    results = [pool.apply_async(nap, (0.01,)) for _ in range(30)]
    pool.close()
    with pytest.raises(ValueError, match="not running"):
        pool.apply(square)
    pool.join()
    assert all(result.ready() for result in results)
    assert list(slow) == [1, 4, 9]


def test_terminate_waits_for_nothing_and_leaves_no_result_waiting():
    pool = Pool(2)
    result = pool.map_async(nap, [60] * 100, 1)
    single = pool.apply_async(nap, (60,))
    lazy = pool.imap(nap, iter([60] * 10))
    time.sleep(0.2)
    begun = time.monotonic()
    pool.terminate()
    pool.join()
    assert time.monotonic() - begun < 10
    for get in (result.get, single.get, lazy.next):
        with pytest.raises(Exception):  # noqa: B017  # which one depends on how far the call was
            get(30)


def test_processes_are_replaced_after_their_tasks():
    with Pool(1, maxtasksperchild=2) as pool:
        pids = [pool.apply(os.getpid) for _ in range(6)]
    assert len(set(pids)) == 3


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"processes": 0}, "Number of processes must be at least 1"),
        ({"maxtasksperchild": 0}, "maxtasksperchild must be a positive int or None"),
        ({"maxtasksperchild": "1"}, "maxtasksperchild must be a positive int or None"),
        ({"initializer": 1}, "initializer must be a callable"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments, error):
    with pytest.raises((ValueError, TypeError), match=error):
        Pool(**arguments)


def test_it_cannot_be_pickled(pool):
    with pytest.raises(NotImplementedError):
        pickle.dumps(pool)


def test_one_that_is_dropped_while_it_runs_warns_and_ends():
    pool = Pool(1)
    processes = pool._pool
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del pool
        gc.collect()
    assert "unclosed running multiprocessing pool" in str(caught[0].message)
    caught.clear()  # it holds the pool
    gc.collect()
    for process in processes:
        process.join(10)
        assert not process.is_alive()


def test_a_failing_initializer_is_told():
    with Pool(1, fail, ("no",)) as pool, pytest.raises(Exception, match="initializ|terminated abruptly"):
        pool.apply(square)


REFUSED = """
import types
from plait.multiprocessing.pool import Pool

class Refused:
    def __init__(self, **given): pass
    def start(self): raise PermissionError("no more processes")

try:
    Pool(5, context=types.SimpleNamespace(Process=Refused))
except PermissionError as error:
    print(error)
"""


def test_one_whose_processes_cannot_be_started_says_so():
    # The pool is over at once, and the thread that clears up after it may come before whoever asks what was wrong:
    # now and then in the first pool of a process, on the free-threaded build.
    for _ in range(8):
        ran = subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True, timeout=60)
        assert (ran.stdout, ran.stderr) == ("no more processes\n", "")


def test_threads_have_the_same_face():
    with ThreadPool(2) as pool:
        assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
