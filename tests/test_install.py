"""install(), uninstall() and installed(): the right names in the right places, and all of it undone."""

import importlib
import json
import os
import queue
import sys
import threading
from collections.abc import Iterator
from operator import attrgetter
from unittest import mock

import pytest

import plait
from places import is_shared, is_there, left_as_they_were
from plait import _install, _on_import
from side_by_side import start


@pytest.fixture(autouse=True)
def _left_as_they_were() -> Iterator[None]:
    with left_as_they_were():
        yield


class TestTheTable:
    @pytest.mark.parametrize("row", _install.FACES, ids=lambda row: f"{row.module}-{row.face}")
    def test_every_name_is_there_and_is_plaits(self, row: _install.Face) -> None:
        module, face = importlib.import_module(row.module), importlib.import_module(row.face)
        before = {path: attrgetter(path)(module) for path in row.names if is_there(row, path)}
        shared = {path for path in row.names if is_shared(row, path)}
        with plait.installed():
            for path, name in row.names.items():
                if path in before or row.adds:
                    assert attrgetter(path)(module) is getattr(face, name)
                if path in before and path not in shared:
                    assert attrgetter(path)(module) is not before[path], path

    @pytest.mark.parametrize(
        "module", ["threading", "queue", "concurrent.futures", "multiprocessing", "multiprocessing.pool"]
    )
    def test_nothing_that_plait_makes_itself_is_forgotten(self, module: str) -> None:
        """A public name of a face that is not the standard library's object is in the table or in KEPT."""
        stdlib, face = importlib.import_module(module), importlib.import_module(f"plait.{module}")
        listed = {name for row in _install.FACES if row.module == module for name in row.names}
        known = {name for name in face.__all__ if hasattr(stdlib, name)}
        own = {name for name in known if getattr(face, name) is not getattr(stdlib, name)}
        assert own - listed <= {kept.removeprefix(f"{module}.") for kept in _install.KEPT}

    def test_thread_stays_the_standard_librarys(self) -> None:
        with plait.installed():
            assert isinstance(threading.main_thread(), threading.Thread)
            assert threading.Thread.__module__ == "threading"


class TestPutInAndTakenOut:
    def test_in_and_out(self) -> None:
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

    def test_twice_is_once(self) -> None:
        plait.install()
        plait.install()
        plait.uninstall()
        assert threading.Lock is not plait.Lock
        plait.uninstall()

    def test_uninstall_without_install(self) -> None:
        plait.uninstall()

    def test_contexts_nest(self) -> None:
        with plait.installed():
            with plait.installed():
                pass
            assert threading.Lock is plait.Lock
        assert threading.Lock is not plait.Lock

    def test_a_context_within_install_does_not_end_it(self) -> None:
        plait.install()
        with plait.installed():
            pass
        assert threading.Lock is plait.Lock
        plait.uninstall()

    def test_uninstall_within_a_context_waits_for_its_end(self) -> None:
        plait.install()
        with plait.installed():
            plait.uninstall()
            assert threading.Lock is plait.Lock
        assert threading.Lock is not plait.Lock

    def test_a_context_ends_with_an_error_too(self) -> None:
        with pytest.raises(KeyError), plait.installed():
            raise KeyError
        assert threading.Lock is not plait.Lock

    def test_contexts_in_many_threads(self) -> None:
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

    def test_somebody_elses_patch_is_left_to_them(self) -> None:
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


def test_the_environment_is_left_alone() -> None:
    before = dict(os.environ)
    with plait.installed():
        assert dict(os.environ) == before
