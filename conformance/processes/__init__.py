"""The suites of process pools, each start method and plait's zygote, and the seams at which they are put on plait.

`test_concurrent_futures` names its executor in mixins, one for each start method; `_test_multiprocessing` makes its
classes anew for each start method, in a module that asks for it: the modules here are such. Both take what
`plait.install()` has put in place.

The zygote is no start method of the standard library's: there its suites run by forkserver.
"""

import functools
import importlib
import types
import unittest
from collections.abc import Callable
from typing import Any

from conformance.suite import Suite

FUTURES = "test.test_concurrent_futures"
PARTS = ("process_pool", "deadlock", "shutdown", "wait", "as_completed", "init")
METHODS = ("fork", "forkserver", "spawn", "zygote")
# Their subject is the standard library's rule that a death ends the pool: here it is had with `max_deaths=0`.
BROKEN_BY_A_DEATH = {"test_killed_child", "test_broken_process_pool_traceback"}
# Of `_test_multiprocessing`.
POOLS = {
    "WithProcessesTestPool",
    "WithProcessesTestPoolWorkerErrors",
    "WithProcessesTestPoolWorkerLifetime",
    "WithThreadsTestPool",
    "TestPoolNotLeakOnFailure",
}


def _executor(_module: types.ModuleType) -> None:
    """The mixins' `executor_type` is the executor under test; where a death has to break the pool, one that says so."""
    from plait.concurrent.futures import ProcessPoolExecutor

    class Breaking(ProcessPoolExecutor):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, max_deaths=0, **options)

    def executor_type(self: unittest.TestCase) -> type[ProcessPoolExecutor]:
        return Breaking if self.id().rpartition(".")[2] in BROKEN_BY_A_DEATH else ProcessPoolExecutor

    util = importlib.import_module(f"{FUTURES}.util")
    for name, mixin in vars(util).items():
        if name.startswith("ProcessPool") and name.endswith("Mixin"):
            mixin.executor_type = property(executor_type)
    _hear_of_failures()


@functools.cache
def _hear_of_failures() -> None:
    """A test that makes the standard library's start of a process fail makes ours fail, where a context starts it."""
    from plait._processes.start import context_starter

    standard: Any = importlib.import_module("concurrent.futures.process")
    spawn = getattr(standard, "_spawn_worker", None)  # since 3.14.9
    start = context_starter.start

    def heard(self: context_starter, link: int, stderr: int) -> Any:
        if getattr(standard, "_spawn_worker", None) is not spawn:
            standard._spawn_worker()
        return start(self, link, stderr)

    context_starter.start = heard  # type: ignore[method-assign]


def _on(method: str) -> Callable[[type[unittest.TestCase]], bool]:
    """The classes whose mixin is that of the start method."""
    mixin = f"ProcessPool{method.capitalize()}Mixin"
    return lambda case: any(base.__name__ == mixin for base in case.__mro__)


def _futures(method: str) -> Suite:
    modules = [f"{FUTURES}.test_{part}" for part in PARTS]
    if method == "zygote":
        modules.append(f"{__name__}.futures_zygote")
    return Suite(
        f"futures_{method}",
        tuple(modules),
        _executor,
        _on(method),
        ("threading", "concurrent.futures"),
        long=True,
    )


def _patient(_module: types.ModuleType) -> None:
    """3.11 and 3.12 have threads sleep for so long and wait for those that could not be stopped before they began."""
    importlib.import_module("test.support").LONG_TIMEOUT = 20.0


def _pools(method: str) -> Suite:
    return Suite(
        f"pools_{method}",
        ("test._test_multiprocessing", f"{__name__}.pools_{method}"),
        _patient,
        wants=lambda case: case.__name__ in POOLS and case.__module__.startswith(__name__),
        faces=("threading", "multiprocessing.pool"),
    )


PROCESSES = (*map(_futures, METHODS), *map(_pools, METHODS))
