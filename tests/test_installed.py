"""What the standard library makes of plait while it is installed, and of objects of both kinds beside each other."""

import asyncio
import concurrent.futures
import concurrent.futures.thread
import logging.handlers
import multiprocessing.dummy
import multiprocessing.pool
import queue
import sys
import threading
from collections.abc import Iterator

import pytest

import plait
from places import left_as_they_were
from side_by_side import start


@pytest.fixture(autouse=True)
def _left_as_they_were() -> Iterator[None]:
    with left_as_they_were():
        yield


class TestObjectsOfBothKinds:
    def test_made_before_used_after(self) -> None:
        lock, condition, event, line = (
            threading.Lock(),
            threading.Condition(),
            threading.Event(),
            queue.Queue[int](),
        )
        pool = concurrent.futures.ThreadPoolExecutor(1)
        early = pool.submit(event.wait)
        with plait.installed():
            with lock, condition:
                condition.notify_all()
            event.set()
            line.put(1)
            assert line.get() == 1
            late = pool.submit(int, "7")
            with concurrent.futures.ThreadPoolExecutor(1) as ours:
                other = ours.submit(int, "8")
                done, _ = concurrent.futures.wait([early, late, other], 60)
                assert {future.result() for future in done} == {True, 7, 8}
                assert set(concurrent.futures.as_completed([early, late, other], 60)) == done
            pool.shutdown()

    def test_made_within_used_after(self) -> None:
        with plait.installed():
            lock, condition, event, line = (
                threading.Lock(),
                threading.Condition(),
                threading.Event(),
                queue.Queue[int](),
            )
            pool = concurrent.futures.ThreadPoolExecutor(1)
            thread = threading.Thread(target=event.wait)
            thread.start()
        with lock, condition:
            condition.notify_all()
        event.set()
        thread.join()
        line.put(1)
        assert line.get() == 1
        future = pool.submit(int, "7")
        assert concurrent.futures.wait([future], 60).done == {future}
        assert next(concurrent.futures.as_completed([future], 60)).result() == 7
        pool.shutdown()

    def test_isinstance_with_the_standard_librarys_futures_and_pools(self) -> None:
        pool = concurrent.futures.ThreadPoolExecutor(1)
        future: concurrent.futures.Future[int] = pool.submit(int, "1")
        with plait.installed():
            assert isinstance(future, concurrent.futures.Future)
            assert isinstance(pool, concurrent.futures.ThreadPoolExecutor)
            assert isinstance(pool, concurrent.futures.Executor)
        pool.shutdown()


