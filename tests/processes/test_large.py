"""Large values through a pool: in shared memory, whole, given back, an error where there is no room."""

import errno
import gc
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import plait.concurrent.futures  # noqa: F401 -- its futures are the engine's
from plait._engine import Extent, ProcessPoolCore
from plait._processes.start import zygote_starter
from plait.concurrent.futures._errors import WorkerDied

np = pytest.importorskip("numpy")

SECONDS = 60


class Pool:
    """A pool as the engine has it."""

    def __init__(self, workers: int, **options: Any) -> None:
        self._core = ProcessPoolCore()
        self._crew = self._core._open(workers, zygote_starter(), pickle.dumps({}), **options)
        self.submit = self._core.submit

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self._crew.close(False)
        assert self._crew.wait(SECONDS)


def segments() -> list[str]:
    """The segments that this process has a descriptor of, or has mapped."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            name = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if "plait-segment" in name:
            found.append(name)
    with open("/proc/self/maps") as maps:
        found.extend(line for line in maps if "plait-segment" in line)
    return found


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    gc.collect()
    deadline = time.monotonic() + 10
    while segments() and time.monotonic() < deadline:
        time.sleep(0.05)
        gc.collect()
    assert not segments()
    assert not [name for name in os.listdir("/dev/shm") if "plait" in name]


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(2) as pool:
        yield pool


def echo(value: Any) -> Any:
    return value


def root(array: Any) -> Any:
    while isinstance(array, np.ndarray):
        array = array.base
    return array.obj if isinstance(array, memoryview) else array


def about(array: Any) -> tuple[float, bool, str]:
    return float(array.sum()), array.flags.writeable, type(root(array)).__name__


def ones(count: int) -> Any:
    return np.ones(count)


kept: list[Any] = []


def keep(array: Any) -> int:
    kept.append(array)
    return os.getpid()


def kept_sums() -> list[float]:
    return [float(array.sum()) for array in kept]


def die_with(array: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fork_and_keep(array: Any) -> bool:
    """A child of the worker lets go of its copy; the worker's has to stay what it is."""
    pid = os.fork()
    if pid == 0:
        del array
        gc.collect()
        os._exit(0)
    os.waitpid(pid, 0)
    kept.append(array)
    return True


