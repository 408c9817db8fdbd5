"""Puts plait's names in place of the standard library's, and takes them out again.

`FACES` is the whole list: which name of which standard module gives way to which name of plait's. A standard module
that the program has not imported yet costs nothing: `_on_import` tells when it has been, and its names are put
in place before the import statement returns. So `install()` is quick, and a program under `plait run` imports
what it would have imported under `python`.

What is absent, on purpose: `_thread` and the private aliases that hold its types (`threading._allocate_lock`,
`_LockType`, `_CRLock`, `_RLock`, ...) stay untouched, since the interpreter itself uses them; so do
`threading.Thread`, `local` and `SimpleQueue` (see `KEPT`). A module that had done `from threading import Lock`
before keeps what it had.

No import happens while `_state_lock` is held: another thread may hold the import lock of a module that it is just
about to tell us of.
"""

from __future__ import annotations

import _thread
import sys
from importlib import import_module

from plait import _on_import

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of plait
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

__all__ = ["install", "installed", "is_installed", "uninstall"]


class Face:
    """One standard module, the names in it that give way, and where plait's objects for them are."""

    __slots__ = ("adds", "face", "module", "names", "package")

    def __init__(
        self, module: str, face: str, names: dict[str, str], package: str = "", adds: bool = True
    ) -> None:
        self.module = module
        self.face = face
        self.names = names  # the name in the standard module (or Class.method) -> the name in plait's
        self.package = package or module  # what has to be complete before the face can be imported
        self.adds = adds  # names that this version does not have, too


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def _asyncio(module: str, names: dict[str, str]) -> Face:
    return Face(module, "plait.asyncio", names, package="asyncio", adds=False)


_LOCKS = ("Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Event", "Barrier")

# What processes share.
_QUEUES = ("Queue", "JoinableQueue", "SimpleQueue")
_VALUES = ("Value", "Array", "RawValue", "RawArray")

# Where asyncio defines its names. `asyncio` itself has them all, under the same names.
_COROUTINES = {
    "asyncio.futures": _same("Future", "wrap_future"),
    "asyncio.tasks": _same(
        "Task",
        "create_task",
        "ensure_future",
        "run_coroutine_threadsafe",
        "eager_task_factory",
        "gather",
        "wait",
        "wait_for",
        "as_completed",
        "shield",
        "sleep",
    ),
    "asyncio.locks": _same("Lock", "Event", "Condition", "Semaphore", "BoundedSemaphore", "Barrier"),
    "asyncio.queues": _same("Queue", "LifoQueue", "PriorityQueue"),
    "asyncio.taskgroups": _same("TaskGroup"),
    "asyncio.timeouts": _same("Timeout", "timeout", "timeout_at"),
    "asyncio.threads": _same("to_thread"),
    "asyncio.streams": _same(
        "StreamReader",
        "StreamReaderProtocol",
        "StreamWriter",
        "open_connection",
        "open_unix_connection",
        "start_server",
        "start_unix_server",
    ),
    "asyncio.unix_events": {"EventLoop": "EventLoop", "SelectorEventLoop": "EventLoop"},
}

