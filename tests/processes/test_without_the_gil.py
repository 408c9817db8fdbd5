"""What goes on in a pool while somebody keeps the interpreter for himself."""

import ctypes
import os
import signal
import threading
import time
from pathlib import Path

from plait.concurrent.futures import ProcessPoolExecutor


def note_and_wait(path: Path) -> int:
    with path.open("a") as file:
        file.write(f"{os.getpid()} {time.monotonic()}\n")
    if len(path.read_text().splitlines()) == 1:
        time.sleep(60)
    return os.getpid()


def test_a_dead_worker_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "times"
    with ProcessPoolExecutor(1, retries=1) as pool:
        future = pool.submit(note_and_wait, path)
        while not (path.exists() and path.read_text().endswith("\n")):
            time.sleep(0.01)
        first = int(path.read_text().split()[0])
        os.kill(first, signal.SIGKILL)
        ctypes.PyDLL(None).usleep(900_000)  # with the GIL
        end = time.monotonic()
        second = future.result(30)
        again = path.read_text().splitlines()[1].split()
        assert int(again[0]) == second != first
        assert float(again[1]) < end


def add(number: int) -> int:
    return number + 1


def test_a_thread_that_computes_does_not_make_every_call_wait_for_it() -> None:
    over = False

    def compute() -> None:
        while not over:
            for _ in range(10_000):
                pass

    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(add, 0).result() == 1
        thread = threading.Thread(target=compute)
        thread.start()
        try:
            begin, total = time.monotonic(), 0
            while total < 1000:
                total = pool.submit(add, total).result()
            # One detached wait for each would be 5 s at least, two 10 s.
            assert time.monotonic() - begin < 4
        finally:
            over = True
            thread.join()
