"""What a test needs from outside: skipped with the reason where it is missing; where TESTS_NEED_ALL is set, failed."""

import os
from importlib.util import find_spec

import pytest


def missing(reason: str) -> None:
    """What a test needs is not there."""
    if os.environ.get("TESTS_NEED_ALL"):
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)


def needs(*modules: str) -> None:
    """These have to be installed."""
    for module in modules:
        if find_spec(module) is None:
            missing(f"{module} is not installed (pip install --group programs)")
