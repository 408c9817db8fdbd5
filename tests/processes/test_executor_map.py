"""The ways of `ProcessPoolExecutor.map`: in order or as they come, in chunks, lazily, with a time limit, with a bar."""

import io
import itertools
import time

import pytest

from plait.concurrent.futures import ProcessPoolExecutor


def square(number):
    return number * number


def nap(seconds):
    time.sleep(seconds)
    return seconds


def invert(number):
    return 1 / number


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(2) as pool:
        yield pool


@pytest.mark.parametrize("buffersize", [None, 1, 3])
@pytest.mark.parametrize("chunksize", [1, 3, 100])
@pytest.mark.parametrize("ordered", [True, False])
def test_each_way_gives_all_results(pool, buffersize, chunksize, ordered):
    results = list(pool.map(square, range(40), buffersize=buffersize, chunksize=chunksize, ordered=ordered))
    assert (results if ordered else sorted(results)) == [square(number) for number in range(40)]


@pytest.mark.parametrize("chunksize", [1, 4])
def test_the_shortest_of_several_iterables_ends_it(pool, chunksize):
    expected = [1, 2, 4, 8]
    assert list(pool.map(pow, itertools.repeat(2), range(4), chunksize=chunksize)) == expected
    assert list(pool.options(priority=1).map(pow, [2] * 9, range(4), chunksize=chunksize)) == expected


@pytest.mark.parametrize("ordered", [True, False])
def test_an_infinite_iterable_is_read_no_further_than_asked(pool, ordered):
    read = itertools.count()
    results = pool.map(square, read, buffersize=3, ordered=ordered)
    assert len(list(itertools.islice(results, 5))) == 5
    results.close()
    assert next(read) <= 9


@pytest.mark.parametrize("chunksize", [1, 2])
def test_what_a_call_raises_comes_in_its_place(pool, chunksize):
    results = pool.map(invert, [1, 2, 0, 4], chunksize=chunksize)
    assert next(results) == 1
    assert next(results) == 0.5
    with pytest.raises(ZeroDivisionError):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


@pytest.mark.parametrize("options", [{}, {"buffersize": 2}, {"ordered": False}, {"chunksize": 2}], ids=str)
def test_time_is_up_for_all_together(pool, options):
    results = pool.map(nap, [0.01, 1, 1, 1], timeout=0.3, **options)
    with pytest.raises(TimeoutError):
        list(results)


def test_results_come_as_they_are_there(pool):
    assert list(pool.map(nap, [0.5, 0.01], ordered=False)) == [0.01, 0.5]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"chunksize": 0}, ValueError, "chunksize must be >= 1."),
        ({"chunksize": -1}, ValueError, "chunksize must be >= 1."),
        ({"buffersize": 0}, ValueError, "buffersize must be None or > 0"),
        ({"buffersize": 1.5}, TypeError, "buffersize must be an integer or None"),
    ],
)
def test_bad_arguments_are_refused(pool, options, error, text):
    with pytest.raises(error, match=text):
        list(pool.map(square, [1], **options))


def test_a_bar_is_shown(pool):
    pytest.importorskip("tqdm", reason="the bar is tqdm's")
    shown = io.StringIO()
    results = pool.map(square, range(4), progress={"file": shown, "disable": False, "desc": "squares"})
    assert list(results) == [0, 1, 4, 9]
    assert "squares" in shown.getvalue()
    assert "4/4" in shown.getvalue()


def test_the_results_of_options_keep_no_pool_alive():
    pool = ProcessPoolExecutor(1)
    results = pool.options(priority=1).map(square, range(100), buffersize=2)
    assert next(results) == 0
    pool.shutdown()
    with pytest.raises(RuntimeError):
        list(results)
