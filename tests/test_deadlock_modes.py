"""Which waits are left alone, PLAIT_DEADLOCK, and what is still true after a report."""

import re

import pytest

import plait
from deadlocked import lines_of, run


def test_waits_with_a_timeout_are_never_reported() -> None:
    out = lines_of("""
    a, b, both = threading.RLock(), threading.RLock(), threading.Barrier(2)
    def work(mine, other):
        with mine:
            both.wait()
            taken.append(other.acquire(timeout=0.6))
            both.wait()
    taken = []
    threads = [start(work, a, b), start(work, b, a)]
    for thread in threads:
        thread.join()
    lock = threading.Lock()
    print(taken)
    print(lock.acquire(), lock.acquire(timeout=0.5), lock.acquire(True, 0.3))
    """)
    assert out == ["[False, False]", "True False False"]


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_a_wait_that_is_only_long_is_not_reported(kind: str) -> None:
    out = lines_of(f"""
    lock = threading.{kind}()
    def work():
        with lock:
            print("got it")
    with lock:
        thread = start(work)
        time.sleep(1.5)
    thread.join()
    """)
    assert out == ["got it"]


def test_threads_that_take_turns_slowly_are_not_reported() -> None:
    assert (
        lines_of("""
    lock = threading.Lock()
    def work():
        for _ in range(3):
            with lock:
                time.sleep(0.12)
    threads = [start(work) for _ in range(4)]
    for thread in threads:
        thread.join()
    """)
        == []
    )


def test_a_report_leaves_no_cost_behind() -> None:
    out = lines_of("""
    shown = Shown()
    locks = [threading.Lock(), threading.Lock()]
    both = threading.Barrier(2)
    for mine, other in (locks, locks[::-1]):
        start(work, mine, other, both, [], daemon=True)
    until(lambda: shown.all)
    before = time.process_time()
    time.sleep(2)
    print(time.process_time() - before < 0.02)
    """)
    assert out == ["True"]


def test_nobody_is_left_to_wake_anyone() -> None:
    out = lines_of("""
    shown = Shown()
    full, empty = threading.Event(), threading.Event()
    def consume():
        full.wait()
        empty.set()
    start(consume, name="consumer", daemon=True)
    def tell(*args):
        shown.all.append(args)
        full.set()
    warnings.showwarning = tell  # the last thread to look is awake again, and wakes the others
    print(empty.wait())
    print(len(shown.all))
    print(shown.texts()[0])
    """)
    assert out[:2] == ["True", "1"]
    assert out[2] == "every thread of this program waits, and none is left that could wake another:"
    assert sorted(re.sub("<.*>", "<it>", line) for line in out[3:5]) == [
        "  MainThread waits for <it>",
        "  consumer waits for <it>",
    ]


@pytest.mark.parametrize("why", ["thread", "handler", "single"])
def test_somebody_is_left_who_could_wake_them(why: str) -> None:
    out = lines_of(f"""
    event = threading.Event()
    if {why!r} != "single":
        start(event.wait)
    if {why!r} == "thread":
        start(lambda: (time.sleep(0.7), event.set()))
    else:
        signal.signal(signal.SIGALRM, lambda *_: event.set())
        signal.setitimer(signal.ITIMER_REAL, 0.7)
    print(event.wait())
    """)
    assert out == ["True"]


def test_threads_left_at_exit_are_no_deadlock() -> None:
    assert (
        lines_of("""
    event = threading.Event()
    for daemon in (True, True, False):
        start(event.wait, daemon=daemon)
    threading.Thread(target=lambda: (time.sleep(0.5), event.set())).start()
    """)
        == []
    )


