"""Deadlocks of locks and joins are reported: what raises, what warns, and what a report says."""

import re

import pytest

from deadlocked import lines_of, run


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
