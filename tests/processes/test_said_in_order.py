"""What workers print and log is there before the result that came after it."""

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import as_completed
from time import monotonic, sleep

import pytest

from plait.concurrent.futures import ProcessPoolExecutor
from plait.multiprocessing import get_context


def say(number: int) -> int:
    print("said", number, flush=True)
    return number


def test_prints_come_before_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    expected = ""
    with ProcessPoolExecutor(1) as pool:
        for number in range(200):
            assert pool.submit(say, number).result(60) == number
            print("got", number)
            expected += f"said {number}\ngot {number}\n"
        assert capsys.readouterr().out == expected
        out = ""
        for future in as_completed([pool.submit(say, number) for number in range(50)], 60):
            out += capsys.readouterr().out
            assert f"said {future.result()}\n" in out
        assert list(pool.map(say, range(50))) == list(range(50))
        capsys.readouterr()
        pool.submit(say, 1).add_done_callback(lambda future: print("told", future.result()))
    assert capsys.readouterr().out == "said 1\ntold 1\n"


@pytest.mark.parametrize("way", ["fork", "zygote"])
def test_prints_come_before_what_a_pool_of_multiprocessing_gives(
    way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with get_context(way).Pool(1) as pool:
        for number in range(50):
            assert pool.map(say, [number]) == [number]
            print("got", number)
    assert capsys.readouterr().out == "".join(f"said {n}\ngot {n}\n" for n in range(50))


def log(number: int) -> int:
    logging.getLogger("in.order").warning("logged %d", number)
    return number


class Kept(logging.Handler):
    """Keeps what it handles, after a while."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        sleep(self.seconds)
        self.seen.append(record.getMessage())


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("in.order")
    before = list(logger.handlers)
    yield logger
    logger.handlers[:] = before


@pytest.mark.parametrize("seconds", [0.0, 0.002])
def test_records_are_handled_before_the_result_is_given(logger: logging.Logger, seconds: float) -> None:
    handler = Kept(seconds)
    logger.addHandler(handler)
    with ProcessPoolExecutor(2) as pool:
        for number in range(100):
            future = pool.submit(log, number)
            if number % 3 == 0:  # by then the reader has it
                sleep(0.003)
            assert future.result(60) == number
            assert handler.seen == [f"logged {number}"]
            handler.seen.clear()
        for number in pool.map(log, range(20)):
            assert f"logged {number}" in handler.seen
        handler.seen.clear()
        told: list[bool] = []
        future = pool.submit(log, 7)
        future.add_done_callback(lambda _: told.append("logged 7" in handler.seen))
    assert told == [True]


def test_a_handler_of_records_may_wait_for_the_pool(logger: logging.Logger) -> None:
    seen = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((record.getMessage(), pool.submit(abs, -len(seen)).result(60)))

    logger.addHandler(Handler())
    with ProcessPoolExecutor(1) as pool:
        for number in range(20):
            assert pool.submit(log, number).result(60) == number
            assert len(seen) == number + 1
    assert seen == [(f"logged {number}", number) for number in range(20)]


def test_who_has_a_result_does_not_wait_long_for_a_slow_handler(logger: logging.Logger) -> None:
    lock = threading.Lock()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            with lock:
                pass

    logger.addHandler(Handler())
    with ProcessPoolExecutor(1) as pool:
        pool.submit(abs, 1).result(60)
        with lock:
            future = pool.submit(log, 1)
            sleep(0.5)  # the reader has gone to the handler, which waits for this thread
            start = monotonic()
            assert future.result(60) == 1
            assert monotonic() - start < 30


# In a process of its own nothing else makes the calls so slow that the reader is there first.
FINDS_IT_ITSELF = """if 1:
    import logging, threading
    from plait.concurrent.futures import ProcessPoolExecutor
    lock, handled = threading.Lock(), set()
    class Handler(logging.Handler):
        def emit(self, record):
            handled.add(threading.get_ident())
            with lock:
                pass
    def log(number):
        logging.getLogger().warning("%d", number)
        return number
    if __name__ == "__main__":
        logging.getLogger().addHandler(Handler())
        with ProcessPoolExecutor(1) as pool:
            for number in range(100):
                assert pool.submit(log, number).result() == number
            with lock:
                for number in range(5):
                    assert pool.submit(log, number).result() == number
        assert threading.main_thread().ident not in handled
        print(len(handled) > 0)
"""


def test_who_waits_with_a_lock_in_its_hands_does_not_run_a_handler_that_wants_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FINDS_IT_ITSELF], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
