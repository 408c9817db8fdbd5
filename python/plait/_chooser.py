"""Where a function's calls are made: measured over the first of them, on threads; then on threads or in processes.

A call on trial runs on a thread, alone of its function; the others wait until it has ended, or is seen to wait. So no
call is made twice, and none has gone the wrong way before there was something to go by. What decides is the share of
CPU time in a call's wall time; time in which it waited for the GIL, or for a core, is not counted.

No executor is called while `_lock` is held: starting a thread or a process runs Python code.
"""

from __future__ import annotations

import threading
import time
import weakref
from concurrent.futures import CancelledError, Executor, Future
from functools import partial
from typing import TYPE_CHECKING, Any

from plait._follower import Follower
from plait._nature import identity, sending
from plait._trial import COMPUTES, MOST_CALLS, SEEN_WAITING, TOGETHER, Record, Trial
from plait.concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from plait.concurrent.futures._pool import _cpu_count
from plait.threading import Condition, RLock

if TYPE_CHECKING:
    from collections.abc import Callable

    from plait._home import Home
    from plait._trial import Call

__all__ = ["Chooser"]

_LOOK_EVERY = 0.01
_KEPT = 1024  # functions that are remembered

_choosers: weakref.WeakSet[Chooser] = weakref.WeakSet()


_leaving = False


def _leave() -> None:
    """At the interpreter's exit, before the executors are closed: what waits for a choice is handed on."""
    global _leaving
    _leaving = True
    for chooser in list(_choosers):
        chooser.settle()


# After the executors' own, which are called in the opposite order.
threading._register_atexit(_leave)  # type: ignore[attr-defined]


def _made_here(call: Call) -> Future[Any]:
    fn, args, kwargs = call
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    try:
        future.set_result(fn(*args, **kwargs))
    except BaseException as error:
        future.set_exception(error)
    return future


