"""`multiprocessing.pool.ThreadPool` on plait's pool, beside the standard library's."""

import gc
import multiprocessing
import multiprocessing.pool as stdlib
import threading
from concurrent.futures import CancelledError
from concurrent.futures.thread import BrokenThreadPool
from itertools import count

import pytest

import plait
import plait.multiprocessing.pool as face
from blocked import PATIENCE, outcome, until
from plait.multiprocessing.pool import ThreadPool
from pool_calls import CALLS, half

LIBRARIES = {"stdlib": stdlib.ThreadPool, "plait": ThreadPool}


@pytest.mark.parametrize("call", CALLS)
def test_each_call_ends_as_in_the_standard_library(call):
    ends = []
    for kind in LIBRARIES.values():
        with kind(3) as pool:
            ends.append(outcome(lambda pool=pool: CALLS[call](pool)))
        pool.join()
    assert ends[1] == ends[0]


@pytest.mark.parametrize(
    "arguments", [(0,), (-1,), ("2",), (1, 3)], ids=["none", "negative", "text", "initializer"]
)
def test_wrong_arguments_raise_the_same(arguments):
    ends = [outcome(lambda kind=kind: kind(*arguments)) for kind in LIBRARIES.values()]
    assert ends[1] == ends[0]
    assert ends[1][0] in ("ValueError", "TypeError")


def test_it_is_a_threadpool_and_dummy_makes_one():
    with plait.installed(), multiprocessing.dummy.Pool(2) as pool:
        assert type(pool) is ThreadPool
        assert isinstance(pool, stdlib.Pool)
        assert pool.map(abs, [-1]) == [1]
    pool.join()
    assert set(stdlib.__all__) <= set(face.__all__)
    assert face.RUN == "RUN"


def test_the_initializer_runs_once_in_each_thread_from_the_start():
    seen = []
    with ThreadPool(3, lambda word: seen.append((word, threading.get_ident())), ("hello",)) as pool:
        until(lambda: len(seen) == 3)
        assert len({ident for _, ident in seen}) == 3
        assert all(thread.daemon for thread in pool._pool)
    pool.join()


def test_callbacks_are_called_before_the_result_is_given():
    seen = []
    with ThreadPool(2) as pool:
        pool.apply_async(abs, (-1,), callback=seen.append).get(PATIENCE)
        failing = pool.apply_async(half, (0,), callback=seen.append, error_callback=lambda e: seen.append(type(e)))
        with pytest.raises(ZeroDivisionError):
            failing.get(PATIENCE)
        pool.map_async(abs, [-1, 2], callback=seen.append).get(PATIENCE)
    pool.join()
    assert seen == [1, ZeroDivisionError, [1, 2]]


def test_nothing_is_lost_to_a_callback_that_raises(caplog):
    with ThreadPool(1) as pool:
        assert pool.apply_async(abs, (-1,), callback=half.__get__(0)).get(PATIENCE) == 1
        assert pool.map(abs, [-2]) == [2]
    pool.join()
    assert "exception calling callback for" in caplog.text


def test_nothing_is_lost_to_a_call_that_exits():
    def leave():
        raise SystemExit(3)

    with ThreadPool(1) as pool:
        with pytest.raises(SystemExit):
            pool.apply_async(leave).get(PATIENCE)
        assert pool.apply(abs, (-1,)) == 1
    pool.join()


def test_nothing_is_lost_to_terminate():
    begun, gate = threading.Event(), threading.Event()
    pool = ThreadPool(1)
    running = pool.apply_async(lambda: (begun.set(), gate.wait(PATIENCE)))
    assert begun.wait(PATIENCE)
    queued = [pool.apply_async(abs, (-1,)), pool.map_async(abs, [1, 2])]
    fed = pool.imap(abs, count())
    pool.terminate()
    gate.set()
    pool.join()
    assert running.get(PATIENCE) == (None, True)
    for result in queued:
        with pytest.raises(CancelledError, match="terminated"):
            result.get(PATIENCE)
    with pytest.raises(CancelledError):
        list(fed)


def test_nothing_is_lost_to_an_initializer_that_fails(caplog):
    with ThreadPool(2, half, (0,)) as pool:
        for result in [pool.apply_async(abs, (-1,)), pool.map_async(abs, [1, 2])]:
            with pytest.raises(BrokenThreadPool):
                result.get(PATIENCE)
    pool.join()
    assert "Exception in initializer" in caplog.text


def test_imap_reads_its_iterator_in_the_background():
    with ThreadPool(1) as pool:
        gate = threading.Event()

        def slow():
            gate.wait(PATIENCE)
            yield -1

        results = pool.imap(abs, slow())
        with pytest.raises(multiprocessing.TimeoutError):
            results.next(0.01)
        gate.set()
        assert results.next(PATIENCE) == 1
        pool.close()
        pool.join()


def test_a_pool_that_is_dropped_warns_and_ends_its_threads():
    pools = [ThreadPool(2)]
    threads = list(pools[0]._pool)
    with pytest.warns(ResourceWarning, match="unclosed running multiprocessing pool"):
        pools.clear()
    gc.collect()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
