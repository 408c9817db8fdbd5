"""numpy's arrays in shared memory: what is written in one process is seen in the others, and nothing is left behind."""

import copy
import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from plait.concurrent.futures import ProcessPoolExecutor
from plait.multiprocessing import _blocks, arrays, sharedctypes
from plait.multiprocessing.arrays import shared_array

np = pytest.importorskip("numpy")

METHODS = ("fork", "forkserver", "spawn")


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    yield
    gc.collect()
    _blocks._forget()
    if "multiprocessing.forkserver" not in sys.modules:
        assert len(os.listdir("/proc/self/fd")) == before
    assert not [name for name in os.listdir("/dev/shm") if "plait" in name]


def add(array: Any, number: float) -> None:
    array += number


@pytest.mark.parametrize("method", METHODS)
def test_a_child_writes_into_it(method: str) -> None:
    array = shared_array((3, 4), "i4")
    view = array[1:, ::2]
    process = multiprocessing.get_context(method).Process(target=add, args=(view, 5))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert array.tolist() == [[0, 0, 0, 0], [5, 0, 5, 0], [5, 0, 5, 0]]


def test_views_are_shared_and_what_is_computed_is_not() -> None:
    array = shared_array(6)
    for view in (array[1:4], array.reshape(2, 3), array.reshape(2, 3).T, array[::-1], array.view("i8")):
        assert type(view) is arrays.SharedArray
        again = pickle.loads(pickle.dumps(view))
        assert np.shares_memory(again, array)
        assert again.strides == view.strides
        view[:1] = 7
        assert (again == view).all()
        view[:] = 0
    for computed in (array + 1, np.add(array, array), array == 0):
        assert type(computed) is np.ndarray
    assert type(array.sum()) is np.float64
    for other in (copy.copy(array), copy.deepcopy(array), array.copy(), array[[1, 2]]):
        other += 1
        assert not np.shares_memory(other, array)
        assert type(pickle.loads(pickle.dumps(other))) is np.ndarray
    assert array.sum() == 0
    array.flags.writeable = False
    assert not pickle.loads(pickle.dumps(array)).flags.writeable


def test_shapes_types_and_orders() -> None:
    assert shared_array(3).dtype == float
    assert shared_array((2, 3), complex, "F").flags.f_contiguous
    assert shared_array(()).shape == ()
    assert pickle.loads(pickle.dumps(shared_array((0, 4)))).shape == (0, 4)
    table = shared_array(2, [("name", "S8"), ("number", "f4")])
    table["number"][1] = 2.5
    assert pickle.loads(pickle.dumps(table))[1]["number"] == 2.5
    with pytest.raises(ValueError, match="negative"):
        shared_array((3, -1))
    with pytest.raises(ValueError, match="objects"):
        shared_array(3, object)
    with pytest.raises(MemoryError):
        shared_array(1 << 50)


def test_it_is_kept_until_it_has_arrived() -> None:
    array = shared_array(1000)
    array[:] = 3
    sent = pickle.dumps(array)
    del array
    gc.collect()
    arrived = pickle.loads(sent)
    assert arrived.sum() == 3000
    del arrived
    gc.collect()
    _blocks._forget()
    with pytest.raises(OSError, match="gone|another file"):
        pickle.loads(sent)


def test_the_number_of_a_descriptor_that_is_another_s_by_now() -> None:
    array = shared_array(10)
    sent = pickle.dumps(array)
    pickle.loads(sent)
    number = array._block.fileno()
    del array
    gc.collect()
    _blocks._forget()
    others = [shared_array(10) for _ in range(3)]
    assert number in [other._block.fileno() for other in others]
    with pytest.raises(OSError, match="another file"):
        pickle.loads(sent)


LOADS = """
import pickle, sys
array = pickle.load(sys.stdin.buffer)
array[2] = array[1] * 2
"""


def test_a_process_that_is_no_child_of_multiprocessing_finds_it() -> None:
    array = shared_array(4)
    array[1] = 21
    done = subprocess.run([sys.executable, "-c", LOADS], input=pickle.dumps(array), timeout=60, check=True)
    assert done.returncode == 0
    assert array[2] == 42


FULL = """
import resource
from plait.multiprocessing.arrays import shared_array
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
shared_array(1000)
try:
    shared_array(1 << 20)
except MemoryError as error:
    print("refused:", error)
"""


def test_an_array_that_may_not_be_is_an_error_and_not_a_signal() -> None:
    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("refused: no shared memory for 8388608 bytes")


KILLED = """
import os, signal
from plait.multiprocessing.arrays import shared_array
array = shared_array(1 << 20)
array[:] = 1
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_who_is_killed_leaves_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", KILLED], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL


def set_up(array: Any, value: Any) -> None:
    globals()["given"] = (array, value)


def count() -> float:
    array, value = globals()["given"]
    with value.get_lock():
        value.value += 1
        array[1] += 2
    return float(array[1])


def made(number: float) -> Any:
    array = shared_array(1000)
    array[:] = number
    return array


def test_pools_take_them_as_arguments_and_give_them_back() -> None:
    array, value = shared_array(10), sharedctypes.Value("i")
    with ProcessPoolExecutor(2, initializer=set_up, initargs=(array, value)) as pool:
        for future in [pool.submit(add, array[3:], 1) for _ in range(20)]:
            future.result(60)
        for future in [pool.submit(count) for _ in range(20)]:
            future.result(60)
        results = [pool.submit(made, at).result(60) for at in range(3)]
        assert all(type(result) is arrays.SharedArray for result in results)
        assert [result.sum() for result in results] == [0, 1000, 2000]
    assert array[1] == 40
    assert value.value == 20
    # Nothing locks what the workers add.
    assert 1 <= array[3] <= 20
