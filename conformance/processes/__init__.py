"""The suites of process pools, each start method and plait's zygote, and the seams at which they are put on plait.

`test_concurrent_futures` names its executor in mixins, one for each start method; `_test_multiprocessing` makes its
classes anew for each start method, in a module that asks for it: the modules here are such. Both take what
`plait.install()` has put in place.

The zygote is no start method of the standard library's: there its suites run by forkserver.
"""

import importlib
import types
import unittest
from collections.abc import Callable

from conformance.suite import Suite

FUTURES = "test.test_concurrent_futures"
PARTS = ("process_pool", "deadlock", "shutdown", "wait", "as_completed", "init")
METHODS = ("fork", "forkserver", "spawn", "zygote")
# Of `_test_multiprocessing`.
POOLS = {
    "WithProcessesTestPool",
    "WithProcessesTestPoolWorkerErrors",
    "WithProcessesTestPoolWorkerLifetime",
    "WithThreadsTestPool",
    "TestPoolNotLeakOnFailure",
}


def _executor(_module: types.ModuleType) -> None:
    """The mixins' `executor_type` is the executor under test."""
    import plait.concurrent.futures as face

    util = importlib.import_module(f"{FUTURES}.util")
    for name, mixin in vars(util).items():
        if name.startswith("ProcessPool") and name.endswith("Mixin"):
            mixin.executor_type = face.ProcessPoolExecutor


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
