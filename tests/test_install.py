"""install(), uninstall() and installed(): the right names in the right places, and all of it undone."""

import asyncio
import concurrent.futures
import concurrent.futures.thread
import importlib
import json
import multiprocessing.dummy
import multiprocessing.pool
import os
import queue
import sys
import threading
from collections.abc import Iterator
from operator import attrgetter
from unittest import mock

import pytest

import plait
from plait import _install, _on_import
from side_by_side import start


@pytest.fixture
def places() -> Iterator[list[tuple[object, str, object]]]:
    """Every (module, name, object) that installing touches; checked to be as before at the test's end."""
    seen = []
    for row in _install.FACES:
        module = importlib.import_module(row.module)
        for path in row.names:
            owner, _, name = path.rpartition(".")
            holder = getattr(module, owner) if owner else module
            getattr(holder, name, None)  # some names are made when first asked for
            seen.append((holder, name, vars(holder).get(name)))
    yield seen
    for holder, name, value in seen:
        assert vars(holder).get(name) is value, f"{holder} {name}"


class TestTheTable:
    @pytest.mark.parametrize("row", _install.FACES, ids=lambda row: f"{row.module}-{row.face}")
    def test_every_name_is_there_and_is_plaits(self, row: _install.Face, places: object) -> None:
        module, face = importlib.import_module(row.module), importlib.import_module(row.face)
        before = {path: attrgetter(path)(module) for path in row.names if path != "ShutDown"}
        with plait.installed():
            for path, name in row.names.items():
                assert attrgetter(path)(module) is getattr(face, name)
                if path in before:
                    assert attrgetter(path)(module) is not before[path], path

    @pytest.mark.parametrize("module", ["threading", "queue", "concurrent.futures", "multiprocessing.pool"])
    def test_nothing_that_plait_makes_itself_is_forgotten(self, module: str) -> None:
        """A public name of a face that is not the standard library's object is in the table or in KEPT."""
        stdlib, face = importlib.import_module(module), importlib.import_module(f"plait.{module}")
        listed = {name for row in _install.FACES if row.module == module for name in row.names}
        own = {name for name in face.__all__ if getattr(face, name) is not getattr(stdlib, name, None)}
        assert own - listed <= {kept.removeprefix(f"{module}.") for kept in _install.KEPT}

    def test_thread_stays_the_standard_librarys(self) -> None:
        with plait.installed():
            assert isinstance(threading.main_thread(), threading.Thread)
            assert threading.Thread.__module__ == "threading"


class TestPutInAndTakenOut:
    def test_in_and_out(self, places: object) -> None:
        before = threading.Lock
        plait.install()
        try:
            assert threading.Lock is plait.Lock
            assert _install.is_installed()
        finally:
            plait.uninstall()
        assert threading.Lock is before
        assert not _install.is_installed()
        assert not any(isinstance(finder, _on_import._Finder) for finder in sys.meta_path)

    def test_twice_is_once(self, places: object) -> None:
        plait.install()
        plait.install()
        plait.uninstall()
        assert threading.Lock is not plait.Lock
        plait.uninstall()

    def test_uninstall_without_install(self, places: object) -> None:
        plait.uninstall()

    def test_contexts_nest(self, places: object) -> None:
        with plait.installed():
            with plait.installed():
                pass
            assert threading.Lock is plait.Lock
        assert threading.Lock is not plait.Lock

    def test_a_context_within_install_does_not_end_it(self, places: object) -> None:
        plait.install()
        with plait.installed():
            pass
        assert threading.Lock is plait.Lock
        plait.uninstall()

    def test_uninstall_within_a_context_waits_for_its_end(self, places: object) -> None:
        plait.install()
        with plait.installed():
            plait.uninstall()
            assert threading.Lock is plait.Lock
        assert threading.Lock is not plait.Lock

    def test_a_context_ends_with_an_error_too(self, places: object) -> None:
        with pytest.raises(KeyError), plait.installed():
            raise KeyError
        assert threading.Lock is not plait.Lock

    def test_contexts_in_many_threads(self, places: object) -> None:
        wrong = []

        def use() -> None:
            for _ in range(200):
                with plait.installed():
                    if threading.Lock is not plait.Lock:
                        wrong.append(threading.Lock)

        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong

    def test_somebody_elses_patch_is_left_to_them(self, places: object) -> None:
        theirs = object()
        before = threading.Lock
        plait.install()
        with mock.patch.object(threading, "Lock", theirs):
            plait.install()
            assert threading.Lock is theirs
        assert threading.Lock is plait.Lock
        threading.Lock = theirs  # type: ignore[assignment, misc]
        plait.uninstall()
        assert threading.Lock is theirs
        threading.Lock = before  # type: ignore[misc]

    def test_a_name_that_the_standard_library_lacks_goes_again(self) -> None:
        had = hasattr(queue, "ShutDown")
        with plait.installed():
            assert issubclass(queue.ShutDown, Exception)
        assert hasattr(queue, "ShutDown") is had