class TestWhatTheStandardLibraryMakesOfIt:
    def test_asyncio_runs_calls_in_its_executor(self) -> None:
        before = concurrent.futures.ThreadPoolExecutor(1)

        async def main() -> list[object]:
            loop = asyncio.get_running_loop()
            own = await loop.run_in_executor(None, threading.current_thread)
            other = await asyncio.to_thread(sum, [1, 2])
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                third = await asyncio.wrap_future(pool.submit(int, "3"))
                fourth = await loop.run_in_executor(pool, int, "4")
            loop.set_default_executor(before)
            fifth = await loop.run_in_executor(None, int, "5")
            return [own.name.startswith("asyncio"), other, third, fourth, fifth]

        with plait.installed():
            assert asyncio.run(main()) == [True, 3, 3, 4, 5]

    def test_run_coroutine_threadsafe(self) -> None:
        async def one() -> int:
            return 1

        with plait.installed():
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever)
            thread.start()
            assert asyncio.run_coroutine_threadsafe(one(), loop).result(60) == 1
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def test_a_process_pool(self) -> None:
        code = """
import concurrent.futures, multiprocessing
if __name__ == "__main__":
    with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("forkserver")) as pool:
        futures = [pool.submit(int, text) for text in "123"]
        print(sorted(f.result() for f in concurrent.futures.as_completed(futures)), type(futures[0]).__module__)
        print(list(pool.map(abs, [-1, -2])), concurrent.futures.wait(futures).not_done)
"""
        ended = start([sys.executable, "-c", f"import plait; plait.install()\n{code}"])
        assert (ended.status, ended.stderr) == (0, "")
        assert ended.stdout == "[1, 2, 3] plait.concurrent.futures\n[1, 2] set()\n"

    def test_a_pool_of_interpreters(self) -> None:
        if not hasattr(concurrent.futures, "InterpreterPoolExecutor"):
            pytest.skip("interpreters come with 3.14")
        code = """
import plait; plait.install()
from concurrent.futures import InterpreterPoolExecutor
with InterpreterPoolExecutor(1) as pool:
    print(pool.submit(int, "7").result(), list(pool.map(abs, [-1])))
"""
        ended = start([sys.executable, "-c", code])
        assert (ended.status, ended.stdout, ended.stderr) == (0, "7 [1]\n", "")

    def test_pools_of_threads_of_multiprocessing(self) -> None:
        with plait.installed():
            with multiprocessing.pool.ThreadPool(2) as pool:
                assert pool.map(abs, [-1, -2]) == [1, 2]
            with multiprocessing.dummy.Pool(2) as other:
                assert type(other) is type(pool)
                assert other.apply(int, ("7",)) == 7
            line = multiprocessing.dummy.Queue()
            line.put(1)
            assert line.get() == 1
            first, second = multiprocessing.dummy.Pipe()
            first.send(2)
            assert second.recv() == 2

    def test_a_manager(self) -> None:
        code = """
import multiprocessing
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Manager() as manager:
        line, lock, event, lock2 = manager.Queue(), manager.Lock(), manager.Event(), manager.RLock()
        line.put([1]); event.set()
        with lock, lock2:
            print(line.get(), event.is_set(), line.empty())
        condition = manager.Condition()
        with condition:
            condition.notify()
        print(manager.Barrier(1).wait(), manager.Semaphore(2).acquire())
"""
        ended = start([sys.executable, "-c", f"import plait; plait.install()\n{code}"])
        assert (ended.status, ended.stdout, ended.stderr) == (0, "[1] True True\n0 True\n", "")

    def test_logging_and_a_queue_handler(self) -> None:
        with plait.installed():
            line: queue.Queue[logging.LogRecord] = queue.Queue()
            seen: list[str] = []
            target = logging.Handler()
            target.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
            listener = logging.handlers.QueueListener(line, target)
            listener.start()
            handler = logging.handlers.QueueHandler(line)
            handler.emit(logging.makeLogRecord({"msg": "a %s", "args": ("word",)}))
            listener.stop()
            assert seen == ["a word"]

    def test_after_a_fork(self) -> None:
        """The child of a threaded program renews the locks of threading, logging and its own."""
        code = """
import plait; plait.install()
import logging, os, threading, warnings
warnings.simplefilter("ignore")
lock, event = threading.Lock(), threading.Event()
def hold():
    with lock:
        held.set(); event.wait()
held = threading.Event()
thread = threading.Thread(target=hold); thread.start(); held.wait()
if os.fork() == 0:
    logging.getLogger("x")
    lock._at_fork_reinit()
    with lock: pass
    late = threading.Thread(target=int); late.start(); late.join()
    print(threading.active_count(), thread.is_alive(), flush=True)
    os._exit(0)
status = os.wait()[1]
event.set(); thread.join()
print(status, threading.active_count())
"""
        ended = start([sys.executable, "-c", code])
        assert (ended.status, ended.stdout, ended.stderr) == (0, "1 False\n0 1\n", "")

    def test_a_thread_that_was_started_before_is_joined_after(self) -> None:
        go = threading.Event()
        thread = threading.Thread(target=go.wait)
        thread.start()
        with plait.installed():
            go.set()
            thread.join()
            late = threading.Thread(target=int)
            late.start()
        late.join()
        assert not thread.is_alive()
        assert not late.is_alive()

    def test_a_timer(self) -> None:
        with plait.installed():
            fired: queue.Queue[int] = queue.Queue()
            threading.Timer(0, fired.put, [1]).start()
            assert fired.get() == 1
            timer = threading.Timer(1000, fired.put, [2])
            timer.start()
            timer.cancel()
            timer.join()