MODES = """
shown = Shown()
threads, done = cycle(threading.RLock)
def relock():
    lock = threading.Lock()
    lock.acquire()
    try:
        lock.acquire()
    except plait.DeadlockError as error:
        done.append(error)
start(relock, daemon=True)
time.sleep(0.8)
print("raised", len([what for what in done if isinstance(what, plait.DeadlockError)]))
print("warned", len(shown.all))
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (None, ["raised 1", "warned 1"]),
        ("", ["raised 1", "warned 1"]),
        ("off", ["raised 0", "warned 0"]),
        ("warn", ["raised 0", "warned 2"]),
        ("raise", ["raised 2", "warned 0"]),
    ],
)
def test_modes(mode: str | None, expected: list[str]) -> None:
    assert lines_of(MODES, mode) == expected


def test_a_mode_that_does_not_exist_is_named_once() -> None:
    result = run("import plait.threading", "sometimes")
    assert result.returncode == 0
    warning = 'RuntimeWarning: PLAIT_DEADLOCK is "sometimes"; it has to be off, warn or raise, and is ignored'
    assert result.stderr.count("PLAIT_DEADLOCK") == 1
    assert warning in result.stderr


def test_a_warning_can_be_turned_into_an_exception() -> None:
    out = lines_of("""
    warnings.simplefilter("error", plait.DeadlockWarning)
    lock, condition = threading.Lock(), threading.Condition()
    start(time.sleep, 1)
    lock.acquire()
    try:
        lock.acquire()
    except plait.DeadlockWarning as warning:
        print(str(warning).splitlines()[0])
    print(lock.locked(), lock.release())
    """)
    assert out == ["MainThread waits for itself, and only another thread could end it:", "True None"]


def test_the_object_stays_usable_after_a_deadlock() -> None:
    out = lines_of("""
    threads, done = cycle(threading.RLock)
    for thread in threads:
        thread.join()
    lock = threading.Lock()
    lock.acquire()
    for _ in range(2):
        reported(lock.acquire)
    start(time.sleep, 0.3)
    threading.Timer(0.05, lock.release).start()
    print(lock.acquire(), lock.release())
    """)
    assert out == ["True None"]


def test_a_repr_of_the_user_s_is_not_run() -> None:
    out = lines_of("""
    class Named(threading.RLock):
        def __repr__(self):
            with self:
                return "mine"
    lock = Named()
    start(lock.acquire).join()
    print(reported(lock.acquire)[1].splitlines()[1])
    """)
    assert "Named object at" in out[0]


def test_a_forked_child_has_deadlocks_of_its_own() -> None:
    out = lines_of("""
    warnings.simplefilter("ignore", DeprecationWarning)  # fork() with threads
    a, b, held = threading.RLock(), threading.RLock(), threading.Barrier(2)
    def work():
        with a:
            held.wait()
            with b:
                pass
    b.acquire()
    start(work, daemon=True)
    held.wait()
    time.sleep(0.4)  # it is entered
    child = os.fork()
    if child == 0:
        lock = threading.Lock()
        lock.acquire()
        print(reported(lock.acquire)[1].splitlines()[0], flush=True)
        # The owner of `a` is not in this process.
        print(reported(a.acquire)[1].splitlines()[0], flush=True)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    b.release()
    """)
    assert out == ["MainThread waits for itself for ever:", "MainThread waits for ever:", "0"]


def test_a_handler_that_waits_in_the_midst_of_a_wait() -> None:
    out = lines_of("""
    shown = Shown()
    outer, inner = threading.Lock(), threading.Lock()
    outer.acquire(), inner.acquire()
    def handler(*_):
        inner.acquire()  # is entered above the outer wait
        print("handled")
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.35)
    def release():
        time.sleep(1)
        inner.release()
        time.sleep(0.5)
        outer.release()
    start(release)
    outer.acquire()
    print("taken", len(shown.all))
    """)
    assert out == ["handled", "taken 2"]


def test_ctrl_c_ends_a_wait_that_was_warned_of() -> None:
    out = lines_of("""
    shown = Shown()
    lock = threading.Lock()
    lock.acquire()
    def interrupt():
        until(lambda: shown.all)
        os.kill(os.getpid(), signal.SIGINT)
    start(interrupt)
    try:
        lock.acquire()
    except KeyboardInterrupt:
        print("interrupted")
    """)
    assert out == ["interrupted"]


def test_many_waiters_are_looked_at_quickly() -> None:
    out = lines_of("""
    threading.stack_size(128 * 1024)
    event, lock = threading.Event(), threading.RLock()
    lock.acquire()
    threads = [start(event.wait if i % 2 else lock.acquire, daemon=True) for i in range(1000)]
    before = time.process_time()
    time.sleep(1)
    spent = time.process_time() - before
    print(spent < 0.5 or spent)
    event.set()
    sys.stdout.flush()
    os._exit(0)
    """)
    assert out == ["True"]


def test_the_names_are_plait_s() -> None:
    assert issubclass(plait.DeadlockError, RuntimeError)
    assert issubclass(plait.DeadlockWarning, RuntimeWarning)
    assert (plait.DeadlockError.__module__, plait.DeadlockWarning.__module__) == ("plait", "plait")
