"""Futures, `wait` and `as_completed`: what CPython's own suites leave out."""

import concurrent.futures as stdlib
import contextlib
import gc
import logging
import sys
import threading
import time
import weakref

import pytest

import plait
import plait.concurrent.futures as face
from blocked import PATIENCE, Background, alarm_after, outcome, until
from plait.concurrent.futures import (
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    CancelledError,
    Future,
    InvalidStateError,
    as_completed,
    wait,
)

STATES = ("pending", "running", "cancelled", "noticed", "result", "error")


def made(kind, state):
    """A future of either library in some state."""
    future = kind()
    if state in ("running", "result", "error"):
        future.set_running_or_notify_cancel()
    if state in ("cancelled", "noticed"):
        future.cancel()
    if state == "noticed":
        future.set_running_or_notify_cancel()
    if state == "result":
        future.set_result(42)
    if state == "error":
        future.set_exception(OSError("no"))
    return future


def shown(future):
    """The repr without the address."""
    return repr(future).replace(hex(id(future)), "0x0")


# --- side by side with the standard library ---------------------------------------------------------

CALLS = {
    "result": lambda f: f.result(0),
    "result_negative": lambda f: f.result(-1),
    "result_odd": lambda f: f.result("soon"),
    "exception": lambda f: repr(f.exception(timeout=0)),
    "done": lambda f: f.done(),
    "running": lambda f: f.running(),
    "cancelled": lambda f: f.cancelled(),
    "cancel": lambda f: (f.cancel(), f._state),
    "start": lambda f: (f.set_running_or_notify_cancel(), f._state),
    "set_result": lambda f: (f.set_result(result=5), f._state, f._result, f._exception),
    "set_exception": lambda f: (f.set_exception(ValueError()), f._state, f._result, repr(f._exception)),
    "set_exception_class": lambda f: (f.set_exception(ValueError), f.result()),
    "set_exception_none": lambda f: (f.set_exception(None), f.result(), f.exception()),
    "repr": shown,
    "too_many": lambda f: f.result(1, 2),
    "no_such_keyword": lambda f: f.result(time=1),
}


@pytest.mark.parametrize("reached_for", ["nothing", "_condition"])
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("call", CALLS)
def test_each_call_in_each_state_ends_as_in_the_standard_library(call, state, reached_for):
    ends = []
    for kind in (stdlib.Future, Future):
        future = made(kind, state)
        getattr(future, reached_for, None)
        kind_of_end, text = outcome(lambda future=future: CALLS[call](future))
        ends.append((kind_of_end, text.replace(hex(id(future)), "0x0")))
    assert ends[1] == ends[0]


def test_a_future_is_one_of_the_standard_library_and_takes_no_arguments():
    assert isinstance(Future(), stdlib.Future)
    assert issubclass(Future, stdlib.Future)
    with pytest.raises(TypeError):
        Future(1)
    assert Future[int] is not None
    with plait.installed():
        assert stdlib.Future is Future
        old = object.__new__(face._StdlibFuture)
        assert isinstance(old, stdlib.Future), "a future made before install() is one after it"


def test_every_public_name_is_there():
    assert set(stdlib.__all__) <= set(face.__all__)
    for name in face.__all__:
        assert getattr(face, name) is not None


def test_subclasses_have_constructors_and_attributes_of_their_own():
    class Named(Future):
        def __init__(self, name):
            super().__init__()
            self.name = name

    future = Named("x")
    future.set_result(1)
    assert (future.name, future.result()) == ("x", 1)


# --- callbacks --------------------------------------------------------------------------------------


