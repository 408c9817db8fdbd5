"""What has to be true of every wait: signals, timeouts, forks, exits, numbers, and rest."""

import gc
import math
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

import plait
import plait.threading


def held_lock(module: ModuleType) -> Callable[[], object]:
    lock = module.Lock()
    lock.acquire()
    return lambda: lock.acquire()


def held_rlock(module: ModuleType) -> Callable[[], object]:
    lock = module.RLock()
    owner = threading.Thread(target=lock.acquire)
    owner.start()
    owner.join()
    return lambda: lock.acquire()


def empty_semaphore(module: ModuleType) -> Callable[[], object]:
    return module.Semaphore(0).acquire


def clear_event(module: ModuleType) -> Callable[[], object]:
    return module.Event().wait


def quiet_condition(module: ModuleType) -> Callable[[], object]:
    condition = module.Condition()

    def wait() -> None:
        with condition:
            condition.wait()

    return wait


def lonely_barrier(module: ModuleType) -> Callable[[], object]:
    return module.Barrier(2).wait


BLOCKED = [held_lock, held_rlock, empty_semaphore, clear_event, quiet_condition, lonely_barrier]


@contextmanager
def interrupted_after(seconds: float) -> Iterator[list[float]]:
    """A SIGINT from the kernel's timer; when it came, by the handler's clock, is put into the list."""
    came: list[float] = []

    def interrupt(*_: object) -> None:
        came.append(time.monotonic())
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield came
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("after", [0.00001, 0.05, 0.15])
@pytest.mark.parametrize("blocked", BLOCKED)
def test_a_signal_ends_every_wait(blocked: Callable[[ModuleType], Callable[[], object]], after: float) -> None:
    wait = blocked(plait.threading)
    # Twice: the object has to be usable after the first.
    for _ in range(2):
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt), interrupted_after(after):
            wait()
        assert time.monotonic() - start < after + 0.1


def test_a_handler_that_does_not_raise_lets_the_wait_go_on() -> None:
    event = plait.Event()
    before = signal.signal(signal.SIGALRM, lambda *_: event.set())
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        assert event.wait(10) is True
    finally:
        signal.signal(signal.SIGALRM, before)


def test_an_interrupted_condition_owns_its_lock_again() -> None:
    condition = plait.Condition()
    with condition:
        with pytest.raises(KeyboardInterrupt), interrupted_after(0.02):
            condition.wait()
        assert condition._is_owned()
        condition.notify()
    assert "0)" in repr(condition)


TIMEOUTS: list[Any] = [
    0, 0.0, -1, -0.5, -2, 0.001, False, None, math.inf, -math.inf, math.nan, 1e300, -1e300, 10**30, -(10**30),
    threading.TIMEOUT_MAX * 2, "1", b"1", [], object(), 1j,
]  # fmt: skip


def outcome(call: Callable[[], object]) -> tuple[str, str]:
    try:
        return "returns", repr(call())
    except Exception as error:
        return type(error).__name__, str(error)


@pytest.mark.parametrize("timeout", TIMEOUTS, ids=repr)
def test_timeouts_are_the_standard_librarys(timeout: Any) -> None:
    def calls(module: ModuleType) -> list[tuple[str, str]]:
        lock, rlock = module.Lock(), module.RLock()
        lock.acquire()
        thread = threading.Thread(target=rlock.acquire)
        thread.start()
        thread.join()
        semaphore, event, condition = module.Semaphore(0), module.Event(), module.Condition()

        def wait() -> object:
            with condition:
                return condition.wait(timeout)

        outcomes = [outcome(lambda: lock.acquire(False, timeout)), outcome(lambda: rlock.acquire(False, timeout))]
        blocks = timeout is None or timeout == -1
        if not blocks:
            outcomes += [outcome(lambda: lock.acquire(True, timeout)), outcome(lambda: rlock.acquire(timeout=timeout))]
        if timeout is not None:
            outcomes += [outcome(lambda: event.wait(timeout)), outcome(wait)]
            # The standard library's Semaphore spins for ever on a NaN.
            if not (isinstance(timeout, float) and math.isnan(timeout)):
                outcomes.append(outcome(lambda: semaphore.acquire(timeout=timeout)))
            outcomes.append(outcome(lambda: semaphore.acquire(False, timeout)))
        return outcomes

    assert calls(plait.threading) == calls(threading)


