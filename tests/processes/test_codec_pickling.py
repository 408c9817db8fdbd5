"""Objects on their way to other processes: what pickle does alone, what goes by value, what an exception keeps."""

import multiprocessing
import pickle
import subprocess
import sys
import textwrap
import threading
from concurrent.futures.process import _RemoteTraceback
from pathlib import Path

import pytest

from plait._processes.pickling import dumps, dumps_exception, dumps_function, loads, whole

COUNTER = 0
LOCK = threading.Lock()  # cannot be pickled


def count(n):
    global COUNTER
    COUNTER += n
    return COUNTER


def test_what_pickle_knows_is_left_to_it():
    value = {"a": [1, 2.5, None], "f": count, "c": Path("x")}
    data, buffers = dumps(value)
    assert not buffers
    assert data == pickle.dumps(value, 5)
    assert loads(data) == value


def test_buffers_from_64_kib_on_lie_beside_the_pickle():
    small, large = pickle.PickleBuffer(bytearray(1000)), pickle.PickleBuffer(bytearray(b"x" * 65536))
    data, buffers = dumps([small, large])
    assert [buffer.raw().nbytes for buffer in buffers] == [65536]
    assert len(data) < 1200
    got = loads(data, buffers=[memoryview(buffer.raw()).toreadonly() for buffer in buffers])
    assert got[1].readonly
    assert bytes(got[1]) == b"x" * 65536
    assert len(whole([small, large])) > 66000


def test_a_lambda_has_the_globals_of_its_module_when_that_can_be_imported():
    got = loads(dumps_function(lambda n: (LOCK, count(n))))
    before = COUNTER
    assert got(1) == (LOCK, before + 1)
    assert before + 1 == COUNTER


def test_a_closure_by_value():
    def outer(a, *, b=2):
        def inner(c):
            return a, b, c

        return inner

    assert loads(dumps_function(outer(1)))(3) == (1, 2, 3)


def test_what_cannot_be_pickled_is_said_in_the_words_of_pickle():
    with pytest.raises(TypeError, match=r"cannot pickle '_thread.lock' object"):
        dumps(threading.Lock())
    # What multiprocessing does not send otherwise.
    with pytest.raises(RuntimeError, match="inheritance"):
        dumps(multiprocessing.get_context("spawn").Lock())


def test_reducers_of_multiprocessing_and_of_copyreg_are_asked():
    one, other = multiprocessing.Pipe()
    with one, other:
        # A connection is sent by a server that hands out its descriptor.
        data, _ = dumps(one)
        assert b"rebuild_connection" in data


class TwoArguments(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")
        self.both = a, b


class Unsendable(Exception):
    def __reduce__(self):
        raise pickle.PicklingError("no way")


def raised(error):
    try:
        raise error  # some comment
    except Exception as caught:
        return loads(dumps_exception(caught))


def test_an_exception_brings_its_traceback_as_its_cause():
    error = ValueError(1)
    error.add_note("noted")
    got = raised(error)
    assert type(got) is ValueError
    assert got.args == (1,)
    assert got.__notes__ == ["noted"]
    assert type(got.__cause__) is _RemoteTraceback
    assert "raise error  # some comment" in got.__cause__.tb


def test_an_exception_whose_class_is_not_called_with_its_args():
    got = raised(TwoArguments(1, 2))
    assert type(got) is TwoArguments
    assert got.both == (1, 2)
    assert str(got) == "1 and 2"


def test_an_exception_that_cannot_be_pickled_is_replaced_by_what_pickle_says():
    got = raised(Unsendable("original"))
    assert type(got) is pickle.PicklingError
    assert got.args == ("no way",)
    assert "original" in got.__cause__.tb
    assert "cannot be sent" in got.__cause__.tb


MAIN = """
import subprocess, sys
from plait._processes.pickling import dumps, dumps_function, loads

CONFIG = None
TABLE = {"a": 1}

class Point:
    def __init__(self, x):
        self.x = x
    def __eq__(self, other):
        return type(other) is Point and other.x == self.x

class Wrong(Exception):
    pass

def init(value):
    global CONFIG
    CONFIG = value

def task(point):
    if point.x < 0:
        raise Wrong(point)
    return CONFIG, len(TABLE), Point(point.x + 1), type(point) is Point

worker = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

def call(function, *args):
    data = dumps((dumps_function(function), args))[0]
    worker.stdin.write(len(data).to_bytes(4, "little") + data)
    worker.stdin.flush()
    return loads(worker.stdout.read(int.from_bytes(worker.stdout.read(4), "little")))

assert call(init, 5) is None
assert call(task, Point(1)) == (5, 1, Point(2), True)
TABLE["b"] = 2
# What an initializer has bound stays; what only came is what came last.
assert call(task, Point(1)) == (5, 2, Point(2), True)
error = call(task, Point(-1))
assert type(error) is Wrong and error.args == (Point(-1),), error
assert call(lambda: (CONFIG, Point(0))) == (5, Point(0))
inner = call(lambda n: lambda m: (n, m, Point(m)), 1)
assert inner(2) == (1, 2, Point(2))
worker.stdin.close()
assert worker.wait() == 0
"""

WORKER = """
import sys
from plait._processes.pickling import dumps, dumps_exception, loads

while head := sys.stdin.buffer.read(4):
    function, args = loads(sys.stdin.buffer.read(int.from_bytes(head, "little")))
    try:
        data, _ = dumps(loads(function)(*args), by_value=False)
    except Exception as error:
        data = dumps_exception(error)
    sys.stdout.buffer.write(len(data).to_bytes(4, "little") + data)
    sys.stdout.flush()
"""


def test_what_main_defines_lives_in_one_namespace_in_the_worker(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(MAIN))
    done = subprocess.run([sys.executable, str(program), WORKER], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
