"""Deadlocks by way of pools, queues, and locks whose threads have ended."""

import re

import pytest

from deadlocked import lines_of


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
