"""Time the contenders of one row in turn, A B A B, so that what the machine does meanwhile happens to all."""

import gc
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.contenders import CANDIDATE, LeftOut
from benchmarks.row import Row, Run


@dataclass(slots=True)
class Samples:
    """One contender's figures, a pair of lists in step: seconds and CPU seconds an operation."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def take(row: Row, rounds: int, sample_seconds: float) -> tuple[dict[str, Samples], dict[str, str]]:
    """Samples of each contender by name, and why those that are not there were left out.

    Raises LeftOut where that is the candidate or the baseline, AssertionError where contenders' work differs.
    """
    with ExitStack() as stack:
        runs: dict[str, Run] = {}
        left_out: dict[str, str] = {}
        for name, setup in row.setups.items():
            try:
                runs[name] = stack.enter_context(setup())
            except LeftOut as reason:
                if name in (row.baseline, CANDIDATE):
                    raise
                left_out[name] = str(reason)
        check_same_work(row, runs)
        counts = {
            name: row.batch if row.whole else calibrate(run, row.batch, sample_seconds)
            for name, run in runs.items()
        }
        samples = {name: Samples() for name in runs}
        for _ in range(rounds):
            for name, run in runs.items():
                wall, cpu = _time(run, counts[name])
                samples[name].wall.append(wall)
                samples[name].cpu.append(cpu)
        return samples, left_out


def check_same_work(row: Row, runs: Mapping[str, Run]) -> object:
    """Run a few operations of each contender; what they return has to be the same, and is returned."""
    results = {name: run(row.batch if row.whole else 3 * row.batch) for name, run in runs.items()}
    expected = results[row.baseline]
    different = {name: result for name, result in results.items() if result != expected}
    if different:
        raise AssertionError(f"{row.name}: {row.baseline} returns {expected!r}, but {different}")
    return expected


def calibrate(run: Run, batch: int, sample_seconds: float) -> int:
    """How many operations, in whole batches, take about `sample_seconds`; warms the contender up."""
    n = batch
    while True:
        # The best of three ends the search: one late start of a thread must not leave a sample with nothing in it.
        seconds = _time(run, n)[0] * n
        for _ in range(2):
            if seconds >= sample_seconds / 2:
                seconds = min(seconds, _time(run, n)[0] * n)
        if seconds >= sample_seconds / 2:
            return max(1, round(n * sample_seconds / seconds / batch)) * batch
        growth = min(10.0, max(2.0, sample_seconds * 0.7 / max(seconds, 1e-9)))
        n = max(n + batch, round(n * growth / batch) * batch)


def _time(run: Run, n: int) -> tuple[float, float]:
    # One contender must not pay for the garbage of the one before; within a sample collection goes on.
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    run(n)
    return (time.perf_counter() - wall) / n, (time.process_time() - cpu) / n


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """First quartile, median and third quartile, between neighbours by their distance."""
    ordered = sorted(values)

    def at(share: float) -> float:
        place = share * (len(ordered) - 1)
        low = int(place)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (ordered[high] - ordered[low]) * (place - low)

    return at(0.25), at(0.5), at(0.75)