FACES = (
    Face("threading", "plait.threading", {**_same(*_LOCKS), "Thread.join": "_join"}),
    Face("queue", "plait.queue", _same("Queue", "LifoQueue", "PriorityQueue", "ShutDown")),
    Face(
        "concurrent.futures._base",
        "plait.concurrent.futures",
        _same("Future", "wait", "as_completed"),
        package="concurrent.futures",
    ),
    Face("concurrent.futures.thread", "plait.concurrent.futures", _same("ThreadPoolExecutor")),
    Face(
        "concurrent.futures",
        "plait.concurrent.futures",
        _same("Future", "ThreadPoolExecutor", "wait", "as_completed"),
    ),
    Face("concurrent.futures.process", "plait.concurrent.futures._process", _same("ProcessPoolExecutor")),
    # There the name is looked up when it is first asked for: nothing is put in place before.
    Face(
        "concurrent.futures",
        "plait.concurrent.futures._process",
        _same("ProcessPoolExecutor"),
        package="concurrent.futures.process",
    ),
    Face("multiprocessing.pool", "plait.multiprocessing.pool", _same("Pool", "ThreadPool")),
    # The methods of contexts take what they make from these.
    Face("multiprocessing.synchronize", "plait.multiprocessing.synchronize", _same(*_LOCKS)),
    Face("multiprocessing.sharedctypes", "plait.multiprocessing.sharedctypes", _same(*_VALUES)),
    Face("multiprocessing.shared_memory", "plait.multiprocessing.shared_memory", _same("SharedMemory")),
    # But for pools, which name the context that they are called on, and queues, whose classes libraries derive from.
    Face(
        "multiprocessing.context",
        "plait.multiprocessing.context",
        {f"BaseContext.{name}": name for name in ("Pool", *_QUEUES)},
        package="multiprocessing",
    ),
    Face(
        "multiprocessing",
        "plait.multiprocessing",
        _same("Pool", *_LOCKS, *_QUEUES, *_VALUES, "get_context", "set_start_method"),
    ),
    *(_asyncio(module, names) for module, names in _COROUTINES.items()),
    _asyncio("asyncio", {name: ours for names in _COROUTINES.values() for name, ours in names.items()}),
    # What asyncio.run() and asyncio.new_event_loop() make, unless the program sets a policy of its own.
    _asyncio("asyncio.unix_events", {"_UnixDefaultEventLoopPolicy._loop_factory": "EventLoop"}),
    # Modules that copy names at import.
    _asyncio("asyncio.streams", _same("sleep")),
    Face("multiprocessing.dummy", "plait.threading", _same(*_LOCKS)),
    Face("multiprocessing.dummy", "plait.queue", {"Queue": "Queue", "JoinableQueue": "Queue"}),
    Face("multiprocessing.dummy.connection", "plait.queue", _same("Queue")),
    # How the children of spawn and forkserver come to run on plait.
    Face("multiprocessing.util", "plait._children", _same("spawnv_passfds")),
)

# Names that stay the standard library's, and why: `plait doctor` prints this.
KEPT = {
    "threading.Thread": "isinstance and subclasses go on to hold; only its join() is plait's",
    "threading.Timer": "made of names that are replaced",
    "threading.local": "C already",
    "queue.SimpleQueue": "C already, and measured quicker than plait's own",
    "concurrent.futures.InterpreterPoolExecutor": "interpreters are not plait's; the futures that it returns are",
    "multiprocessing.queues.Queue, ...": "libraries derive from them, down to private attributes; Queue() is plait's",
    "multiprocessing.Process, Pipe, Manager, ...": "the standard library's; the children run on plait",
    "asyncio.run, Runner, new_event_loop": "make plait's loop, unless the program sets a policy of its own",
    "asyncio.current_task, all_tasks, ...": "know plait's tasks as well",
    "asyncio.get_running_loop, ...": "C already",
    "asyncio.Handle, Transport, SSLProtocol, ...": "plait's own are these to isinstance",
    "asyncio.SelectorEventLoop(selector)": "with a selector of the program's it makes the standard library's loop",
}


class _Absent:
    """Stands for a name that was not there."""


class Patch:
    """One name that has been put in place."""

    __slots__ = ("after", "before", "name", "owner")

    def __init__(self, owner: Any, name: str, before: Any, after: Any) -> None:
        self.owner = owner  # a module or a class
        self.name = name
        self.before = before  # _Absent where there was none
        self.after = after


_state_lock = _thread.allocate_lock()
_wanted = False  # install() was called, uninstall() was not
_contexts = 0  # how many `with installed():` are open
_patches: dict[tuple[int, str], Patch] = {}