def test_callbacks_run_in_order_and_what_they_raise_is_logged(caplog):
    future, seen = Future(), []
    future.add_done_callback(lambda f: seen.append((1, f.result())))
    future.add_done_callback(lambda f: 1 / 0)
    future.add_done_callback(fn=lambda f: seen.append((2, f.result())))
    with caplog.at_level(logging.ERROR, "concurrent.futures"):
        future.set_result("x")
        future.add_done_callback(lambda f: 1 / 0)
    assert seen == [(1, "x"), (2, "x")]
    assert [record.getMessage() for record in caplog.records] == [f"exception calling callback for {future!r}"] * 2
    assert all(record.exc_info[0] is ZeroDivisionError for record in caplog.records)


def test_a_callback_that_exits_ends_set_result():
    future = Future()
    future.add_done_callback(lambda f: sys.exit(3))
    with pytest.raises(SystemExit):
        future.set_result(1)
    assert future.result() == 1


def test_a_callback_may_use_its_own_future():
    future, seen = Future(), []
    future.add_done_callback(lambda f: f.add_done_callback(lambda g: seen.append(g.result(0))))
    future.set_result(7)
    assert seen == [7]


def test_a_cycle_through_callbacks_and_results_is_collected():
    class Thing:
        pass

    def cycle():
        thing = Thing()
        thing.future = Future()
        thing.future.add_done_callback(lambda f, thing=thing: thing)
        thing.done = Future()
        thing.done.set_result((thing, thing.done))
        thing.failed = Future()
        error = ValueError()
        error.thing = thing
        thing.failed.set_exception(error)
        thing.private = Future()
        thing.private._done_callbacks.append(lambda f, thing=thing: thing)
        return weakref.ref(thing)

    gone = cycle()
    gc.collect()
    gc.collect()  # free-threaded builds may need a second round
    assert gone() is None


def test_raising_the_result_leaves_no_cycle():
    future = Future()
    future.set_exception(ValueError("x"))
    with contextlib.suppress(ValueError):
        future.result()
    gone = weakref.ref(future)
    gc.disable()
    try:
        del future
        assert gone() is None
    finally:
        gc.enable()


def test_a_finished_future_is_smaller_than_the_standard_librarys():
    def size(future):
        seen, todo, total = {id(type(future))}, [future], 0
        while todo:
            thing = todo.pop()
            if id(thing) in seen or isinstance(thing, type) or thing in (None, 42):
                continue
            seen.add(id(thing))
            total += sys.getsizeof(thing)
            todo += [x for x in gc.get_referents(thing) if not callable(x)]
        return total

    assert size(made(Future, "result")) <= size(made(stdlib.Future, "result"))


# --- waiting for the result -------------------------------------------------------------------------


@pytest.mark.parametrize("reached_for", ["nothing", "_condition"])
def test_a_waiting_thread_gets_the_result(reached_for):
    future = Future()
    waiter = Background(future.result)
    getattr(future, reached_for, None)
    future.set_result("there")
    assert waiter.result() == ("returns", "'there'")


def test_threads_that_wait_already_follow_code_that_takes_the_condition():
    future = Future()
    waiters = [Background(lambda: future.result(PATIENCE)) for _ in range(3)]
    collected = Background(lambda: sorted(f.result() for f in wait([future])[0]))
    with future._condition:
        future._state = "FINISHED"
        future._result = 5
        for waiter in future._waiters:
            waiter.add_result(future)
        future._condition.notify_all()
    assert [waiter.result() for waiter in waiters] == [("returns", "5")] * 3
    assert collected.result() == ("returns", "[5]")


@pytest.mark.parametrize(
    "call", [Future.result, Future.exception, lambda f: wait([f]), lambda f: list(as_completed([f]))]
)
def test_ctrl_c_ends_the_wait_and_the_future_stays_usable(call):
    future = Future()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), alarm_after(0.05):
        call(future)
    assert time.monotonic() - start < PATIENCE
    future.set_result(1)
    assert future.result() == 1
    assert wait([future]).done == {future}


