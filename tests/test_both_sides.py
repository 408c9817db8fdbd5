"""One object used from threads and from tasks of several running loops at once."""

import asyncio
import collections.abc
import gc
import threading
import time
import weakref

import pytest

import plait
import plait.asyncio


@pytest.fixture(autouse=True, params=["asyncio's loop", "plait's loop"])
def _on_each_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "plait's loop":
        monkeypatch.setattr(asyncio, "run", plait.asyncio.run)
        monkeypatch.setattr(asyncio, "new_event_loop", plait.asyncio.new_event_loop)


def test_a_lock_excludes_tasks_and_threads_alike() -> None:
    lock = plait.Lock()
    inside = 0
    most = 0
    total = 0

    def note() -> None:
        nonlocal inside, most, total
        inside += 1
        most = max(most, inside)
        total += 1

    async def task() -> None:
        nonlocal inside
        for _ in range(50):
            async with lock:
                note()
                await asyncio.sleep(0)
                inside -= 1

    async def tasks() -> None:
        await asyncio.gather(*(task() for _ in range(4)))

    def thread() -> None:
        nonlocal inside
        for _ in range(50):
            with lock:
                note()
                time.sleep(0)
                inside -= 1

    threads = [threading.Thread(target=asyncio.run, args=(tasks(),)) for _ in range(2)]
    threads += [threading.Thread(target=thread) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert (most, total, inside, lock.locked()) == (1, 2 * 4 * 50 + 2 * 50, 0, False)


def test_a_release_in_a_thread_wakes_a_task_and_the_other_way_round() -> None:
    semaphore = plait.Semaphore(0)

    async def wait() -> bool:
        waiting = asyncio.ensure_future(semaphore.acquire_async())
        await asyncio.sleep(0)
        threading.Thread(target=semaphore.release).start()
        return await waiting

    assert asyncio.run(wait()) is True

    async def release() -> None:
        semaphore.release()

    waiter = threading.Thread(target=semaphore.acquire)
    waiter.start()
    asyncio.run(release())
    waiter.join(10)
    assert not waiter.is_alive()


def test_an_event_wakes_tasks_of_several_loops_and_threads() -> None:
    event = plait.Event()
    ready = threading.Semaphore(0)
    seen: list[bool] = []

    async def task() -> None:
        waits = [asyncio.ensure_future(event.wait_async()), asyncio.ensure_future(event_await())]
        await asyncio.sleep(0)
        ready.release()
        seen.extend(await asyncio.gather(*waits))

    async def event_await() -> bool:
        return await event

    def thread() -> None:
        ready.release()
        seen.append(event.wait())

    threads = [threading.Thread(target=asyncio.run, args=(task(),)) for _ in range(3)]
    threads.append(threading.Thread(target=thread))
    for each in threads:
        each.start()
    for _ in threads:
        assert ready.acquire(timeout=10)
    event.set()
    for each in threads:
        each.join(10)
    assert seen == [True] * 7


def test_a_cancelled_task_leaves_the_list_and_the_permit_goes_to_the_next() -> None:
    semaphore = plait.Semaphore(0)

    async def main() -> bool:
        first = asyncio.ensure_future(semaphore.acquire_async())
        second = asyncio.ensure_future(semaphore.acquire_async())
        await asyncio.sleep(0)
        first.cancel()
        semaphore.release()
        with pytest.raises(asyncio.CancelledError):
            await first
        return await asyncio.wait_for(second, 10)

    assert asyncio.run(main()) is True


def test_a_task_notified_and_cancelled_in_the_same_turn_passes_the_permit_on() -> None:
    semaphore = plait.Semaphore(0)

    async def main() -> bool:
        first = asyncio.ensure_future(semaphore.acquire_async())
        second = asyncio.ensure_future(semaphore.acquire_async())
        await asyncio.sleep(0)
        semaphore.release()  # notifies the first
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        return await asyncio.wait_for(second, 10)

    assert asyncio.run(main()) is True


def test_a_closed_loop_does_not_keep_what_it_was_given() -> None:
    semaphore = plait.Semaphore(0)
    loop = asyncio.new_event_loop()
    task = loop.create_task(semaphore.acquire_async())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    taken = threading.Thread(target=semaphore.acquire)
    taken.start()
    # From another thread, so that the closed loop has to be asked.
    threading.Thread(target=semaphore.release).start()
    taken.join(10)
    assert not taken.is_alive()
    del task


def test_wait_for_times_out_and_leaves_the_lock_usable() -> None:
    lock = plait.Lock()
    lock.acquire()

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(lock.acquire_async(), 0.01)
        lock.release()
        assert await lock.acquire_async() is True

    asyncio.run(main())
    assert lock.locked()


def test_the_awaitable_is_a_coroutine_to_asyncio() -> None:
    wait = plait.Event().wait_async()
    assert asyncio.iscoroutine(wait)
    assert isinstance(wait, collections.abc.Coroutine)
    wait.close()
    with pytest.raises(RuntimeError, match="already awaited"):
        wait.send(None)


def test_an_abandoned_wait_is_collected() -> None:
    event = plait.Event()
    gone = weakref.ref(event)

    async def wait(event: plait.Event) -> None:
        await event

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)
    task = loop.create_task(wait(event))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    del task, event, loop
    gc.collect()
    assert gone() is None


