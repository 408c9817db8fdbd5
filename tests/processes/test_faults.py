"""What a worker can do to itself, and what its caller and the others see of it."""

import os
import signal
import time
from collections.abc import Iterator

import fault_tasks as tasks
import pytest

from chaos import descriptors, family, left_over
from plait._processes import start
from plait.concurrent.futures import ProcessPoolExecutor, WorkerDied, wait
from plait.concurrent.futures._errors import MemoryLimitExceeded

SECONDS = 60


@pytest.fixture
def pool() -> Iterator[ProcessPoolExecutor]:
    start.prestart()
    # pytest holds what it is given, so a pool that is over is there before, too: it has its bell, and no more.
    other = ProcessPoolExecutor(1)
    before, processes = descriptors(), set(family(os.getpid()))
    with ProcessPoolExecutor(2) as pool:
        yield pool
    other.shutdown()
    del other
    left = left_over(before, processes)
    assert not left, left


def died(pool: ProcessPoolExecutor, function, *args) -> WorkerDied:
    """Has the call made among others, which have to come back whole."""
    before = [pool.submit(pow, number, 2) for number in range(20)]
    future = pool.submit(function, *args)
    after = [pool.submit(pow, number, 3) for number in range(20)]
    with pytest.raises(WorkerDied) as caught:
        future.result(SECONDS)
    assert [other.result(SECONDS) for other in before] == [number**2 for number in range(20)]
    assert [other.result(SECONDS) for other in after] == [number**3 for number in range(20)]
    assert pool.submit(tasks.pid).result(SECONDS) != caught.value.pid
    return caught.value


def test_a_call_that_ends_its_process(pool: ProcessPoolExecutor) -> None:
    error = died(pool, tasks.leave, 7)
    assert error.exitcode == 7
    assert "leave" in error.call


def test_a_segmentation_fault_is_reported_with_its_traceback(pool: ProcessPoolExecutor) -> None:
    error = died(pool, tasks.segfault)
    assert error.exitcode == -signal.SIGSEGV
    assert "Segmentation fault" in error.stderr
    assert "in segfault" in error.stderr  # faulthandler


def test_an_abort_in_the_depth(pool: ProcessPoolExecutor) -> None:
    error = died(pool, tasks.abort_in, 5)
    assert error.exitcode == -signal.SIGABRT
    assert error.stderr.count("in abort_in") == 6


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGBUS])
def test_a_signal(pool: ProcessPoolExecutor, number: int) -> None:
    assert died(pool, tasks.kill_itself, number).exitcode == -number


def test_the_last_words_are_in_the_error(pool: ProcessPoolExecutor) -> None:
    assert "alas, poor worker" in died(pool, tasks.say_and_die, "alas, poor worker").stderr


def test_an_argument_whose_unpickling_ends_the_process(pool: ProcessPoolExecutor) -> None:
    assert died(pool, tasks.take, tasks.Bomb()).exitcode == 9


def test_an_argument_whose_unpickling_raises(pool: ProcessPoolExecutor) -> None:
    future = pool.submit(tasks.take, tasks.Trap())
    with pytest.raises(Exception, match="sprung"):
        future.result(SECONDS)
    assert pool.submit(pow, 2, 5).result(SECONDS) == 32


def test_exceptions_that_have_no_pickle_or_no_unpickle(pool: ProcessPoolExecutor) -> None:
    with pytest.raises(Exception, match="pickle"):
        pool.submit(tasks.raise_unpicklable).result(SECONDS)
    with pytest.raises(tasks.Unreadable, match="1 2"):  # made without its constructor
        pool.submit(tasks.raise_unreadable).result(SECONDS)
    assert pool.submit(pow, 2, 5).result(SECONDS) == 32


def test_results_that_have_no_pickle_or_no_unpickle(pool: ProcessPoolExecutor) -> None:
    with pytest.raises(TypeError, match="pickle"):
        pool.submit(tasks.give_lambda).result(SECONDS)
    with pytest.raises(Exception, match="sprung"):
        pool.submit(tasks.give_trap).result(SECONDS)
    assert pool.submit(pow, 2, 5).result(SECONDS) == 32


def test_no_memory_is_the_calls_own_error(pool: ProcessPoolExecutor) -> None:
    pid = {pool.submit(tasks.pid).result(SECONDS) for _ in range(4)}
    with pytest.raises(MemoryError):
        pool.submit(tasks.take_too_much).result(SECONDS)
    assert pool.submit(tasks.pid).result(SECONDS) in pid


def test_a_call_that_exceeds_the_memory_limit() -> None:
    with ProcessPoolExecutor(2, memory_limit=200 << 20) as pool:
        others = [pool.submit(pow, number, 2) for number in range(20)]
        with pytest.raises(MemoryLimitExceeded) as caught:
            pool.submit(tasks.take_memory, 4 << 30).result(SECONDS)
        assert caught.value.limit == 200 << 20
        assert caught.value.used is not None
        assert caught.value.used > 200 << 20
        assert [other.result(SECONDS) for other in others] == [number**2 for number in range(20)]


def test_a_hundred_megabytes_of_output(capfd: pytest.CaptureFixture[str]) -> None:
    size = 100 << 20
    with ProcessPoolExecutor(2) as pool:
        future = pool.submit(tasks.shout, size)
        others = [pool.submit(pow, number, 2) for number in range(50)]
        assert [other.result(SECONDS) for other in others] == [number**2 for number in range(50)]
        assert future.result(SECONDS) == size
    assert len(capfd.readouterr().out) == size


def test_a_hundred_megabytes_of_errors(capfd: pytest.CaptureFixture[str]) -> None:
    size = 100 << 20
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(tasks.shout_errors, size).result(SECONDS) == size
    said = capfd.readouterr().err
    assert said.startswith("first words\n")
    assert said.endswith("last words\n")


def test_a_worker_that_ignores_sigterm_is_killed_in_the_end() -> None:
    with ProcessPoolExecutor(1) as pool:
        pid = pool.submit(tasks.pid).result(SECONDS)
        future = pool.submit(tasks.ignore_sigterm, 300)
        while not future.running():
            time.sleep(0.01)
        time.sleep(0.1)
        os.kill(pid, signal.SIGTERM)
        time.sleep(0.2)
        assert not future.done()
        pool._crew.kill(signal.SIGKILL)
    assert future.done()


def test_children_of_workers_are_their_own_business(pool: ProcessPoolExecutor) -> None:
    child = pool.submit(tasks.has_child).result(SECONDS)
    try:
        status, pid = pool.submit(tasks.forks_a_child).result(SECONDS)
        assert status == 5
        assert pid in {process.pid for process in (pool._processes or {}).values()}
        assert died(pool, tasks.leave, 3).exitcode == 3
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_stopped_worker_costs_time_and_nothing_else(pool: ProcessPoolExecutor) -> None:
    wait([pool.submit(tasks.nap, 0.1) for _ in range(2)])
    pid = next(iter(pool._processes.values())).pid
    os.kill(pid, signal.SIGSTOP)
    try:
        futures = [pool.submit(pow, number, 2) for number in range(500)]
        done, _ = wait(futures, 2)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert len(done) >= 498, "the other worker took over all but what the stopped one had begun"
    assert [future.result(SECONDS) for future in futures] == [number**2 for number in range(500)]
