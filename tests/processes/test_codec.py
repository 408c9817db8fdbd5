"""What travels without pickle: arrays and small containers, through pools and queues, as pickle would bring them."""

import copyreg
from multiprocessing.reduction import ForkingPickler
from typing import Any

import pytest

from plait.concurrent.futures import ProcessPoolExecutor
from plait.multiprocessing import Queue

np = pytest.importorskip("numpy")


def echo(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def same(value: Any) -> Any:
    return value


def is_one(first: Any, second: Any) -> bool:
    return first is second


def told(array: Any) -> tuple[Any, ...]:
    return array.dtype.str, array.shape, array.flags.writeable, array.flags.c_contiguous, array.tobytes()


LETTERS = "?bBhHiIlLqQefdgFDG"
ARRAYS = [
    *(np.arange(6).astype(letter) for letter in LETTERS),
    np.ones((2, 3, 4), dtype="f4"),
    np.array(5.0),
    np.ones(60_000, dtype="u1"),
    np.ones((100, 200)),
    np.arange(24)[::2],
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.empty((0, 3)),
    np.arange(3, dtype=">i4"),
    np.array(["a", "bc"]),
    np.array([1, "x", None], dtype=object),
    np.array(["2026-11-22"], dtype="M8[D]"),
    np.zeros(2, dtype=[("a", "i4"), ("b", "f8")]),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_an_array_arrives_as_it_was(pool: ProcessPoolExecutor, array: Any):
    future = pool.submit(told, array)
    if array.dtype == object:
        assert pool.submit(same, array).result().tolist() == array.tolist()
        return
    large = array.nbytes >= 1 << 16
    kind, shape, writable, _, data = future.result()
    assert (kind, shape, data) == (array.dtype.str, array.shape, array.tobytes())
    assert writable is not large
    back = pool.submit(same, array).result()
    assert type(back) is np.ndarray
    assert back.dtype == array.dtype
    assert back.flags.writeable is not large
    assert np.array_equal(back, array)


def test_an_array_that_cannot_be_written_to_stays_so(pool: ProcessPoolExecutor):
    array = np.arange(3)
    array.flags.writeable = False
    assert told(array) == pool.submit(told, array).result()
    assert not pool.submit(same, array).result().flags.writeable


def test_large_arrays_among_other_arguments():
    arrays = [np.full(100_000, number, dtype="u2") for number in range(3)]
    with ProcessPoolExecutor(1) as views, ProcessPoolExecutor(1, copy=True) as copies:
        for pool in (views, copies):
            args, kwargs = pool.submit(echo, arrays[0], "x", [arrays[1], 2], key={"a": arrays[2]}).result()
            found = [args[0], args[2][0], kwargs["key"]["a"]]
            assert all(map(np.array_equal, found, arrays))
            assert (args[1], args[2][1]) == ("x", 2)
            assert {array.flags.writeable for array in found} == {pool is copies}


def test_metadata_and_subclasses_are_for_pickle(pool: ProcessPoolExecutor):
    noted = np.zeros(2, dtype=np.dtype("i4", metadata={"a": 1}))
    assert pool.submit(same, noted).result().dtype.metadata == {"a": 1}
    assert type(pool.submit(same, np.ma.array([1, 2])).result()) is np.ma.MaskedArray


def test_what_is_one_object_stays_one(pool: ProcessPoolExecutor):
    one, array = [1], np.arange(3)
    assert pool.submit(is_one, one, one).result()
    assert pool.submit(is_one, array, array).result()
    back = pool.submit(same, [one, one]).result()
    assert back[0] is back[1]
    cycle: list[Any] = [1]
    cycle.append(cycle)
    back = pool.submit(same, cycle).result()
    assert back[1] is back


def reduced(array: Any) -> Any:
    return str, (f"reduced {array.size}",)


def test_a_reducer_of_the_program_is_asked(pool: ProcessPoolExecutor):
    copyreg.pickle(np.ndarray, reduced)
    try:
        assert pool.submit(same, np.arange(3)).result() == "reduced 3"
    finally:
        del copyreg.dispatch_table[np.ndarray]
    assert told(pool.submit(same, np.arange(3)).result()) == told(np.arange(3))


class Both:
    """Two arrays in an object that needs pickle."""

    def __init__(self) -> None:
        self.small, self.large = np.arange(3), np.full(100_000, 7, dtype="u1")


def test_buffers_in_an_object(pool: ProcessPoolExecutor):
    for value in (Both(), pool.submit(same, Both()).result()):
        back = pool.submit(same, value).result()
        assert np.array_equal(back.small, value.small)
        assert np.array_equal(back.large, value.large)
        assert back.small.flags.writeable
        assert not back.large.flags.writeable


class Reluctant:
    """Counts how often it is pickled, and raises what it was given."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.asked = 0

    def __reduce__(self) -> Any:
        self.asked += 1
        raise self.error


def test_what_a_reducer_raises_is_the_calls_and_it_is_asked_once(pool: ProcessPoolExecutor):
    reluctant = Reluctant(ValueError("not now"))
    with pytest.raises(ValueError, match="not now"):
        pool.submit(same, reluctant).result()
    assert reluctant.asked == 1
    with pytest.raises(TypeError, match="never"):
        pool.submit(same, Reluctant(TypeError("never"))).result()
    assert pool.submit(same, lambda: 5).result()() == 5


def test_a_reducer_for_multiprocessing_is_asked(pool: ProcessPoolExecutor):
    ForkingPickler.register(Reluctant, lambda reluctant: (str, ("reduced",)))
    try:
        assert pool.submit(same, [Reluctant(ValueError())]).result() == ["reduced"]
    finally:
        del ForkingPickler._extra_reducers[Reluctant]


VALUES = [
    ((), [], {}),
    (1, [2.0, {"three": b"4", 5: None}], (True, "\u0416", "\udc80")),
    {(1, 2): "a key that is a container", "long": list(range(1000))},
    [2**70, {1, 2}, frozenset(), 1j],
    ["x" * 50_000, "y" * 50_000],
]


@pytest.mark.parametrize("value", VALUES)
def test_containers(pool: ProcessPoolExecutor, value: Any):
    args, kwargs = pool.submit(echo, value, key=value).result()
    assert repr((args, kwargs)) == repr(((value,), {"key": value}))
    queue = Queue()
    queue.put(value)
    assert repr(queue.get()) == repr(value)
    queue.close()


def test_arrays_through_a_queue():
    queue = Queue()
    for array in ARRAYS:
        queue.put(array)
        back = queue.get()
        # Up to 3.13 the default protocol of pickle has numpy swap foreign bytes.
        assert told(back)[:2] == told(ForkingPickler.loads(ForkingPickler.dumps(array)))[:2]
        assert back.flags.writeable
        assert back.tolist() == array.tolist()
    queue.close()
