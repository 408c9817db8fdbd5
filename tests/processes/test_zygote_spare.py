"""The process that the zygote forks ahead is the next worker; it may be killed, and is not left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plait._processes import start
from plait.concurrent.futures import ProcessPoolExecutor
from plait.multiprocessing import Pool


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def zygote() -> Iterator[int]:
    """One of the test's own."""
    before, start._zygote = start._zygote, None
    try:
        yield start._current().ensure()
    finally:
        pid, _ = start._current().process()
        start._zygote = before
        if pid is not None:
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def slow_zygote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    """One that takes a second for each fork, and has a spare."""
    (tmp_path / "slow_forks.py").write_text("import os, time\nos.register_at_fork(before=lambda: time.sleep(1))\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(start, "_preload", ["slow_forks"])
    zygote: int = request.getfixturevalue("zygote")
    until(lambda: children(zygote))
    return zygote


def test_a_new_pool_has_its_first_results_while_the_other_workers_are_made(slow_zygote: int) -> None:
    (spare,) = children(slow_zygote)
    with Pool(2) as pool:
        assert pool.apply(os.getpid) == spare
        assert children(slow_zygote) == [spare]
        assert len({process.pid for process in pool._pool} | {spare}) == 2  # who asks for them waits for them
    assert not pool._pool


def test_a_pool_that_ends_while_workers_are_made_leaves_none(slow_zygote: int) -> None:
    with Pool(10) as pool:
        assert pool.apply(abs, (-1,)) == 1
    assert not pool._pool
    assert len(children(slow_zygote)) <= 1  # the next spare
    assert pool._crew.stats()["workers_started"] <= 2  # the others were called off


def test_workers_that_a_killed_zygote_was_about_to_make_come_from_another(slow_zygote: int) -> None:
    with Pool(2) as pool:
        assert pool.apply(abs, (-1,)) == 1
        os.kill(slow_zygote, signal.SIGKILL)
        assert pool.map(abs, range(-100, 0), 1) == list(range(100, 0, -1))
        assert len({process.pid for process in pool._pool}) == 2


def test_the_next_worker_is_there_already(zygote: int) -> None:
    until(lambda: children(zygote))
    (spare,) = children(zygote)
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(os.getpid).result() == spare
        until(lambda: len(children(zygote)) == 2)


def test_a_spare_that_somebody_kills_is_nobody_s_loss(zygote: int) -> None:
    until(lambda: children(zygote))
    (spare,) = children(zygote)
    os.kill(spare, signal.SIGKILL)
    until(lambda: not children(zygote))  # reaped, and not replaced for ever and ever
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(os.getpid).result() != spare
        until(lambda: len(children(zygote)) == 2)


def test_it_ends_with_its_zygote(zygote: int) -> None:
    until(lambda: children(zygote))
    (spare,) = children(zygote)
    os.kill(zygote, signal.SIGKILL)
    until(lambda: not is_there(spare))


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "pass", "os.kill(spare, 19); os.kill(os.getpid(), 9)"])
def test_it_ends_with_the_parent(end: str) -> None:
    script = f"""
        import os, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_zygote_spare import children, start, until
        zygote = start._current().ensure()
        until(lambda: children(zygote))
        (spare,) = children(zygote)
        print(zygote, spare, flush=True)
        {end}
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 2
    until(lambda: not any(is_there(pid) for pid in pids))
