"""Deadlocks are reported: what raises, what warns, what is left alone, and what a report says.

Long because each case is a whole program. It runs in a process of its own, because a deadlock that is only warned of
stays one.
"""

import os
import re
import signal
import subprocess
import sys
import textwrap

import pytest

import plait

SECONDS = 30  # for a program that should have ended long before
START = """
import faulthandler, os, signal, sys, threading, time, warnings
faulthandler.enable()
import plait
plait.install()

def start(function, *args, daemon=False, name=None):
    thread = threading.Thread(target=function, args=args, daemon=daemon, name=name)
    thread.start()
    return thread

def reported(function, *args):
    "What the call raised, as (seconds that it took, text)."
    begin = time.monotonic()
    try:
        function(*args)
    except plait.DeadlockError as error:
        return time.monotonic() - begin, str(error)
    raise AssertionError("no DeadlockError")

def until(condition):
    while not condition():
        time.sleep(0.005)

class Shown:
    "Warnings instead of text on stderr."
    def __init__(self):
        self.all = []
        warnings.simplefilter("always")
        warnings.showwarning = lambda *args: self.all.append(args)
    def texts(self):
        return [str(args[0]) for args in self.all]

def work(mine, other, both, done):
    with mine:
        both.wait()
        try:
            with other:
                done.append("got both")
        except plait.DeadlockError as error:
            done.append(error)

def cycle(kind, size=2):
    locks = [kind() for _ in range(size)]
    both, done = threading.Barrier(size), []
    threads = [
        start(work, locks[i], locks[(i + 1) % size], both, done, name=f"worker {i}") for i in range(size)
    ]
    return threads, done
"""


