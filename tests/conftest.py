"""What holds for every test: it leaves no thread of its own behind, and the standard library as it found it."""

import gc
import threading
import time
from collections.abc import Iterator

import pytest

import plait

SECONDS = 10  # for threads that are about to end to do so, on a busy machine


@pytest.fixture(autouse=True)
def _leaves_nothing_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    names = {name: value for name, value in vars(threading).items() if not name.startswith("_")}
    yield
    changed = [name for name, value in names.items() if vars(threading).get(name) is not value]
    if changed:
        plait.uninstall()
    assert not changed, f"the test left plait's names in threading: {', '.join(changed)}"
    left = [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]
    if left:
        gc.collect()  # a pool that nobody holds any more ends its threads
        deadline = time.monotonic() + SECONDS
        for thread in left:
            thread.join(max(0.0, deadline - time.monotonic()))
    left = [thread for thread in left if thread.is_alive()]
    assert not left, f"the test left threads behind: {left}"