def test_release_of_a_free_lock_raises_in_async_with_too() -> None:
    lock = plait.Lock()

    async def main() -> None:
        with pytest.raises(RuntimeError, match="release unlocked lock"):
            async with lock:
                lock.release()

    asyncio.run(main())


def test_an_event_that_is_set_is_a_coroutine_that_is_over_at_once() -> None:
    event = plait.Event()
    event.set()
    wait = event.wait_async()
    assert asyncio.iscoroutine(wait)
    assert asyncio.run(asyncio.wait_for(wait, 1)) is True

    async def main() -> None:
        assert await event.wait_async() is True
        assert await asyncio.create_task(event.wait_async()) is True
        with pytest.raises(KeyError):
            event.wait_async().throw(KeyError("x"))

    asyncio.run(main())


def test_a_number_goes_round_through_the_loops_of_several_threads() -> None:
    queues = [plait.Queue[int](1) for _ in range(4)]
    seen = []

    async def pass_on(here: plait.Queue[int], there: plait.Queue[int]) -> None:
        for _ in range(100):
            await there.put_async(await here.get_async() + 1)

    threads = [
        threading.Thread(target=lambda i=i: asyncio.run(pass_on(queues[i], queues[i + 1]))) for i in range(3)
    ]
    for each in threads:
        each.start()
    for _ in range(100):
        queues[0].put(0)
        seen.append(queues[3].get(timeout=30))
    for each in threads:
        each.join(30)
    assert seen == [3] * 100


def test_a_loop_that_is_closed_passes_on_what_its_task_was_given() -> None:
    semaphore = plait.Semaphore(0)
    left = []

    def abandon() -> None:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda loop, context: None)
        left.append(loop.create_task(semaphore.acquire_async()))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    closed = threading.Thread(target=abandon)
    closed.start()
    closed.join(30)
    taken = []
    waiting = threading.Thread(target=lambda: taken.append(semaphore.acquire(timeout=30)))
    waiting.start()
    while not semaphore._value and waiting.is_alive() and not taken:
        semaphore.release()
        waiting.join(0.05)
    waiting.join(30)
    assert taken == [True]
    del left[:]


def test_cancelled_and_notified_at_the_same_time_by_another_thread() -> None:
    semaphore = plait.Semaphore(0)
    rounds = 200

    async def main() -> int:
        got = 0
        for _ in range(rounds):
            task = asyncio.ensure_future(semaphore.acquire_async())
            await asyncio.sleep(0)
            thread = threading.Thread(target=semaphore.release)
            thread.start()
            task.cancel()
            try:
                got += await task
            except asyncio.CancelledError:
                pass
            thread.join()
        return got

    got = asyncio.run(main())
    assert got + semaphore._value == rounds