def install() -> None:
    """Put plait in place of the standard library's threads, queues and thread pools, for the whole program.

    After it `threading.Lock`, `queue.Queue`, `concurrent.futures.ThreadPoolExecutor` and the others that
    `plait doctor` lists are plait's. Objects made before stay valid and can be used along with new ones; a
    module that had done `from threading import Lock` before keeps what it had. So call it first.
    Processes started by `multiprocessing` afterwards run on plait too, those of `subprocess` do not.
    Calling it again does nothing.
    """
    global _wanted
    with _state_lock:
        _wanted = True
    _put_in_place()


def uninstall() -> None:
    """Take plait's names out again: each standard module gets back exactly what it had.

    Objects that were made in between stay valid. While a `with installed():` is open somewhere, the names stay until it
    ends. Calling it again does nothing.
    """
    global _wanted
    with _state_lock:
        _wanted = False
        _restore_unless_held()


class installed:
    """Run the block with plait in place of the standard library, as between `install()` and `uninstall()`.

    May be nested and may be open in several threads: the names stay until the last one ends, and after that
    if `install()` was called. As it is for the whole process, other threads see plait's names during the block.
    """

    def __enter__(self) -> None:
        global _contexts
        with _state_lock:
            _contexts += 1
        try:
            _put_in_place()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        global _contexts
        with _state_lock:
            _contexts -= 1
            _restore_unless_held()


def is_installed() -> bool:
    """Whether plait is in place now."""
    return _wanted or _contexts > 0


def patches() -> list[Patch]:
    """What has been put in place so far, in that order (modules that are not imported yet are not in it)."""
    with _state_lock:
        return list(_patches.values())


def _put_in_place() -> None:
    # The watch comes first: a module that another thread imports in between must not be missed.
    _on_import.watch({name for row in FACES for name in (row.module, row.face)}, _loaded)
    for row in FACES:
        _apply(row)


def _loaded(name: str) -> None:
    """The module `name`, a standard one or a face, has just been executed (perhaps anew)."""
    for row in FACES:
        if name in (row.module, row.face, row.package):
            _apply(row, anew=name == row.module)


def _apply(row: Face, anew: bool = False) -> None:
    if not (_on_import.is_complete(row.module) and _on_import.is_complete(row.package)):
        return  # _loaded will be told
    if row.module == "concurrent.futures.thread":
        # InterpreterPoolExecutor (3.14) has to derive from the standard ThreadPoolExecutor.
        try:
            import_module("concurrent.futures.interpreter")
        except ImportError:
            pass
    face = import_module(row.face)
    if not _on_import.is_complete(row.face):
        return  # it is importing this very module: _loaded will be told of it too
    module = sys.modules[row.module]
    # May import. A name that asyncio does not have in this version, the face does not have either.
    ours = {path: getattr(face, name) for path, name in row.names.items() if row.adds or hasattr(face, name)}
    with _state_lock:
        if not is_installed():
            return
        for path, after in ours.items():
            owner: Any = module
            *outer, attribute = path.split(".")
            for part in outer:
                owner = getattr(owner, part)
            if row.adds or hasattr(owner, attribute):
                _put(owner, attribute, after, anew)


def _put(owner: Any, name: str, after: Any, anew: bool) -> None:
    key = (id(owner), name)
    if key in _patches and not anew:
        return  # there already; or somebody has patched it since, whose patch it is now
    before = vars(owner).get(name, _Absent)
    if before is after:
        # The module copied the name while plait was in place, or plait's object is the standard one.
        before = next((patch.before for patch in _patches.values() if patch.after is after), after)
        if before is after or key in _patches:
            return
    _patches[key] = Patch(owner, name, before, after)
    setattr(owner, name, after)


def _restore_unless_held() -> None:
    if is_installed():
        return
    _on_import.unwatch(_loaded)
    for patch in reversed(_patches.values()):
        if vars(patch.owner).get(patch.name, _Absent) is not patch.after:
            continue  # somebody has patched it since: it is theirs
        if patch.before is _Absent:
            delattr(patch.owner, patch.name)
        else:
            setattr(patch.owner, patch.name, patch.before)
    _patches.clear()
