"""The errors of calls in processes: what they say, and that they pass from process to process."""

import pickle
from concurrent.futures import BrokenExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest

from plait.concurrent.futures._errors import MemoryLimitExceeded, TaskTimeout, WorkerDied


@pytest.mark.parametrize(
    "error",
    [
        WorkerDied(),
        WorkerDied(-9, "Fatal Python error", "f(1)", 17),
        TaskTimeout(),
        TaskTimeout(1.5, "f(1)"),
        MemoryLimitExceeded(),
        MemoryLimitExceeded(3 << 30, 1 << 20, "f(1)"),
    ],
    ids=repr,
)
def test_an_error_is_the_same_in_another_process(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)


def test_they_are_caught_where_the_standard_library_s_are() -> None:
    assert issubclass(WorkerDied, BrokenProcessPool)
    assert issubclass(WorkerDied, BrokenExecutor)
    assert issubclass(TaskTimeout, TimeoutError)
    assert issubclass(MemoryLimitExceeded, MemoryError)


def test_a_death_tells_how_and_what_was_said() -> None:
    text = str(WorkerDied(-11, "Fatal Python error: Segmentation fault\n", "crash()", 7))
    assert text == (
        "worker process 7 was ended by SIGSEGV while the call was running: crash()\n"
        "its last words on stderr:\nFatal Python error: Segmentation fault"
    )
    assert "exited with code 3" in str(WorkerDied(3))
    assert "signal 77" in str(WorkerDied(-77))
    assert len(str(WorkerDied(1, "x" * 10_000))) < 3_000


def test_sizes_and_times_are_told_in_units() -> None:
    assert str(TaskTimeout(0.25, "f(1)")) == "the call was stopped: it ran longer than 0.25 s: f(1)"
    assert "used 1.5 GiB of memory, its limit is 512.0 MiB" in str(MemoryLimitExceeded(3 << 29, 1 << 29))
    assert "100 bytes" in str(MemoryLimitExceeded(100, 10))
