"""The three regimes of hand-overs: a quiet machine, one core only, two busy processes beside."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.row import HOGS, ONE_CORE

# Busy for ever, but never longer than the process that started it.
_HOG = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    for _ in range(1_000_000): pass"


@contextmanager
def around(regime: str) -> Iterator[None]:
    """What the regime needs beside the measured process: two hogs, or nothing."""
    hogs = [subprocess.Popen([sys.executable, "-c", _HOG]) for _ in range(2 if regime == HOGS else 0)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def enter(regime: str) -> None:
    """Confine this process if the regime says so: before plait, which looks at its cores, is imported."""
    if regime == ONE_CORE:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