def run(program: str, mode: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a program on plait. One that hangs is killed with a traceback of all its threads."""
    environment = {name: value for name, value in os.environ.items() if name != "PLAIT_DEADLOCK"}
    if mode is not None:
        environment["PLAIT_DEADLOCK"] = mode
    with subprocess.Popen(
        [sys.executable, "-c", START + textwrap.dedent(program)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            out, err = process.communicate()
            pytest.fail(f"the program hung\n{out}\n{err}")
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def lines_of(program: str, mode: str | None = None) -> list[str]:
    """What a program printed that ended well and said nothing on stderr."""
    result = run(program, mode)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return result.stdout.splitlines()


@pytest.mark.parametrize("size", [2, 3, 7])
def test_a_cycle_of_rlocks_raises_in_one_thread_and_the_others_go_on(size: int) -> None:
    program = f"""
    begin = time.monotonic()
    threads, done = cycle(threading.RLock, {size})
    for thread in threads:
        thread.join()
    print(time.monotonic() - begin < 1.0, sorted(type(what).__name__ for what in done))
    """
    names = ["DeadlockError", *["str"] * (size - 1)]
    assert lines_of(program) == [f"True {names}"]


def test_the_text_says_who_waits_for_what_held_by_whom_and_where() -> None:
    program = """
    threads, done = cycle(threading.RLock)
    for thread in threads:
        thread.join()
    print(next(what for what in done if isinstance(what, plait.DeadlockError)))
    """
    lines = lines_of(program)
    assert lines[0] == "2 threads wait for each other for ever:"
    thing = r"<locked \S+RLock object owner=\d+ count=1 at 0x\w+>"
    sentence = rf"  worker (\d) waits to acquire {thing}, held by worker (\d)"
    pairs = [re.fullmatch(sentence, line) for line in lines[1:3]]
    assert [pair and sorted(pair.groups()) for pair in pairs] == [["0", "1"], ["0", "1"]]
    assert pairs[0] != pairs[1]
    text = "\n".join(lines[3:])
    for name in ("worker 0", "worker 1"):
        assert re.search(rf'^{name}:\n  File "<string>", line \d+, in work\b', text, re.MULTILINE)
    assert text.count("File ") == 2, "frames of plait, or of threading"


def test_relocking_an_own_lock_raises_when_there_is_no_other_thread() -> None:
    seconds, *text = lines_of("""
    lock = threading.Lock()
    lock.acquire()
    seconds, text = reported(lock.acquire)
    print(seconds < 1.0)
    print(text)
    lock.release()
    print(lock.acquire(timeout=1))
    """)
    assert seconds == "True"
    assert text[0] == "MainThread waits for itself for ever:"
    assert re.fullmatch(
        r"  MainThread waits to acquire <locked \S+Lock object at \w+>, held by itself", text[1]
    )
    assert text[-1] == "True"


def test_relocking_an_own_lock_raises_when_all_others_wait_too() -> None:
    out = lines_of("""
    lock, never, texts = threading.Lock(), threading.Event(), []
    def relock():
        lock.acquire()
        texts.append(reported(lock.acquire)[1])
    start(never.wait, daemon=True)
    start(relock).join()
    print(texts[0].splitlines()[0])
    """)
    assert out == ["Thread-2 (relock) waits for itself for ever:"]


def test_relocking_an_own_lock_raises_while_the_main_thread_waits_to_exit() -> None:
    result = run("""
    def relock():
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()
    start(relock)
    """)
    assert result.returncode == 0
    assert "DeadlockError: Thread-1 (relock) waits for itself for ever:" in result.stderr


def test_relocking_an_own_lock_warns_once_and_works_while_another_thread_can_release_it() -> None:
    out = lines_of("""
    shown = Shown()
    lock = threading.Lock()
    lock.acquire()
    def release():
        until(lambda: shown.all)
        time.sleep(0.5)
        lock.release()
    start(release)
    print(lock.acquire())
    print(len(shown.all), shown.all[0][1] is plait.DeadlockWarning)
    print(shown.texts()[0].splitlines()[0])
    """)
    assert out == ["True", "1 True", "MainThread waits for itself, and only another thread could end it:"]


def test_what_was_possible_becomes_certain_when_the_last_other_thread_ends() -> None:
    out = lines_of("""
    shown = Shown()
    lock = threading.Lock()
    lock.acquire()
    start(until, lambda: shown.all)
    print(reported(lock.acquire)[1].splitlines()[0], len(shown.all))
    """)
    assert out == ["MainThread waits for itself for ever: 1"]


def test_a_signal_handler_could_release_an_own_lock() -> None:
    out = lines_of("""
    shown = Shown()
    lock = threading.Lock()
    signal.signal(signal.SIGALRM, lambda *_: lock.release())
    lock.acquire()
    signal.setitimer(signal.ITIMER_REAL, 0.7)
    print(lock.acquire(), len(shown.all))
    """)
    assert out == ["True 1"]


def test_a_cycle_of_plain_locks_warns_once_and_stays_until_somebody_releases_one() -> None:
    out = lines_of("""
    shown = Shown()
    locks = [threading.Lock(), threading.Lock()]
    both, done = threading.Barrier(2), []
    def take(mine, other):
        mine.acquire()
        both.wait()
        done.append(other.acquire())
    for mine, other in (locks, locks[::-1]):
        start(take, mine, other, daemon=True)
    until(lambda: shown.all)
    time.sleep(1)
    print(len(shown.all), done)
    text, category, filename, *_ = shown.all[0]
    print(category is plait.DeadlockWarning, filename, str(text).splitlines()[0])
    locks[0].release()
    until(lambda: done)
    print(done)
    sys.stdout.flush()
    os._exit(0)
    """)
    headline = "2 threads wait for each other, and only another thread could end it:"
    assert out == ["1 []", f"True <string> {headline}", "[True]"]


def test_two_threads_that_join_each_other() -> None:
    out = lines_of("""
    texts, threads = [], []
    both = threading.Barrier(3)
    def work(other):
        both.wait()
        try:
            threads[other].join()
        except plait.DeadlockError as error:
            texts.append(str(error))
    threads += [start(work, 1), start(work, 0)]
    both.wait()
    begin = time.monotonic()
    for thread in threads:
        thread.join()
    print(time.monotonic() - begin < 1.0, len(texts))
    print(texts[0])
    """)
    assert out[:2] == ["True 1", "2 threads wait for each other for ever:"]
    assert sorted(out[2:4]) == [
        "  Thread-1 (work) waits to join Thread-2 (work)",
        "  Thread-2 (work) waits to join Thread-1 (work)",
    ]


@pytest.mark.parametrize("join_first", [True, False])
def test_a_join_and_an_rlock(join_first: bool) -> None:
    out = lines_of(f"""
    lock, held, texts = threading.RLock(), threading.Event(), []
    def work():
        held.wait()
        time.sleep({0.4 if join_first else 0.0})
        try:
            with lock:
                texts.append("got it")
        except plait.DeadlockError as error:
            texts.append(type(error).__name__)
    thread = start(work)
    with lock:
        held.set()
        time.sleep({0.0 if join_first else 0.4})
        try:
            thread.join()
            texts.append("joined")
        except plait.DeadlockError as error:
            texts.append(str(error).splitlines()[0])
    thread.join()
    print(texts)
    """)
    if join_first:
        assert out == ["['DeadlockError', 'joined']"]
    else:
        assert out == ["['2 threads wait for each other for ever:', 'got it']"]


def test_join_is_the_standard_library_s_in_all_else() -> None:
    out = lines_of("""
    def text_of(function, *args):
        try:
            return function(*args)
        except RuntimeError as error:
            return str(error)
    print(text_of(threading.current_thread().join))
    print(text_of(threading.Thread().join))
    thread = start(time.sleep, 0.5)
    print(thread.join(0.01), thread.is_alive(), thread.join(timeout=-1), thread.is_alive())
    print(thread.join(), thread.is_alive())
    print(thread.join(), threading.Thread.join.__name__)
    """)
    assert out == [
        "cannot join current thread",
        "cannot join thread before it is started",
        "None True None True",
        "None False",
        "None join",
    ]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_pool_whose_workers_all_wait_for_what_is_queued_in_it(size: int) -> None:
    out = lines_of(f"""
    from concurrent.futures import ThreadPoolExecutor
    pool = ThreadPoolExecutor({size}, thread_name_prefix="worker")
    all_here = threading.Barrier({size})
    def outer():
        all_here.wait()
        return pool.submit(lambda: "inner").result()
    begin = time.monotonic()
    futures = [pool.submit(outer) for _ in range({size})]
    errors = [error for error in (future.exception() for future in futures) if error]
    print(time.monotonic() - begin < 1.0, len(errors), type(errors[0]).__name__)
    print([future.result() for future in futures if not future.exception()])
    print(errors[0])
    print(pool.submit(lambda: "works").result())
    pool.shutdown()
    """)
    assert out[:2] == ["True 1 DeadlockError", str(["inner"] * (size - 1))]
    assert out[2] == (
        "worker_0 waits for itself for ever:"
        if size == 1
        else f"{size} threads wait for each other for ever:"
    )
    assert all("waits to get the result of <Future at" in line for line in out[3 : 3 + size])
    assert all(re.search(r"state=pending>, queued for .*\bitself\b", line) for line in out[3 : 3 + size])
    assert out[-1] == "works"


@pytest.mark.parametrize(
    "wait",
    [
        "list(as_completed(inner))",
        "wait(inner)",
        "wait(inner, return_when=FIRST_COMPLETED)",
        "list(pool.map(str, range(2)))",
    ],
)
def test_a_pool_whose_worker_waits_for_several_that_are_queued_in_it(wait: str) -> None:
    out = lines_of(f"""
    from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, as_completed, wait
    pool = ThreadPoolExecutor(1)
    def outer():
        inner = [pool.submit(str, number) for number in range(2)]
        {wait}
    print(type(pool.submit(outer).exception()).__name__)
    print(pool.submit(lambda: "works").result())
    pool.shutdown()
    """)
    assert out == ["DeadlockError", "works"]


def test_a_pool_that_can_still_grow_or_has_a_worker_at_work_is_left_alone() -> None:
    out = lines_of("""
    from concurrent.futures import ThreadPoolExecutor
    pool = ThreadPoolExecutor(2)
    busy = pool.submit(time.sleep, 1)
    print(pool.submit(lambda: pool.submit(lambda: "inner").result()).result())
    """)
    assert out == ["inner"]


def test_two_jobs_that_wait_for_each_other() -> None:
    out = lines_of("""
    from concurrent.futures import ThreadPoolExecutor
    pool, futures, go = ThreadPoolExecutor(3, thread_name_prefix="worker"), [], threading.Event()
    def job(other):
        go.wait()
        return futures[other].result()
    futures += [pool.submit(job, 1), pool.submit(job, 0)]
    go.set()
    text = str(futures[0].exception())
    print(text is not None and str(futures[1].exception()) == text)
    print(text)
    """)
    assert out[:2] == ["True", "2 threads wait for each other for ever:"]
    assert [re.sub("<.*>", "<it>", line) for line in sorted(out[2:4])] == [
        "  worker_0 waits to get the result of <it>, run by worker_1",
        "  worker_1 waits to get the result of <it>, run by worker_0",
    ]


def test_a_worker_that_waits_for_a_lock_of_the_thread_that_waits_for_its_result() -> None:
    out = lines_of("""
    from concurrent.futures import ThreadPoolExecutor
    lock = threading.RLock()
    def job():
        with lock:
            return "got it"
    with ThreadPoolExecutor(1) as pool:
        with lock:
            future = pool.submit(job)
            time.sleep(0.3)
            print(reported(future.result)[1].splitlines()[0])
        error = future.exception()
        print("told" if isinstance(error, plait.DeadlockError) else future.result())
    """)
    # Either thread may be the one that finds it. If it is the worker, its error is the future's.
    assert out[0] == "2 threads wait for each other for ever:"
    assert out[1] in ("got it", "told")


def test_an_idle_pool_and_a_queue_are_left_alone_while_someone_can_put() -> None:
    out = lines_of("""
    import queue
    from concurrent.futures import ThreadPoolExecutor
    pool, things = ThreadPoolExecutor(2), queue.Queue()
    list(pool.map(str, range(2)))
    start(lambda: (time.sleep(0.7), things.put("put")))
    print(things.get())
    """)
    assert out == ["put"]


def test_a_queue_that_nobody_is_left_to_fill() -> None:
    out = lines_of("""
    import queue
    from concurrent.futures import ThreadPoolExecutor
    shown = Shown()
    pool, things = ThreadPoolExecutor(1, thread_name_prefix="idle"), queue.Queue()
    pool.submit(int).result()
    def tell(*args):
        shown.all.append(args)
        things.put("put")
    warnings.showwarning = tell
    print(things.get())
    print(shown.texts()[0])
    """)
    assert out[:2] == ["put", "every thread of this program waits, and none is left that could wake another:"]
    assert any(line.startswith("  idle_0 waits to get a job from <") for line in out[2:4])


def test_an_rlock_of_a_thread_that_has_ended() -> None:
    out = lines_of("""
    lock = threading.RLock()
    start(lock.acquire).join()
    seconds, text = reported(lock.acquire)
    print(seconds < 1.0)
    print(text)
    """)
    assert out[:2] == ["True", "MainThread waits for ever:"]
    assert out[2].endswith(", held by a thread that has ended")


def test_an_rlock_whose_owner_ends_while_others_wait() -> None:
    out = lines_of("""
    lock, held, end = threading.RLock(), threading.Event(), threading.Event()
    def own():
        lock.acquire()
        held.set()
        end.wait()
    start(own)
    held.wait()
    threading.Timer(0.5, end.set).start()
    print(reported(lock.acquire)[1].splitlines()[0])
    """)
    assert out == ["MainThread waits for ever:"]


def test_a_plain_lock_of_a_thread_that_has_ended_is_a_signal() -> None:
    out = lines_of("""
    lock = threading.Lock()
    start(lock.acquire).join()
    threading.Timer(0.6, lock.release).start()
    print(lock.acquire())
    """)
    assert out == ["True"]


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
