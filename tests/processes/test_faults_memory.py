"""Nonsense in shared memory, and memory that is not to be had, are errors of one call, and no signal."""

import subprocess
import sys
import textwrap
from pathlib import Path

import fault_tasks as tasks
import pytest

from plait.concurrent.futures import ProcessPoolExecutor, WorkerDied

SECONDS = 60


@pytest.mark.parametrize(
    ("function", "is_noticed"), [(tasks.scribble, True), (tasks.scribble_up, False)], ids=["all of it", "at times"]
)
def test_nonsense_in_its_rings_costs_the_worker_that_wrote_it(function, is_noticed: bool) -> None:
    with ProcessPoolExecutor(2) as pool:
        for _ in range(3):
            future = pool.submit(function)
            while not future.done():  # the parent reads the rings of both
                assert pool.submit(pow, 2, 6).result(SECONDS) == 64
            if is_noticed or future.exception() is not None:
                with pytest.raises(WorkerDied):
                    future.result(SECONDS)


LIMITED = """
    import resource, sys
    sys.path.insert(0, {here!r})
    import fault_tasks as tasks
    from plait.concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(pow, 2, 5).result(60) == 32
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
        try:
            pool.submit(tasks.take, bytearray(64 << 20)).result(60)
        except (MemoryError, OSError) as error:
            print("refused")
        assert pool.submit(pow, 2, 5).result(60) == 32
        try:
            pool.submit(bytes, 64 << 20).result(60)
        except (MemoryError, OSError) as error:
            print("refused in the worker")
        else:
            print("the worker has limits of its own")
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert pool.submit(tasks.take, bytearray(64 << 20)).result(60) == "bytearray"
    print("done")
"""


def test_memory_that_the_system_refuses_is_an_error_of_the_call(tmp_path: Path) -> None:
    script = textwrap.dedent(LIMITED).format(here=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    assert done.stdout.splitlines()[0] == "refused", done.stderr
    assert done.stdout.splitlines()[-1] == "done", done.stderr


def test_a_limit_on_files_in_the_worker(tmp_path: Path) -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.submit(_limit_files, 1 << 20).result(SECONDS)
        with pytest.raises((MemoryError, OSError)):
            pool.submit(bytes, 64 << 20).result(SECONDS)
        assert pool.submit(pow, 2, 5).result(SECONDS) == 32


def _limit_files(size: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_no_descriptors_left_is_an_error_of_the_pool() -> None:
    script = """
        import os, resource
        from plait.concurrent.futures import ProcessPoolExecutor
        with ProcessPoolExecutor(1) as pool:
            assert pool.submit(pow, 2, 5).result(60) == 32
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        for spare in range(30):
            taken = []
            try:
                while True:
                    taken.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                for _ in range(spare):
                    os.close(taken.pop())
            try:
                with ProcessPoolExecutor(1) as pool:
                    pool.submit(pow, 2, 5).result(60)
            except Exception as error:
                print(type(error).__name__)
            for fd in taken:
                os.close(fd)
        with ProcessPoolExecutor(1) as pool:
            assert pool.submit(pow, 2, 5).result(60) == 32
        print("done")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=100
    )
    assert done.stdout.splitlines()[-1:] == ["done"], done.stderr
    kinds = done.stdout.splitlines()[:-1]
    assert len(kinds) > 3
    assert set(kinds) <= {"BrokenProcessPool", "OSError"}, done.stdout