def test_arrays_arrive_as_views_that_cannot_be_written_to(pool: Pool) -> None:
    array = np.arange(300_000, dtype=float)
    assert pool.submit(about, array).result(SECONDS) == (array.sum(), False, "Extent")
    back = pool.submit(echo, array).result(SECONDS)
    assert (back == array).all()
    assert not back.flags.writeable
    assert isinstance(root(back), Extent)
    with pytest.raises(ValueError, match="read-only"):
        back[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        back.flags.writeable = True


def test_copies_can_be_written_to() -> None:
    with Pool(1, copy=True) as pool:
        assert pool.submit(about, np.ones(100_000)).result(SECONDS)[1]
        back = pool.submit(ones, 2_000_000).result(SECONDS)
        back += 1
        assert back.sum() == 4_000_000


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 200_000, 1_048_576, 5_000_001])
def test_values_of_any_size_and_kind_arrive_whole(pool: Pool, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    for value in (data, bytearray(data), data.decode("latin-1"), [data, {"key": data}], np.frombuffer(data, "u1")):
        back = pool.submit(echo, value).result(SECONDS)
        assert type(back) is type(value)
        assert (back == value).all() if isinstance(value, np.ndarray) else back == value


def test_what_python_makes_of_buffers(pool: Pool) -> None:
    fortran = np.asfortranarray(np.arange(60_000.0).reshape(200, 300))
    back = pool.submit(echo, {"a": fortran, "b": [fortran, fortran[:, ::2]]}).result(SECONDS)
    assert back["a"].flags.f_contiguous
    assert (back["b"][1] == fortran[:, ::2]).all()
    assert back["a"] is back["b"][0]
    view = pickle.PickleBuffer(bytearray(b"z" * 100_000))
    back = pool.submit(echo, view).result(SECONDS)
    assert bytes(back) == b"z" * 100_000
    assert pickle.loads(pickle.dumps(back)) == b"z" * 100_000


def test_many_at_once(pool: Pool) -> None:
    before = len(os.listdir("/proc/self/fd"))
    futures = [pool.submit(echo, np.full(10_000 + at, at)) for at in range(600)]
    assert len(os.listdir("/proc/self/fd")) < before + 100
    for at, future in enumerate(futures):
        back = future.result(SECONDS)
        assert len(back) == 10_000 + at
        assert back[0] == back[-1] == at


def test_results_outlive_the_pool() -> None:
    with Pool(1) as pool:
        unread = pool.submit(ones, 200_000)
        read = pool.submit(ones, 300_000).result(SECONDS)
    assert read.sum() == 300_000
    assert unread.result(SECONDS).sum() == 200_000


def test_a_view_that_is_kept_does_not_change(pool: Pool) -> None:
    results = [pool.submit(echo, np.full(50_000, float(at))).result(SECONDS) for at in range(20)]
    pids = {pool.submit(keep, np.full(50_000, float(at))).result(SECONDS) for at in range(20)}
    for _ in range(40):
        pool.submit(echo, np.full(50_000, -1.0)).result(SECONDS)
    assert [result[0] for result in results] == list(range(20))
    found = set()
    for _ in range(200):
        found.update(pool.submit(kept_sums).result(SECONDS))
        if len(found) == 20 or len(pids) == 1:
            break
    assert found <= {at * 50_000.0 for at in range(20)}


def test_who_is_killed_costs_its_own_call_only(pool: Pool) -> None:
    array = np.arange(200_000)
    for _ in range(5):
        futures = [pool.submit(echo, array + at) for at in range(10)]
        victim = pool.submit(die_with, array)
        futures += [pool.submit(echo, array + at) for at in range(10, 20)]
        with pytest.raises(WorkerDied):
            victim.result(SECONDS)
        for at, future in enumerate(futures):
            assert (future.result(SECONDS) == array + at).all()


def die_once(array: Any, marker: str) -> float:
    if not os.path.exists(marker):
        open(marker, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return float(array.sum())


def test_a_call_that_is_made_again_finds_its_arguments(tmp_path: Any) -> None:
    with Pool(1, retries=2) as pool:
        futures = [
            pool.submit(die_once, np.full(30_000, float(at)), str(tmp_path / str(at))) for at in range(4)
        ]
        assert [future.result(SECONDS) for future in futures] == [30_000.0 * at for at in range(4)]


def test_a_worker_that_forks_keeps_what_it_has(pool: Pool) -> None:
    with Pool(1) as one:
        assert one.submit(fork_and_keep, np.full(50_000, 7.0)).result(SECONDS)
        for _ in range(20):
            one.submit(echo, np.full(50_000, -1.0)).result(SECONDS)
        assert set(one.submit(kept_sums).result(SECONDS)) == {350_000.0}


def test_a_cancelled_call_gives_its_memory_back(pool: Pool) -> None:
    blockers = [pool.submit(time.sleep, 0.3) for _ in range(2)]
    waiting = [pool.submit(echo, np.ones(100_000)) for _ in range(50)]
    assert any(future.cancel() for future in waiting)
    for future in blockers:
        future.result(SECONDS)
    assert pool.submit(about, np.ones(100_000)).result(SECONDS)[0] == 100_000


def limited(size: int) -> str:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    return "x" * size


def test_a_result_that_has_no_room_is_an_error(pool: Pool) -> None:
    with pytest.raises(MemoryError, match="no shared memory for a value of"):
        pool.submit(limited, 3_000_000).result(SECONDS)
    assert pool.submit(echo, 5).result(SECONDS) == 5


FULL = """
import resource
from test_large import Pool

with Pool(1) as pool:
    pool.submit(len, b"").result(60)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    future = pool.submit(len, b"x" * 3_000_000)
    try:
        future.result(60)
    except MemoryError as error:
        print("refused:", error)
    print(pool.submit(len, b"x" * 500_000).result(60))
"""


def test_an_argument_that_has_no_room_is_an_error_of_its_future() -> None:
    command = [sys.executable, "-c", FULL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("refused: no shared memory")
    assert done.stdout.endswith("500000\n")


FEW = """
import os, resource
import numpy as np
from test_large import Pool, echo, ones

with Pool(1) as pool:
    pool.submit(echo, 1).result(60)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 4096))
    try:
        while True:
            os.dup(0)
    except OSError:
        pass
    try:
        pool.submit(echo, np.ones(100_000)).result(60)
    except OSError as error:
        print("refused:", error.errno)
    print([pool.submit(ones, size).result(60).sum() for size in (10_000, 100_000, 1_000_000)])
"""


def test_a_process_without_descriptors_receives_what_it_cannot_send() -> None:
    command = [sys.executable, "-c", FEW]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"refused: {errno.EMFILE}\n[{np.float64(1e4)!r}, {np.float64(1e5)!r}, {np.float64(1e6)!r}]\n"