@pytest.mark.parametrize("name", ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Event", "Condition", "Barrier"])
def test_wrong_arguments_raise_what_the_standard_library_raises(name: str) -> None:
    def calls(module: ModuleType) -> list[tuple[str, str]]:
        made = getattr(module, name)
        # Before 3.13 the standard library's Barrier takes anything for a number of parties.
        judges = "Semaphore" in name or (name == "Barrier" and sys.version_info >= (3, 13))
        wrong = [-1, "x", 1.5j] if judges else []
        outcomes = [outcome(lambda given=given: isinstance(made(given), object)) for given in wrong]
        thing = made(2) if name == "Barrier" else made()
        for method in ("release", "notify", "notify_all", "wait"):
            if hasattr(thing, method) and name != "Barrier" and not (name == "Event" and method == "wait"):
                if name in ("Semaphore", "BoundedSemaphore"):
                    outcomes += [outcome(lambda: thing.release(0)), outcome(lambda: thing.release("x"))]
                    outcomes += [outcome(lambda: thing.release(10))]
                else:
                    outcomes.append(outcome(getattr(thing, method)))
        return outcomes

    assert calls(plait.threading) == calls(threading)


def run_child(code: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(code)],
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


def test_a_fork_while_another_thread_uses_everything_leaves_a_child_that_works() -> None:
    child = run_child("""
        import os, threading, warnings, faulthandler
        warnings.simplefilter("ignore")
        faulthandler.dump_traceback_later(50, exit=True)
        import plait
        lock, rlock, event, semaphore = plait.Lock(), plait.RLock(), plait.Event(), plait.Semaphore(1)
        condition, parked = plait.Condition(), plait.Event()
        stop = False

        def use():
            while not stop:
                with lock, rlock, semaphore, condition:
                    event.set(); event.clear(); condition.notify_all()

        def park(wait):
            wait()

        def wait_condition():
            with condition:
                condition.wait()

        threads = [threading.Thread(target=use) for _ in range(2)]
        parkers = [threading.Thread(target=park, args=(w,), daemon=True) for w in (parked.wait, wait_condition)]
        for thread in threads + parkers:
            thread.start()
        for _ in range(40):
            pid = os.fork()
            if pid == 0:
                # What another thread held stays held, as in the standard library; the waiters are gone.
                for each in (lock, rlock, condition):
                    each._at_fork_reinit()
                while not semaphore.acquire(False):
                    semaphore.release()
                with lock, rlock, condition:
                    condition.notify_all()
                parked.set()
                semaphore.release()
                waiter = threading.Thread(target=wait_condition)
                waiter.start()
                while waiter.is_alive():
                    with condition:
                        condition.notify_all()
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        stop = True
        for thread in threads:
            thread.join()
        print("fine")
    """)
    assert (child.stdout, child.returncode) == ("fine\n", 0), child.stderr


def test_exit_with_parked_daemon_threads_does_not_crash() -> None:
    child = run_child("""
        import threading, plait
        lock, rlock, event, semaphore = plait.Lock(), plait.RLock(), plait.Event(), plait.Semaphore(0)
        condition, barrier = plait.Condition(), plait.Barrier(9)
        lock.acquire(); rlock.acquire()
        started = threading.Semaphore(0)

        def wait_condition():
            with condition:
                condition.wait()

        def run(wait, *args):
            started.release()
            wait(*args)

        waits = [lock.acquire, rlock.acquire, event.wait, semaphore.acquire, wait_condition, barrier.wait]
        for wait in waits:
            threading.Thread(target=run, args=(wait,), daemon=True).start()
            threading.Thread(target=run, args=(event.wait, 0.01), daemon=True).start()
        for _ in range(2 * len(waits)):
            started.acquire()
        class Late:
            def __del__(self):
                lock.release(); event.set(); semaphore.release(9)
        late = Late()
    """)
    assert (child.stdout, child.stderr, child.returncode) == ("", "", 0)


def test_ten_thousand_threads_wait_on_one_event_and_all_wake() -> None:
    child = run_child(
        """
        import threading, plait
        threading.stack_size(64 * 1024)
        event, arrived, woken = plait.Event(), plait.Semaphore(0), plait.Semaphore(0)

        def wait():
            arrived.release()
            event.wait()
            woken.release()

        threads = []
        for _ in range(10_000):
            thread = threading.Thread(target=wait)
            try:
                thread.start()
            except RuntimeError:
                break  # the machine's limit on threads
            threads.append(thread)
        for _ in threads:
            arrived.acquire()
        event.set()
        for _ in threads:
            woken.acquire()
        print(len(threads), flush=True)
        # Ending 10,000 threads takes a free-threaded CPython minutes; that is not what is tested.
        import os
        os._exit(0)
        """,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr
    assert int(child.stdout) == 10_000


def test_an_idle_engine_uses_no_processor() -> None:
    child = run_child("""
        import threading, time, plait
        event, semaphore, lock, condition = plait.Event(), plait.Semaphore(0), plait.Lock(), plait.Condition()
        lock.acquire()

        def wait_condition():
            with condition:
                condition.wait()

        for wait in (event.wait, semaphore.acquire, lock.acquire, wait_condition) * 5:
            threading.Thread(target=wait, daemon=True).start()
        event.wait(0.5)
        before = time.process_time()
        event.wait(1)
        print(time.process_time() - before)
    """)
    assert child.returncode == 0, child.stderr
    # 20 waiting threads, one second: a thread that polled each millisecond would use more.
    assert float(child.stdout) < 0.01


def test_cycles_through_objects_are_collected() -> None:
    class Owner:
        def __init__(self) -> None:
            self.condition = plait.Condition(self)  # type: ignore[arg-type]
            self.barrier = plait.Barrier(1, self.acquire)
            self.event: Any = plait.Event()
            self.event.owner = self

        def acquire(self) -> bool:
            return True

        def release(self) -> None: ...

    import weakref

    owner = Owner()
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None


def test_subclasses_may_have_other_arguments() -> None:
    class Named(plait.Semaphore):
        def __init__(self, name: str, permits: int) -> None:
            super().__init__(permits)
            self.name = name

    named = Named("two", permits=2)
    assert (named.name, named._value) == ("two", 2)
    assert [named.acquire(False) for _ in range(3)] == [True, True, False]


def test_the_first_look_at_a_wait_imports_nothing() -> None:
    """It comes while other threads may import: a thread that showed its traceback got half of `typing`."""
    code = (
        "import sys, threading, plait\n"
        "plait.install()\n"
        "import queue, concurrent.futures.thread\n"
        "before = set(sys.modules)\n"
        "import plait._deadlock\n"
        "print(*sorted(set(sys.modules) - before))\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert out.stdout == "plait._deadlock\n"
