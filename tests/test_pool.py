"""ThreadPoolExecutor: what CPython's own suites leave out.

Long because every promise of the pool is tried beside the standard library's.
"""

import concurrent.futures as stdlib
import contextlib
import gc
import logging
import sys
import threading
import time
import weakref
from itertools import count, islice

import pytest

import plait
from blocked import PATIENCE, Background, outcome, until
from plait.concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed, wait


def shown(*args, **kwargs):
    return args, sorted(kwargs.items())


class Shown:
    def method(self, /, *args, **kwargs):
        return shown(*args, **kwargs)


# --- side by side with the standard library ---------------------------------------------------------

CALLS = {
    "submit_nothing": lambda p: p.submit(),
    "submit_keyword": lambda p: p.submit(fn=int),
    "submit_no_callable": lambda p: p.submit(3).result(),
    "map_nothing": lambda p: list(p.map(int)),
    "map_two": lambda p: list(p.map(pow, [2, 3, 4], [5, 6])),
    "map_not_iterable": lambda p: p.map(int, 3),
    "map_raises": lambda p: list(p.map(int, ["1", "x", "2"])),
    "map_failing_iterable": lambda p: list(p.map(int, (1 // x for x in (1, 0)))),
    "map_no_callable": lambda p: list(p.map(3, [1])),
    "map_late": lambda p: list(p.map(time.sleep, [0.2], timeout=0.01)),
    "map_odd_timeout": lambda p: list(p.map(int, [1], timeout="soon")),
    "map_kind": lambda p: (iter(r := p.map(int, [1])) is r, next(r), next(r, "end"), r.close()),
    "attributes": lambda p: (p._max_workers, len(p._threads), p._shutdown, p._broken, p._work_queue.qsize()),
    "names": lambda p: (p.submit(int).result(), [t.name[-2:] for t in p._threads]),
    "daemons": lambda p: (p.submit(int).result(), [t.daemon for t in p._threads]),
    "after_shutdown": lambda p: (p.shutdown(), p.submit(int)),
    "map_after_shutdown": lambda p: (p.shutdown(), p.map(int, [1])),
    "shutdown_positional": lambda p: p.shutdown(True, True),
}


@pytest.mark.parametrize("call", CALLS)
def test_each_call_ends_as_in_the_standard_library(call):
    ends = []
    for kind in (stdlib.ThreadPoolExecutor, ThreadPoolExecutor):
        with kind(2) as pool:
            ends.append(outcome(lambda pool=pool: CALLS[call](pool)))
    assert ends[1] == ends[0]


@pytest.mark.parametrize(
    "arguments", [{"max_workers": 0}, {"max_workers": -1}, {"max_workers": "2"}, {"initializer": 3}]
)
def test_wrong_arguments_raise_the_same(arguments):
    ends = [outcome(lambda kind=kind: kind(**arguments)) for kind in (stdlib.ThreadPoolExecutor, ThreadPoolExecutor)]
    assert ends[1] == ends[0]


def test_the_default_number_of_workers_is_the_standard_librarys():
    assert ThreadPoolExecutor()._max_workers == stdlib.ThreadPoolExecutor()._max_workers


def test_an_executor_is_one_of_the_standard_librarys():
    assert isinstance(ThreadPoolExecutor(1), stdlib.ThreadPoolExecutor)
    before = stdlib.ThreadPoolExecutor(1)
    with plait.installed():
        assert stdlib.ThreadPoolExecutor is ThreadPoolExecutor
        assert isinstance(before, stdlib.ThreadPoolExecutor)
        assert before.submit(int, "4").result(PATIENCE) == 4
    before.shutdown()


@pytest.mark.parametrize("args", [(), (1,), (1, 2, 3), (1, 2, 3, 4), tuple(range(40))])
@pytest.mark.parametrize("kwargs", [{}, {"a": 1}, {"fn": 1, "self": 2}, {f"k{n}": n for n in range(20)}])
@pytest.mark.parametrize("callable_", [shown, Shown().method])
def test_arguments_arrive_as_they_were_given(callable_, args, kwargs):
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(callable_, *args, **kwargs).result() == shown(*args, **kwargs)


def test_a_subclass_may_override_submit_and_the_constructor():
    class Counting(ThreadPoolExecutor):
        def __init__(self):
            super().__init__(max_workers=1)
            self.calls = 0

        def submit(self, fn, /, *args, **kwargs):
            self.calls += 1
            return super().submit(fn, *args, **kwargs)

    with Counting() as pool:
        assert list(pool.map(abs, [-1, -2])) == [1, 2]
        assert pool.calls == 2


# --- threads ----------------------------------------------------------------------------------------


def test_a_thread_is_started_only_if_none_is_idle():
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            pool.submit(int).result()
        assert len(pool._threads) == 1
        gate = threading.Barrier(4)
        for future in [pool.submit(gate.wait, PATIENCE) for _ in range(3)]:
            assert not future.done()
        gate.wait(PATIENCE)
        assert len(pool._threads) == 3


def test_a_callback_that_submits_and_waits_gets_a_worker_of_its_own():
    with ThreadPoolExecutor(2) as pool:
        answer = Future()
        gate = threading.Event()
        first = pool.submit(gate.wait, PATIENCE)
        first.add_done_callback(lambda f: answer.set_result(pool.submit(int, "8").result(PATIENCE)))
        gate.set()
        assert answer.result(PATIENCE) == 8


def test_a_dropped_executor_makes_the_calls_it_has_and_ends_its_threads():
    pool = ThreadPoolExecutor(2)
    futures = [pool.submit(pow, 2, n) for n in range(100)]
    threads = list(pool._threads)
    del pool
    assert [future.result(PATIENCE) for future in futures] == [2**n for n in range(100)]
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_a_thread_that_cannot_be_started_is_reported_and_the_call_is_not_made(monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    made = []
    pool = ThreadPoolExecutor(1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            pool.submit(made.append, "first")
    pool.submit(made.append, "second").result(PATIENCE)
    pool.shutdown()
    assert made == ["second"]


def test_idle_workers_use_no_time():
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(abs, range(100)))
        gate = threading.Barrier(4)
        list(pool.map(lambda _: gate.wait(PATIENCE), range(4)))
        time.sleep(0.05)
        before = time.process_time()
        time.sleep(0.3)
        assert time.process_time() - before < 0.1


# --- nothing is lost --------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
def test_whatever_a_call_raises_reaches_its_future(error):
    def fail():
        raise error("x")

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(fail)
        assert isinstance(future.exception(PATIENCE), error)
        with pytest.raises(error):
            future.result()
        assert future.exception().__traceback__.tb_frame.f_code.co_name != "run"
        assert pool.submit(int, "5").result(PATIENCE) == 5


def test_a_callback_that_exits_does_not_end_the_worker(caplog):
    with ThreadPoolExecutor(1) as pool:
        gate = threading.Event()
        future = pool.submit(gate.wait, PATIENCE)
        future.add_done_callback(lambda f: sys.exit(3))
        gate.set()
        assert pool.submit(int, "5").result(PATIENCE) == 5
    assert [record.getMessage() for record in caplog.records] == ["Exception in worker"]


def test_an_initializer_that_fails_breaks_the_pool_for_everybody(caplog):
    gate = threading.Event()

    def initialize():
        gate.wait(PATIENCE)
        raise OSError("no")

    with caplog.at_level(logging.CRITICAL, "concurrent.futures"), ThreadPoolExecutor(1, initializer=initialize) as pool:
        futures = [pool.submit(int) for _ in range(5)]
        waiting = Background(lambda: len(wait(futures, PATIENCE).not_done))
        gate.set()
        for future in futures:
            with pytest.raises(stdlib.BrokenExecutor, match="initializer failed"):
                future.result(PATIENCE)
        assert waiting.result() == ("returns", "0")
        with pytest.raises(stdlib.BrokenExecutor):
            pool.submit(int)
        assert pool._broken
    assert "Exception in initializer:" in caplog.text


def test_futures_cancelled_by_shutdown_are_known_to_wait():
    begun, gate = threading.Event(), threading.Event()
    pool = ThreadPoolExecutor(1)
    running = pool.submit(lambda: (begun.set(), gate.wait(PATIENCE)))
    assert begun.wait(PATIENCE)
    queued = [pool.submit(int) for _ in range(5)]
    waiting = Background(lambda: len(wait(queued, PATIENCE).done))
    pool.shutdown(wait=False, cancel_futures=True)
    assert waiting.result() == ("returns", "5")
    gate.set()
    assert running.result(PATIENCE) == (None, True)
    assert all(future.cancelled() for future in queued)
    pool.shutdown()


def test_every_call_is_made_or_refused_while_the_pool_shuts_down():
    for _ in range(20):
        made = []
        pool = ThreadPoolExecutor(3)
        gate = threading.Barrier(3)

        def submit(pool=pool, made=made, gate=gate):
            accepted = []
            gate.wait()
            with contextlib.suppress(RuntimeError):
                while True:
                    accepted.append(pool.submit(made.append, 1))
            return [future.result(PATIENCE) for future in accepted].count(None)

        submitters = [Background(submit) for _ in range(2)]
        gate.wait()
        time.sleep(0.001)
        pool.shutdown()
        total = sum(int(submitter.result()[1]) for submitter in submitters)
        assert total == len(made)


def test_many_threads_lose_nothing():
    each = 2000
    with ThreadPoolExecutor(3) as pool:

        def run(base):
            futures = [pool.submit(int, base + n) for n in range(each)]
            cancelled = sum(future.cancel() for future in futures[::7])
            ended = sum(not future.cancelled() for future in as_completed(futures, PATIENCE))
            return ended + cancelled

        runners = [Background(lambda base=base: run(base)) for base in range(4)]
        assert [runner.result() for runner in runners] == [("returns", str(each))] * 4


def test_a_call_that_was_cancelled_is_not_made():
    begun, gate, made = threading.Event(), threading.Event(), []
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: (begun.set(), gate.wait(PATIENCE)))
        assert begun.wait(PATIENCE)
        futures = [pool.submit(made.append, n) for n in range(4)]
        assert futures[1].cancel()
        assert futures[2]._condition is not None, "one that lives by the standard library's methods"
        assert futures[2].cancel()
        gate.set()
        assert wait(futures, PATIENCE).not_done == set()
    assert made == [0, 3]
    with pytest.raises(CancelledError):
        futures[2].result()


def test_arguments_and_results_are_not_kept():
    class Thing:
        pass

    with ThreadPoolExecutor(1) as pool:
        thing = Thing()
        gone = weakref.ref(thing)
        future = pool.submit(id, thing)
        del thing
        future.result(PATIENCE)
        until(lambda: gc.collect() is not None and gone() is None)
        future = pool.submit(Thing)
        gone = weakref.ref(future.result(PATIENCE))
        del future
        until(lambda: gc.collect() is not None and gone() is None)


# --- map --------------------------------------------------------------------------------------------


def test_map_reads_no_further_than_its_buffer():
    numbers = iter(count())
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(abs, numbers, buffersize=3)
        assert next(numbers) == 3
        assert list(islice(results, 5)) == [0, 1, 2, 4, 5]
        assert next(numbers) <= 9
        results.close()


def test_map_fails_in_its_place_and_cancels_the_rest():
    begun, gate, made = threading.Event(), threading.Event(), []

    def call(n):
        if n == 1:
            begun.set()
            gate.wait(PATIENCE)
        made.append(n)
        if n == 0:
            raise OSError("no")

    with ThreadPoolExecutor(1) as pool:
        results = pool.map(call, range(10))
        assert begun.wait(PATIENCE)
        with pytest.raises(OSError, match="no"):
            next(results)
        gate.set()
    assert made == [0, 1]


def test_map_shows_progress(capsys):
    pytest.importorskip("tqdm")
    with ThreadPoolExecutor(1) as pool:
        results = pool.map(abs, [-1, -2], progress={"disable": False, "desc": "abs"})
        assert list(results) == [1, 2]
        assert list(pool.map(abs, (-n for n in range(2)), progress=True)) == [0, 1]
    shown = capsys.readouterr().err
    assert "abs" in shown
    assert "2/2" in shown


def test_a_pool_that_never_rests_lets_other_threads_run() -> None:
    """A worker that drains for ever hands the GIL over when it is asked to."""
    ends = False
    with ThreadPoolExecutor(1) as pool:

        def again() -> None:
            if not ends:
                pool.submit(again)

        pool.submit(again)
        naps = 0
        begin = time.monotonic()
        while naps < 50 and time.monotonic() - begin < 20:
            time.sleep(0.0001)
            naps += 1
        ends = True
    assert naps == 50


@pytest.mark.parametrize("asked", [False, True])
def test_a_map_that_is_dropped_cancels_what_has_not_begun_if_it_was_asked(asked: bool) -> None:
    begun, go = [], threading.Event()
    with ThreadPoolExecutor(1) as pool:

        def work(number: int) -> None:
            begun.append(number)
            if number:
                go.wait(10)

        results = pool.map(work, range(100))
        if asked:
            next(results)
        while len(begun) < 2:
            time.sleep(0.001)
        del results
        go.set()
    assert begun == ([0, 1] if asked else list(range(100)))


def test_a_cycle_through_the_result_of_a_map_is_collected() -> None:
    class Result:
        pass

    def make(_: int) -> Result:
        made.append(result := Result())
        return result

    made: list[Result] = []
    with ThreadPoolExecutor(1) as pool:
        results = pool.map(make, range(3))
    ghost = weakref.ref(made[0])
    for result in made:
        result.results = results  # type: ignore[attr-defined]
    made.clear()
    del results, result
    gc.collect()
    assert ghost() is None


def test_results_that_come_while_they_are_asked_for_are_given() -> None:
    # Where nobody holds a GIL a call can end between two looks at its future.
    with ThreadPoolExecutor(2) as pool:
        for _ in range(300):
            assert sum(pool.map(int, range(50))) == 1225
