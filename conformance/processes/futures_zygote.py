"""The classes of `test_concurrent_futures` for an executor whose workers come from plait's zygote."""

import importlib

from test.test_concurrent_futures.util import ProcessPoolForkserverMixin, create_executor_tests

import plait
from plait import _install


class ProcessPoolZygoteMixin(ProcessPoolForkserverMixin):
    """On the standard library: forkserver."""

    if _install.is_installed():
        ctx = "zygote"

        def get_context(self) -> object:
            return plait.multiprocessing.get_context(self.ctx)


for part, mixins in {
    "process_pool": ("ProcessPoolExecutorTest",),
    "deadlock": ("ExecutorDeadlockTest",),
    "shutdown": ("ProcessPoolShutdownTest",),
    "wait": ("WaitTests",),
    "as_completed": ("AsCompletedTests",),
    "init": ("InitializerMixin", "FailingInitializerMixin"),
}.items():
    module = importlib.import_module(f"test.test_concurrent_futures.test_{part}")
    for mixin in mixins:
        create_executor_tests(globals(), getattr(module, mixin), executor_mixins=(ProcessPoolZygoteMixin,))

setUpModule = importlib.import_module("test.test_concurrent_futures.util").setup_module
