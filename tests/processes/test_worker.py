"""A worker process, spoken to record by record."""

import logging
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures.process import BrokenProcessPool, _RemoteTraceback

import pytest

from plait._processes.worker import TaskInterrupted
from tests.processes.ring_parent import (
    LOADS,
    LOG,
    OUTPUT,
    QUEUED,
    RESULT,
    RETIRE,
    STARTED,
    UNFIT,
    WITHDRAWN,
    Parent,
)


def add(a, b):
    return a + b


def echo(*args):
    return args


def fail(text):
    raise ValueError(text)  # the line that is shown


class BadReturn:
    def __reduce__(self):
        raise pickle.PicklingError("not me")


class BadArrival:
    def __reduce__(self):
        return fail, ("on arrival",)


def bad_return():
    return BadReturn()


def test_calls_are_answered_in_order():
    with Parent().ready() as parent:
        number = parent.function(add)
        tasks = [parent.call(number, n, n) for n in range(100)]
        for n, task in enumerate(tasks):
            result = parent.result()
            assert result.task == task
            assert struct.unpack("<Bq", result.value) == (3, 2 * n)
        assert parent.word(0, 2) == 0, "nothing runs"


def test_every_form_of_argument():
    with Parent().ready() as parent:
        number = parent.function(echo)
        parent.call(number, 1, "two", 3.0, True, None, b"six")
        assert parent.value() == (1, "two", 3.0, True, None, b"six")
        parent.call(number, [1], {"a": 2})
        assert parent.value() == ([1], {"a": 2})
        parent.call("x".join, ["a", "b"])
        assert parent.value() == "axb"
        parent.call(lambda: add(1, 2))
        assert parent.value() == 3


def test_a_withdrawn_record_is_passed_by():
    with Parent().ready() as parent:
        number = parent.function(echo)
        parent.call(number, 1, state=WITHDRAWN)
        parent.call(number, 2)
        assert parent.value() == (2,)
        # The slot has a later record's word already.
        parent.sequence += 1
        parent.slot(parent.sequence + 512, QUEUED)
        parent.push(1, struct.pack("<QIIBBH", 9, parent.sequence, number, 0, 0, 0) + bytes(4))
        parent.call(number, 3)
        assert parent.value() == (3,)


def test_it_says_when_it_starts_if_asked():
    with Parent().ready() as parent:
        task = parent.call(parent.function(echo), flags=1)
        assert parent.pop() == (LOADS, struct.pack("<Q", task))
        assert parent.pop() == (STARTED, struct.pack("<Q", task))
        assert parent.value() == ()
        task = parent.call(1, 2, flags=1)
        assert parent.pop() == (STARTED, struct.pack("<Q", task))
        assert parent.value() == (2,)
        task = parent.call(1, object, flags=1)
        assert parent.pop() == (LOADS, struct.pack("<Q", task))
        assert parent.pop() == (STARTED, struct.pack("<Q", task))
        assert parent.result().how == 0


def test_what_a_call_raises_has_its_traceback_as_cause():
    with Parent().ready() as parent:
        parent.call(parent.function(fail), "text")
        with pytest.raises(ValueError, match="text") as caught:
            parent.value()
        assert type(caught.value.__cause__) is _RemoteTraceback
        assert "# the line that is shown" in caught.value.__cause__.tb
        parent.call(os.getpid)
        assert parent.value() == parent.process.pid


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_call_that_wants_to_end_the_process_has_raised(kind):
    def end():
        raise kind(3)

    with Parent().ready() as parent:
        parent.call(end)
        with pytest.raises(kind):
            parent.value()
        parent.call(echo, 1)
        assert parent.value() == (1,)


def test_a_result_without_a_pickle_is_that_calls_error():
    with Parent().ready() as parent:
        parent.call(bad_return)
        with pytest.raises(pickle.PicklingError, match="not me"):
            parent.value()
        parent.call(threading.Lock)
        with pytest.raises(TypeError, match="cannot pickle"):
            parent.value()
        parent.call(echo, 1)
        assert parent.value() == (1,)


def test_a_call_that_cannot_be_unpickled_is_broken():
    with Parent().ready() as parent:
        parent.call(echo, BadArrival())
        with pytest.raises(BrokenProcessPool, match="ValueError: on arrival"):
            parent.value()
        parent.call(77, 1)
        with pytest.raises(BrokenProcessPool, match="not sent"):
            parent.value()


def test_a_death_shows_what_ran():
    with Parent().ready() as parent:
        task = parent.call(os._exit, 7)
        with pytest.raises(EOFError):
            parent.pop()
        assert parent.process.returncode == 7
        assert parent.word(0, 2) == task


def test_a_crash_is_described_on_stderr():
    with Parent().ready() as parent:
        parent.call(crash)
        with pytest.raises(EOFError):
            parent.pop()
        assert parent.process.wait() == -signal.SIGSEGV
        assert b"Segmentation fault" in parent.process.stderr.read()


def crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def printing():
    print("one", 1)
    print("err", file=sys.stderr)
    print("no end", end="")
    logging.getLogger("a.b").warning("seen %s", "it", extra={"more": 1})
    return 5


def test_what_is_printed_and_logged_comes_in_order_before_the_result():
    with Parent().ready() as parent:
        parent.call(printing)
        assert parent.pop() == (OUTPUT, b"\1one 1\n")
        assert parent.pop() == (OUTPUT, b"\2err\n")
        assert parent.pop() == (OUTPUT, b"\1no end")
        kind, body = parent.pop()
        record = pickle.loads(body)
        assert kind == LOG
        assert (record.name, record.msg, record.args, record.more) == ("a.b", "seen it", None, 1)
        assert parent.value() == 5


def test_what_is_printed_beyond_the_rings_room_waits_for_it():
    with Parent().ready() as parent:
        parent.call(lambda: print("\N{SNOWMAN}" * 200_000))
        got = b""
        while not got.endswith(b"\n"):
            kind, body = parent.pop()
            assert kind == OUTPUT
            got += body[1:]
            body[1:].decode()
        assert got.decode() == "\N{SNOWMAN}" * 200_000 + "\n"
        assert parent.value() is None


def test_an_initializer_is_called_first_and_a_finalizer_last():
    with Parent(initializer=print, initargs=("first",), finalizer=print, finargs=("last",)) as parent:
        assert parent.pop() == (OUTPUT, b"\1first\n")
        parent.ready()
        parent.push(RETIRE, b"")
        assert parent.pop() == (OUTPUT, b"\1last\n")
        assert parent.process.wait(20) == 0


def test_an_initializer_that_fails_makes_it_unfit():
    with Parent(initializer=fail, initargs=("no good",)) as parent:
        kind, body = parent.pop()
        assert kind == LOG
        assert "no good" in pickle.loads(body).exc_text
        kind, body = parent.pop()
        assert kind == UNFIT
        error = pickle.loads(body[1:])
        assert type(error) is ValueError
        assert error.args == ("no good",)
        assert parent.process.wait(20) == 1


def test_it_ends_when_the_link_does_whatever_it_is_doing():
    with Parent().ready() as parent:
        parent.call(parent.function(time.sleep), 100)
        while not parent.word(0, 2):
            time.sleep(0.01)
        parent.link.close()
        assert parent.process.wait(20) == 1
    with Parent().ready() as parent:
        parent.link.close()
        assert parent.process.wait(20) == 1


def interrupt(parent, task):
    struct.pack_into("<Q", parent.maps[2], 64, task)
    os.kill(parent.process.pid, signal.SIGRTMIN + 5)


def test_the_call_that_is_named_is_interrupted_and_no_other():
    with Parent().ready() as parent:
        number = parent.function(time.sleep)
        task = parent.call(number, 100)
        while parent.word(0, 2) != task:
            time.sleep(0.01)
        interrupt(parent, task + 1)
        interrupt(parent, task)
        with pytest.raises(TaskInterrupted):
            parent.value()
        parent.call(number, 0.05)
        interrupt(parent, task)
        assert parent.value() is None
        interrupt(parent, 0)
        parent.call(number, 0.05)
        assert parent.value() is None


def forking():
    pid = os.fork()
    if pid == 0:
        print("from the child")
        return "child"
    return os.waitpid(pid, 0)[1]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_write_into_the_ring():
    with Parent().ready() as parent:
        parent.call(forking)
        assert parent.value() == 0
        parent.call(echo, 1)
        assert parent.value() == (1,)


def nested():
    code = "print('inner')"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20).stdout


def test_programs_that_a_call_starts_have_streams_of_their_own():
    with Parent().ready() as parent:
        parent.call(nested)
        assert parent.value() == "inner\n"


def spend():
    data = bytearray(64 << 20)
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    return len(data)


def test_what_a_call_took():
    with Parent().ready() as parent:
        parent.call(spend)
        spent = parent.result()
        parent.call(time.sleep, 0.05)
        slept = parent.result()
        parent.call(parent.function(echo))
        short = parent.result()
        assert spent.took >= spent.cpu * 0.9 >= 40_000_000
        assert spent.peak > 64 << 10
        assert slept.took >= 50_000_000 > 5 * slept.cpu
        # Two clocks, read one after the other.
        assert short.cpu * 0.9 - 10_000 <= short.took < 50_000_000
        # Nobody looks how much memory a short call took; where others had the processor, it was none.
        assert short.peak == 0 or short.took >= 1_000_000


def test_many_calls_fill_the_ring_upward():
    with Parent().ready() as parent:
        number = parent.function(echo)
        for _ in range(60):
            parent.call(number, "x" * 9000)
            if parent.tail - parent.word(64) > 200_000:
                assert parent.pop().kind == RESULT
