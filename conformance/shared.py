"""The suites of `_test_multiprocessing` for what processes share, for each start method.

The classes of `multiprocessing.synchronize` and `multiprocessing.queues`, and what makes values and arrays, become
plait's, so every context makes those; and the names that the tests have copied before (`ProcessesMixin`) are set again.
"""

import importlib
import multiprocessing
import multiprocessing.queues
import multiprocessing.sharedctypes
import multiprocessing.synchronize
import types
import unittest

from conformance.suite import Suite

METHODS = ("fork", "forkserver", "spawn")
LOCKS = ("Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event", "Barrier")
QUEUES = ("Queue", "JoinableQueue", "SimpleQueue")
CTYPES = ("Value", "Array", "RawValue", "RawArray", "copy")

# `_TestProcess` is here because its tests hand locks, events and queues to children of every kind.
NAMES = ("Queue", "Lock", "Semaphore", "Condition", "Event", "Barrier", "Process", "Value", "Array", "SharedCTypes")
WANTED = {"TestSimpleQueue", *(f"WithProcessesTest{name}" for name in NAMES)}


def _in_place() -> None:
    """Every context makes plait's from here on."""
    import plait.multiprocessing.queues as queues
    import plait.multiprocessing.sharedctypes as sharedctypes
    import plait.multiprocessing.synchronize as synchronize

    for name in LOCKS:
        setattr(multiprocessing.synchronize, name, getattr(synchronize, name))
    for name in QUEUES:
        setattr(multiprocessing.queues, name, getattr(queues, name))
    for name in CTYPES:
        setattr(multiprocessing.sharedctypes, name, getattr(sharedctypes, name))


def _shared(_: types.ModuleType) -> None:
    """The names that the mixin holds are the context's methods, which look the classes up when they are called."""
    tests = importlib.import_module("test._test_multiprocessing")
    made = tests.ProcessesMixin.Lock()
    assert type(made).__module__ == "plait.multiprocessing.synchronize", f"the tests make a {type(made)}"
    made = tests.ProcessesMixin.RawValue("i")._wrapper
    assert type(made).__module__ == "plait.multiprocessing.sharedctypes", f"the tests' values lie in a {type(made)}"


def _wanted(case: type[unittest.TestCase]) -> bool:
    return case.__name__ in WANTED and not case.__module__.startswith("test.")


# The module of a start method is `conformance`'s: not every interpreter that ships the tests ships its own.
SHARED = tuple(
    Suite(
        f"mp_{method}",
        ("test._test_multiprocessing", f"conformance.processes.pools_{method}"),
        _shared,
        _wanted,
        ("threading",),
        _in_place,
    )
    for method in METHODS
)
