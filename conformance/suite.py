"""What a suite is: test modules, the classes of them that are wanted, and how they are put on plait."""

import importlib
import importlib.util
import types
import unittest
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Suite:
    """Some test modules, which of their classes belong here, and how they are put on plait."""

    name: str
    modules: tuple[str, ...]
    adapt: Callable[[types.ModuleType], None] = lambda module: None
    wants: Callable[[type[unittest.TestCase]], bool] = lambda case: True
    faces: tuple[str, ...] = ("threading",)
    before: Callable[[], None] = lambda: None
    # Takes minutes: run only where it is asked for (`make conformance-long`), not with the others.
    long: bool = False

    def missing(self) -> str | None:
        """The first module that this interpreter does not ship, if any."""
        for name in self.modules:
            try:
                found = importlib.util.find_spec(name)
            except ModuleNotFoundError:
                found = None
            if found is None:
                return name
        return None

    def load(self, candidate: str) -> Iterator[unittest.TestCase]:
        """Imports the modules, adapts them if `candidate` is plait, and gives their tests in order.

        `before` is called ahead of the imports, for what the modules copy as they are imported.
        """
        if candidate == "plait":
            self.before()
        for name in self.modules:
            module = importlib.import_module(name)
            if candidate == "plait":
                self.adapt(module)
            for test in _flatten(unittest.defaultTestLoader.loadTestsFromModule(module)):
                if self.wants(type(test)):
                    yield test


def _flatten(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from _flatten(item)
        else:
            yield item
