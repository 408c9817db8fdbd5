"""Code that a type checker has to accept, with the types that it has to see. Checked, never run."""

import concurrent.futures
import queue
import threading
from typing import Any, assert_type

import plait
import plait.concurrent.futures
import plait.queue
import plait.threading


def locks(lock: plait.Lock, relock: plait.RLock, condition: plait.Condition) -> None:
    with lock, relock, condition:
        assert_type(lock.locked(), bool)
        assert_type(condition.wait(timeout=1.5), bool)
        condition.notify(2)
        condition.notify_all()
    assert_type(lock.acquire(True, 0.5), bool)
    assert_type(condition.wait_for(lambda: "text"), str)
    assert_type(plait.threading.Thread(target=print), threading.Thread)


def counters(semaphore: plait.Semaphore, event: plait.Event, barrier: plait.Barrier) -> None:
    with semaphore:
        semaphore.release(2)
    with plait.BoundedSemaphore(3):
        event.set()
    assert_type(event.wait(), bool)
    assert_type(event.is_set(), bool)
    assert_type(barrier.wait(timeout=1), int)
    assert_type(barrier.n_waiting, int)


def queues(items: plait.Queue[int], names: plait.queue.PriorityQueue[str]) -> None:
    assert_type(items.get(timeout=1), int)
    assert_type(names.get_nowait(), str)
    items.put(3, block=False)
    items.task_done()
    items.join()
    items.shutdown(immediate=True)
    try:
        items.put_nowait(4)
    except (queue.Full, plait.queue.Full, plait.queue.ShutDown):
        pass


def pools() -> None:
    with plait.ThreadPoolExecutor(max_workers=2, thread_name_prefix="w", initializer=print, initargs=(1,)) as pool:
        future = pool.submit(len, "abc")
        assert_type(future.result(timeout=1), int)
        assert_type(list(pool.map(str, [1, 2], buffersize=2)), list[str])
        accepted: concurrent.futures.Executor = pool
        accepted.shutdown(cancel_futures=True)
        done, pending = plait.concurrent.futures.wait([future])
        assert_type(len(done) + len(pending), int)
        for each in plait.concurrent.futures.as_completed([future]):
            assert_type(each.result(), int)


async def tasks(lock: plait.Lock, semaphore: plait.Semaphore, event: plait.Event, items: plait.Queue[int]) -> None:
    async with lock, semaphore:
        pass
    await event
    assert_type(await event.wait_async(), bool)
    assert_type(await items.get_async(), int)
    await items.put_async(1)
    async for item in items:
        assert_type(item, int)
    with plait.ThreadPoolExecutor() as pool:
        assert_type(await pool.submit(len, "abc"), int)


def any_pool() -> None:
    with plait.Pool(2, "auto") as pool:
        assert_type(pool.submit(len, "abc").result(), int)
        assert_type(list(pool.map(str, [1, 2], buffersize=2)), list[str])
    plait.Pool(kind="process", retries=1).shutdown(wait=False)
    plait.register_joblib()


def whole_program() -> None:
    plait.install()
    plait.uninstall()
    with plait.installed():
        pass
    for item in plait.progress([1, 2, 3], desc="three"):
        assert_type(item, int)
    raise plait.DeadlockError("text")


def subclasses() -> None:
    class Stack(plait.LifoQueue[Any]):
        def _put(self, item: Any) -> None:
            super()._put(item)