def test_a_result_is_delivered_once_however_many_race():
    for _ in range(50):
        future, gate = Future(), threading.Barrier(3)

        def give(value, future=future, gate=gate):
            gate.wait()
            future.set_result(value)
            return value

        racers = [Background(lambda value=value: give(value)) for value in range(2)]
        gate.wait()
        ends = [racer.result() for racer in racers]
        assert sorted(end[0] for end in ends) == ["InvalidStateError", "returns"]
        assert ("returns", repr(future.result())) in ends


# --- wait and as_completed --------------------------------------------------------------------------


def test_wait_takes_futures_of_both_libraries():
    mine, theirs, stays = Future(), stdlib.Future(), stdlib.Future()
    waiter = Background(lambda: wait([mine, theirs, mine], timeout=PATIENCE).not_done)
    theirs.set_result(1)
    mine.set_result(2)
    assert waiter.result() == ("returns", "set()")
    assert wait([mine, stays], return_when=FIRST_COMPLETED) == ({mine}, {stays})
    failing = Future()
    waiter = Background(lambda: len(wait([failing, stays], return_when=FIRST_EXCEPTION).done))
    failing.set_exception(OSError())
    assert waiter.result() == ("returns", "1")
    assert stays._waiters == [], "nothing is left behind in the other's list"


def test_the_standard_librarys_wait_takes_plaits_futures():
    mine, theirs = Future(), stdlib.Future()
    waiter = Background(lambda: len(stdlib.wait([mine, theirs], timeout=PATIENCE).done))
    theirs.set_result(1)
    mine.set_result(2)
    assert waiter.result() == ("returns", "2")
    assert list(stdlib.as_completed([mine])) == [mine]


def test_as_completed_gives_what_is_done_first_and_the_rest_in_order():
    futures = [Future(), stdlib.Future(), Future(), Future()]
    futures[2].set_result(2)
    results = as_completed(futures, timeout=PATIENCE)
    assert next(results) is futures[2]
    for index in (1, 0, 3):
        futures[index].set_result(index)
    assert list(results) == [futures[1], futures[0], futures[3]]


def test_as_completed_says_how_many_are_unfinished():
    ends = []
    for library, kind in ((stdlib, stdlib.Future), (face, Future)):
        futures = [made(kind, "result"), kind(), kind()]
        ends.append(outcome(lambda library=library, futures=futures: list(library.as_completed(futures, timeout=0.01))))
    assert ends[0] == ends[1] == ("TimeoutError", "2 (of 3) futures unfinished")


def test_as_completed_that_is_left_early_leaves_nothing_behind():
    future, other = Future(), stdlib.Future()
    other.set_result(1)
    results = as_completed([future, other])
    assert next(results) is other
    results.close()
    assert other._waiters == []
    before = sys.getrefcount(future)
    with contextlib.closing(as_completed([future], timeout=0)) as results, pytest.raises(TimeoutError):
        next(results)
    assert sys.getrefcount(future) == before


@pytest.mark.parametrize("timeout", [0, -1, None, float("nan"), "soon", 10**10])
def test_wait_takes_the_timeouts_of_the_standard_library(timeout):
    ends = []
    for library, kind in ((stdlib, stdlib.Future), (face, Future)):
        future = kind()
        if timeout is None:
            future.set_result(1)
        ends.append(outcome(lambda library=library, f=future: [len(s) for s in library.wait([f], timeout)]))
    assert ends[0] == ends[1]


def test_wait_says_what_is_wrong():
    with pytest.raises(ValueError, match="Invalid return condition: 'SOON'"):
        wait([Future()], return_when="SOON")
    with pytest.raises(AttributeError):
        wait([3])


def test_a_cancelled_future_raises_and_refuses_a_result():
    future = Future()
    waiter = Background(future.result)
    assert future.cancel()
    assert future.cancel()
    assert waiter.result()[0] == "CancelledError"
    with pytest.raises(CancelledError):
        future.exception()
    with pytest.raises(InvalidStateError, match="CANCELLED: "):
        future.set_result(1)
    until(future.done)
