"""What several files of tests use: a pool of one worker, a queue."""

from collections.abc import Iterator
from typing import Any

import pytest

from plait.concurrent.futures import ProcessPoolExecutor
from plait.multiprocessing import Queue


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def queue() -> Iterator[Any]:
    queue = Queue()
    yield queue
    queue.close()