class TestModulesImportedLater:
    """Each in an interpreter of its own, in which nothing has been imported yet."""

    def look(self, code: str) -> object:
        ended = start([sys.executable, "-c", f"import plait, sys\n{code}"])
        assert ended.status == 0, ended.stderr
        return json.loads(ended.stdout)

    def test_installing_imports_nothing_of_the_standard_library_s_threads(self) -> None:
        code = """
plait.install()
before = set(sys.modules)
import json
names = "threading", "queue", "concurrent.futures", "multiprocessing", "typing"
print(json.dumps([name for name in names if name in before]))
"""
        assert self.look(code) == []

    @pytest.mark.parametrize("order", ["plait.install(); import {0}", "import {0}; plait.install()"])
    @pytest.mark.parametrize(
        ("module", "name", "face"),
        [
            ("threading", "Lock", "plait.threading"),
            ("queue", "Queue", "plait.queue"),
            ("concurrent.futures", "Future", "plait.concurrent.futures"),
            ("concurrent.futures", "ThreadPoolExecutor", "plait.concurrent.futures"),
            ("concurrent.futures.thread", "ThreadPoolExecutor", "plait.concurrent.futures"),
            ("concurrent.futures._base", "wait", "plait.concurrent.futures"),
            ("multiprocessing.pool", "ThreadPool", "plait.multiprocessing.pool"),
            ("multiprocessing.dummy", "Event", "plait.threading"),
            ("multiprocessing.dummy", "JoinableQueue", "plait.queue"),
        ],
    )
    def test_is_plaits_after_the_import_and_the_standard_librarys_after_uninstall(
        self, order: str, module: str, name: str, face: str
    ) -> None:
        code = f"""
{order.format(module)}
within = sys.modules[{module!r}].{name}
plait.uninstall()
after = sys.modules[{module!r}].{name}
import {face}
import json, threading, queue, concurrent.futures
ours = getattr({face}, {{"JoinableQueue": "Queue"}}.get({name!r}, {name!r}))
print(json.dumps([within is ours, after is not ours, getattr(after, "__module__", None)]))
"""
        within, after, where = self.look(code)  # type: ignore[misc]
        assert (within, after) == (True, True)
        assert not str(where).startswith("plait")

    def test_a_face_that_is_imported_first(self) -> None:
        code = """
plait.install()
import plait.queue, plait.concurrent.futures, plait.multiprocessing.pool
import queue, concurrent.futures, multiprocessing.pool, json
print(json.dumps([
    queue.Queue is plait.queue.Queue,
    concurrent.futures.Future is plait.concurrent.futures.Future,
    multiprocessing.pool.ThreadPool is plait.multiprocessing.pool.ThreadPool,
]))
"""
        assert self.look(code) == [True] * 3

    def test_the_module_looks_as_it_would(self) -> None:
        code = """
plait.install()
import queue, inspect, json, importlib.util
from importlib.machinery import SourceFileLoader
print(json.dumps([
    type(queue.__loader__) is SourceFileLoader,
    queue.__spec__.loader is queue.__loader__,
    "class PriorityQueue" in inspect.getsource(queue),
    importlib.util.find_spec("queue") is queue.__spec__,
]))
"""
        assert self.look(code) == [True] * 4

    def test_what_asks_the_loader_before_the_import(self) -> None:
        code = """
plait.install()
import importlib.util, json, runpy
spec = importlib.util.find_spec("queue")
names = runpy.run_module("queue")
print(json.dumps(["class PriorityQueue" in spec.loader.get_source("queue"), "PriorityQueue" in names]))
"""
        assert self.look(code) == [True, True]

    def test_a_reload(self) -> None:
        code = """
import queue, importlib, json
plait.install()
ours = queue.Queue
importlib.reload(queue)
within = queue.Queue is ours
plait.uninstall()
print(json.dumps([within, queue.Queue.__module__]))
"""
        assert self.look(code) == [True, "queue"]

    def test_many_threads_import_at_once(self) -> None:
        code = """
import threading
modules = ["queue", "concurrent.futures", "plait.queue", "plait.concurrent.futures", "multiprocessing.pool"] * 3
barrier = threading.Barrier(len(modules))
def load(name):
    barrier.wait()
    plait.install()
    __import__(name)
threads = [threading.Thread(target=load, args=(name,)) for name in modules]
for thread in threads: thread.start()
for thread in threads: thread.join()
import json, queue, concurrent.futures, multiprocessing.pool
print(json.dumps([
    queue.Queue.__module__, concurrent.futures.Future.__module__, multiprocessing.pool.ThreadPool.__module__
]))
"""
        for _ in range(5):
            assert self.look(code) == [
                "plait.queue",
                "plait.concurrent.futures",
                "plait.multiprocessing.pool",
            ]


class TestObjectsOfBothKinds:
    def test_made_before_used_after(self, places: object) -> None:
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

    def test_made_within_used_after(self, places: object) -> None:
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

    def test_isinstance_with_the_standard_librarys_futures_and_pools(self, places: object) -> None:
        pool = concurrent.futures.ThreadPoolExecutor(1)
        future: concurrent.futures.Future[int] = pool.submit(int, "1")
        with plait.installed():
            assert isinstance(future, concurrent.futures.Future)
            assert isinstance(pool, concurrent.futures.ThreadPoolExecutor)
            assert isinstance(pool, concurrent.futures.Executor)
        pool.shutdown()


class TestWhatTheStandardLibraryMakesOfIt:
    def test_asyncio_runs_calls_in_its_executor(self, places: object) -> None:
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

    def test_run_coroutine_threadsafe(self, places: object) -> None:
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

    def test_pools_of_threads_of_multiprocessing(self, places: object) -> None:
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

    def test_logging_and_a_queue_handler(self, places: object) -> None:
        import logging.handlers

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

    def test_a_thread_that_was_started_before_is_joined_after(self, places: object) -> None:
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

    def test_a_timer(self, places: object) -> None:
        with plait.installed():
            fired: queue.Queue[int] = queue.Queue()
            threading.Timer(0, fired.put, [1]).start()
            assert fired.get() == 1
            timer = threading.Timer(1000, fired.put, [2])
            timer.start()
            timer.cancel()
            timer.join()


def test_the_environment_is_left_alone() -> None:
    before = dict(os.environ)
    with plait.installed():
        assert dict(os.environ) == before
