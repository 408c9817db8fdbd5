"""What is known of a function whose calls are measured: a call on trial, and the record of those that were."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from plait._nature import is_coroutine_function, keeps_to_threads, name

if TYPE_CHECKING:
    from collections.abc import Callable

    from plait._follower import Follower

    Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

__all__ = ["COMPUTES", "MOST_CALLS", "SEEN_WAITING", "TOGETHER", "Record", "Trial", "in_words"]

COMPUTES = 0.5  # a share of CPU time from which on a call computes
# When enough is known: so many calls, and so many seconds that the counted ones took. The first call often imports and
# fills caches, so it counts only as long as it is the only one.
_ENOUGH = ((1, 0.5), (2, 0.05), (4, 0.005), (8, 0.0))
MOST_CALLS = 8
SEEN_WAITING = 0.02  # seconds after which a call that has used little CPU time is seen to wait
_HARDLY = 0.05  # a share of CPU time below which one such call is enough
_HAS_GIL: bool = getattr(sys, "_is_gil_enabled", lambda: True)()
# Calls of one function that are on trial at a time: where there is a GIL they would only wait for each other.
TOGETHER = 1 if _HAS_GIL else MOST_CALLS


class Trial:
    """One call that is being measured."""

    __slots__ = ("asleep", "busy", "cpu", "process", "queued", "thread", "waits", "wall")

    def __init__(self, busy: int) -> None:
        self.busy = busy
        self.waits = False  # it has been seen to
        self.asleep: tuple[float, float] | None = None  # when it was last seen asleep: its CPU time, the clock
        self.thread = threading.get_ident(), threading.get_native_id()
        self.queued = _queued(self.thread[1])
        self.process = time.process_time()
        self.cpu = time.thread_time()
        self.wall = time.perf_counter()

    def sleeps(self, cpu: float) -> bool:
        """Whether it slept at this look and at the one before, and hardly ran between them.

        One look is not enough: whoever held the GIL may have lost its core, and the trial waits for both.
        cpu: the seconds of CPU time that it has used.
        """
        before, self.asleep = self.asleep, None
        try:
            with open(f"/proc/self/task/{self.thread[1]}/stat", "rb", 0) as stat:
                if stat.read().rpartition(b")")[2].split()[0] == b"R":
                    return False  # it just waits for a core
        except (OSError, IndexError):
            pass  # it cannot be told
        self.asleep = cpu, time.perf_counter()
        return before is not None and cpu - before[0] < _HARDLY * (self.asleep[1] - before[1])

    def so_far(self, busy: int, ended: bool) -> tuple[float, float]:
        """CPU seconds, and seconds of the clock without those in which it waited for the GIL or a core.

        A thread that computes waits for the GIL about as long as its rivals compute meanwhile, who have as much of it
        each; but no longer than others have computed. How long it waited for a core the kernel knows.
        busy: how many threads of the pool make calls, this one among them. The main thread may be a rival, too.
        """
        ident, native = self.thread
        wall = time.perf_counter() - self.wall - (_queued(native) - self.queued)
        cpu = (time.thread_time() if ended else _clock_of(ident)) - self.cpu
        others = time.process_time() - self.process - cpu
        waited = min(max(others, 0.0), cpu * max(busy, self.busy)) if _HAS_GIL else 0.0
        return cpu, max(wall - waited, cpu)


def _clock_of(thread: int) -> float:
    return time.clock_gettime(time.pthread_getcpuclockid(thread))


def _queued(native_id: int) -> float:
    """Seconds for which a thread was ready to run, and no core was."""
    try:
        with open(f"/proc/self/task/{native_id}/schedstat", "rb", 0) as stat:
            return int(stat.read().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0  # a kernel that does not count it


class Record:
    """What is known of a function."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.name = name(fn)
        self.runs_on = "trial"
        self.why = ""
        self.stays = keeps_to_threads(fn) if _HAS_GIL else "there is no GIL: threads compute at the same time"
        self.calls = {"trial": 0, "thread": 0, "process": 0, "loop": 0}
        self.measured = 0
        self.counted: list[tuple[float, float]] = []  # seconds of CPU time and of the clock
        self.sending = 0.0  # seconds that pickling took, for a call
        self.trial: Trial | None = None
        self.on_trial = 0
        self.waiting: deque[tuple[Follower, Call]] = deque()
        if is_coroutine_function(fn):
            self.runs_on, self.why = "loop", "it is a coroutine function"

    def suspends(self) -> bool:
        """Whether calls wait for the one that is on trial: where it matters who makes them."""
        seen_waiting = self.trial is not None and self.trial.waits
        return self.on_trial > 0 and not self.stays and not seen_waiting

    def add(self, cpu: float, wall: float) -> None:
        """Count a call that has ended."""
        self.measured += 1
        if self.measured == 2:
            self.counted.clear()
        self.counted.append((cpu, wall))

    def is_sure(self) -> bool:
        """Whether enough calls were measured."""
        seconds = sum(wall for _, wall in self.counted)
        cpu, wall = self.typical()
        if wall >= SEEN_WAITING and cpu < _HARDLY * wall:
            return True
        return any(self.measured >= calls and seconds >= least for calls, least in _ENOUGH)

    def typical(self) -> tuple[float, float]:
        """CPU time and time of a call, of that half of the calls which waited least.

        A short call that loses the GIL, or its core, takes many times as long as it takes else.
        """
        ordered = sorted(self.counted, key=lambda call: call[0] / max(call[1], 1e-9), reverse=True)
        half = ordered[: (len(ordered) + 1) // 2]
        cpu, wall = (sum(column) / max(len(half), 1) for column in zip(*half, strict=True)) if half else (0.0, 0.0)
        return cpu, wall

    def computes(self) -> bool:
        """Whether the calls that were measured compute."""
        cpu, wall = self.typical()
        return cpu >= COMPUTES * wall

    def judge(self) -> str:
        """Choose, by the calls that have ended; writes down why."""
        cpu, wall = self.typical()
        share = f"{cpu / max(wall, 1e-9):.0%} of the {in_words(wall)} of a call are CPU time"
        if not self.computes():
            self.why = f"it waits: {share}"
            return "thread"
        stays = self.stays
        if not stays and cpu < self.sending:
            stays = f"sending it to a process takes as long ({in_words(self.sending)})"
        self.why = f"it computes: {share}" + (f"; but {stays}" if stays else "")
        return "thread" if stays else "process"

    def stats(self) -> dict[str, Any]:
        """For `Pool.stats()`."""
        cpu, wall = self.typical()
        return {
            "runs_on": "thread" if self.stays and self.runs_on == "trial" else self.runs_on,
            "why": self.why or self.stays or "it is being measured",
            "calls": {place: count for place, count in self.calls.items() if count},
            "measured": self.measured,
            "cpu": cpu,
            "wall": wall,
        }


def in_words(seconds: float) -> str:
    """In a unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"