class Chooser(Executor):
    """The executor behind `Pool(kind="auto")`."""

    def __init__(self, max_workers: int | None, options: dict[str, Any]) -> None:
        ours = {name: options.pop(name) for name in ("thread_name_prefix",) if name in options}
        both = {name: options[name] for name in ("initializer", "initargs") if name in options}
        self._threads = ThreadPoolExecutor(max_workers, **both, **ours)
        self._max_workers = max_workers or _cpu_count() or 1
        self._options = options
        self._processes: ProcessPoolExecutor | None = None
        self._home: Home | None = None
        self._lock = RLock()
        self._making = RLock()
        self._idle = Condition(self._lock)
        self._records: dict[Any, Record] = {}
        self._suspended: set[Record] = set()  # those with calls that wait
        self._looks = False
        self._is_shut = False
        if options.keys() - both.keys():
            self._process_pool()  # says at once what it does not take
        _choosers.add(self)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As `Executor.submit`."""
        call = (fn, args, kwargs)
        held = None
        with self._lock:
            if self._is_shut:
                raise RuntimeError("cannot schedule new futures after shutdown")
            record = self._record(fn)
            place = record.runs_on
            if place == "trial":
                if record.suspends():
                    held = Follower()
                    record.waiting.append((held, call))
                    self._suspended.add(record)
                    if not self._looks:
                        self._looks = True
                        threading.Thread(target=self._look, name="plait-pool-look", daemon=True).start()
                elif record.on_trial >= TOGETHER or record.measured >= MOST_CALLS:
                    place = "thread"  # nothing depends on it
                else:
                    record.on_trial += 1
        return held if held is not None else self._make(record, place, call)

    def _record(self, fn: Callable[..., Any]) -> Record:
        key = identity(fn)
        record = self._records.get(key)
        if record is None:
            if len(self._records) >= _KEPT:
                known = next((key for key, old in self._records.items() if old.runs_on != "trial"), None)
                self._records.pop(known, None)
            record = self._records[key] = Record(fn)
        return record

    def _make(self, record: Record, place: str, call: Call) -> Future[Any]:
        """Have a call made in that place; where its arguments cannot be sent to a process, on a thread."""
        fn, args, kwargs = call
        if place == "process" and (problem := sending(fn, args, kwargs)[1]):
            place = "thread"
            with self._lock:
                record.why = f"{record.why.partition('; not ')[0]}; not where {problem}"
        with self._lock:
            record.calls[place] += 1
        if place == "trial":
            try:
                future = self._threads.submit(self._try, record, call)
            except BaseException:
                with self._lock:
                    record.on_trial -= 1
                self._release(record, "thread")
                raise
            future.add_done_callback(partial(self._dropped, record))
            return future
        if place == "process":
            return self._process_pool().submit(fn, *args, **kwargs)
        if place == "loop":
            return self._loop().submit(fn, args, kwargs)
        return self._threads.submit(fn, *args, **kwargs)

    def _hand_on(self, record: Record, place: str, held: Follower, call: Call) -> None:
        """Have a call made that waited."""
        if held.cancelled():
            held.fail(CancelledError())  # it has ended already: this tells who waits for it
            return
        try:
            future = self._make(record, place, call)
        except BaseException as error:
            if not (_leaving and isinstance(error, RuntimeError)):
                held.fail(error)
                return
            # From 3.12 on no thread can be started any more: this one makes the call.
            future = _made_here(call)
        held.follow(future)

    # --- trials --------------------------------------------------------------------------------------

    def _try(self, record: Record, call: Call) -> Any:
        """Make a call, on a thread, and measure it."""
        fn, args, kwargs = call
        trial = Trial(self._busy())
        with self._lock:
            record.trial = trial
        problem = ""
        results = []
        try:
            results.append(fn(*args, **kwargs))
            return results[0]
        finally:
            with self._lock:
                record.trial = None
                record.add(*trial.so_far(self._busy(), ended=True))
            if not record.stays and record.computes():
                record.sending, problem = sending(fn, args, kwargs, results)
            results.clear()
            self._ended(record, problem)

    def _dropped(self, record: Record, future: Future[Any]) -> None:
        if future.cancelled():
            self._next(record)

    def _ended(self, record: Record, problem: str) -> None:
        """A trial has ended: choose, if enough is known. `problem`: why it could not have been in a process."""
        with self._lock:
            if problem:
                record.stays = problem
            if record.is_sure() or problem:
                record.runs_on = record.judge()
        self._next(record)

    def _next(self, record: Record) -> None:
        """No call is on trial any more: put the next one on trial, or hand on all that wait."""
        following: tuple[Follower, Call] | None = None
        with self._lock:
            record.on_trial -= 1
            place = "thread" if record.stays else record.runs_on
            while place == "trial" and record.waiting and following is None:
                following = record.waiting.popleft()
                if following[0].cancelled():
                    following[0].fail(CancelledError())
                    following = None
                else:
                    record.on_trial += 1
            if place == "trial" and following is None:
                self._note_idle(record)
                return
        if following is not None:
            self._hand_on(record, "trial", *following)
        else:
            self._release(record, place)

    def _release(self, record: Record, place: str) -> None:
        """Hand on all calls that wait."""
        while True:
            with self._lock:
                if not record.waiting:
                    self._note_idle(record)
                    return
                held, call = record.waiting.popleft()
            self._hand_on(record, place, held, call)

    def _note_idle(self, record: Record) -> None:
        if not record.waiting:
            self._suspended.discard(record)
        if not self._suspended:
            self._idle.notify_all()

    def _look(self) -> None:
        """While calls wait: those on trial that wait themselves keep nobody waiting. In a thread of its own."""
        while True:
            time.sleep(_LOOK_EVERY)
            waiting = []
            with self._lock:
                if not self._suspended:
                    self._looks = False
                    return
                for record in self._suspended:
                    if record.trial is None:
                        continue
                    cpu, wall = record.trial.so_far(self._busy(), ended=False)
                    asleep = record.trial.sleeps(cpu)
                    if wall >= SEEN_WAITING and cpu < COMPUTES * wall and asleep:
                        record.trial.waits = True
                        waiting.append(record)
            for record in waiting:
                self._release(record, "thread")

    def _busy(self) -> int:
        """How many threads of the pool make calls now."""
        return len(self._threads._threads) - self._threads._load()[1]

    # --- places --------------------------------------------------------------------------------------

    def _process_pool(self) -> ProcessPoolExecutor:
        with self._making:
            if self._processes is None:
                self._processes = ProcessPoolExecutor(self._max_workers, **self._options)
            return self._processes

    def _loop(self) -> Home:
        with self._making:
            if self._home is None:
                from plait._home import Home

                self._home = Home()
            return self._home

    # --- the end -------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Wait until no call waits for a choice and the loop has ended; no coroutine is begun after it."""
        with self._lock:
            self._idle.wait_for(lambda: not self._suspended)
            home, self._is_shut = self._home, True
        if home is not None:
            home.close()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As `Executor.shutdown`."""
        with self._lock:
            self._is_shut = True
            if cancel_futures:
                for record in list(self._suspended):
                    for held, _ in record.waiting:
                        held.cancel()
        if not wait and (self._suspended or self._home is not None):
            # What waits for a choice is still to be handed on.
            threading.Thread(target=self._close, args=(False, cancel_futures), name="plait-pool-close").start()
        else:
            self._close(wait, cancel_futures)

    def _close(self, wait: bool, cancel_futures: bool) -> None:
        self.settle()
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        if self._processes is not None:
            self._processes.shutdown(wait, cancel_futures=cancel_futures)

    def stats(self) -> dict[str, Any]:
        """For `Pool.stats()`."""
        with self._lock:
            functions: dict[str, Any] = {}
            for record in self._records.values():
                name, number = record.name, 2
                while name in functions:
                    name, number = f"{record.name} ({number})", number + 1
                functions[name] = record.stats()
            processes = self._processes
        stats: dict[str, Any] = {"functions": functions}
        if processes is not None:
            stats["processes"] = processes.stats()
        return stats
