"""The suites, and the seams at which each is put on plait.

A test module is imported from the interpreter that runs it and is never changed; an adapter sets what the
module means to be set (`locktype`, `queue`) or its name for a module (`thread`), after `plait.install()` has
put plait in place of the standard library's names.
"""

import _thread
import importlib
import importlib.util
import types
import unittest

from conformance.coroutines import COROUTINES
from conformance.processes import PROCESSES
from conformance.shared import SHARED
from conformance.suite import Suite

LOCK_TESTS = "test.lock_tests"


def _from_lock_tests(case: type[unittest.TestCase]) -> bool:
    return any(base.__module__ == LOCK_TESTS for base in case.__mro__)


def _threading(module: types.ModuleType) -> None:
    """`test_threading` says which type a class of `lock_tests` tests; both RLock classes test plait's one."""
    import plait.threading as face

    for name, kind in {
        "LockTests": face.Lock,
        "PyRLockTests": face.RLock,
        "CRLockTests": face.RLock,
        "ConditionAsRLockTests": face.Condition,
    }.items():
        getattr(module, name).locktype = staticmethod(kind)
    module.EventTests.eventtype = staticmethod(face.Event)  # type: ignore[attr-defined]
    module.ConditionTests.condtype = staticmethod(face.Condition)  # type: ignore[attr-defined]
    module.SemaphoreTests.semtype = staticmethod(face.Semaphore)  # type: ignore[attr-defined]
    module.BoundedSemaphoreTests.semtype = staticmethod(face.BoundedSemaphore)  # type: ignore[attr-defined]
    module.BarrierTests.barriertype = staticmethod(face.Barrier)  # type: ignore[attr-defined]


def _low_level(module: types.ModuleType) -> None:
    """The tests of `_thread` see plait's locks in it; starting threads stays the interpreter's."""
    import plait.threading as face

    thread = types.ModuleType("_thread", _thread.__doc__)
    thread.__dict__.update(vars(_thread))
    thread.allocate_lock = thread.allocate = face.Lock  # type: ignore[attr-defined]
    thread.RLock = face.RLock  # type: ignore[attr-defined]
    thread.LockType = thread.lock = type(face.Lock())  # type: ignore[attr-defined]
    module.thread = thread  # type: ignore[attr-defined]
    if hasattr(module, "LockTests"):
        module.LockTests.locktype = staticmethod(face.Lock)
    for name in ("signalled_all", "_print_mutex"):
        if hasattr(module, name):
            setattr(module, name, face.Lock())


def _queue(module: types.ModuleType) -> None:
    """`test_queue` tests two modules, one without and one with its C part; plait has one, tested as both.

    The pure-Python SimpleQueue is private to the standard library: it stays, and runs on plait's Semaphore.
    """
    import plait.queue as face

    for case in vars(module).values():
        if isinstance(case, type) and "queue" in vars(case) and case.__name__ != "PySimpleQueueTest":
            case.queue = face  # type: ignore[attr-defined]


def _stdlib_queue(module: types.ModuleType) -> None:
    """The standard library's own Queue code, loaded under another name so that it is not replaced, on plait's locks."""
    import plait.threading as face

    found = importlib.util.find_spec("queue")
    assert found is not None
    assert found.origin is not None
    spec = importlib.util.spec_from_file_location("_queue_on_plait", found.origin)
    assert spec is not None
    assert spec.loader is not None
    queue = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(queue)
    assert queue.threading.Condition is face.Condition
    for case in vars(module).values():
        if isinstance(case, type) and "queue" in vars(case):
            case.queue = queue  # type: ignore[attr-defined]


def _futures(module: types.ModuleType) -> None:
    """The mixin's `executor_type` is what the mixin's author means it to be: the executor under test."""
    import plait.concurrent.futures as face

    util = importlib.import_module("test.test_concurrent_futures.util")
    util.ThreadPoolMixin.executor_type = face.ThreadPoolExecutor
    assert util.Future is face.Future, "plait.install() left concurrent.futures._base.Future as it was"


def _on_threads(case: type[unittest.TestCase]) -> bool:
    """Not the executors of processes and of interpreters, which are the standard library's."""
    if case.__name__ == "FailingInitializerResourcesTest":
        return False  # starts test cases of the process pool
    mixins = {base.__name__ for base in case.__mro__ if base.__name__.endswith("Mixin")}
    return "ThreadPoolMixin" in mixins or "ExecutorMixin" not in mixins


FUTURES = ("thread_pool", "future", "wait", "as_completed", "init", "shutdown")

SUITES = (  # the long ones first: two run at a time
    *PROCESSES,
    *COROUTINES,
    *SHARED,
    Suite(
        "test_concurrent_futures",
        tuple(f"test.test_concurrent_futures.test_{part}" for part in FUTURES),
        _futures,
        _on_threads,
        ("threading", "concurrent.futures"),
    ),
    Suite("test_queue", ("test.test_queue",), _queue, faces=("threading", "queue")),
    Suite("lock_tests", ("test.test_threading",), _threading, _from_lock_tests),
    Suite("test_threading", ("test.test_threading",), _threading, lambda case: not _from_lock_tests(case)),
    Suite("stdlib_queue", ("test.test_queue",), _stdlib_queue, lambda case: case.__name__.startswith("Py")),
    Suite("test_threadsignals", ("test.test_threadsignals",), _low_level),
    Suite("test_thread", ("test.test_thread",), _low_level),
)
