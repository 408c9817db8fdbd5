"""`plait.asyncio` has every name that the running version's `asyncio` has, and says which are its own."""

import asyncio
import importlib
import inspect
import pkgutil
import subprocess
import sys
import types

import pytest

import plait.asyncio
from plait import _install

OURS = [(module, name) for module, names in plait.asyncio.OURS.items() for name in names]
# Names of asyncio that plait replaces while it is installed, but for those that this version does not have.
REPLACED = {path: row.names[path] for row in _install.FACES if row.module == "asyncio" for path in row.names}


def test_every_public_name_is_there() -> None:
    missing = [name for name in asyncio.__all__ if not hasattr(plait.asyncio, name)]
    assert not missing
    assert set(asyncio.__all__) <= set(plait.asyncio.__all__)
    assert set(asyncio.__all__) <= set(dir(plait.asyncio))


def test_every_exported_name_exists() -> None:
    assert len(plait.asyncio.__all__) == len(set(plait.asyncio.__all__))
    assert all(hasattr(plait.asyncio, name) for name in plait.asyncio.__all__)


def test_submodules_are_reachable() -> None:
    for found in pkgutil.iter_modules(asyncio.__path__):
        module = getattr(asyncio, found.name, None)
        if isinstance(module, types.ModuleType):
            assert isinstance(getattr(plait.asyncio, found.name), types.ModuleType)
    assert plait.asyncio.events is asyncio.events
    assert plait.asyncio.tasks is asyncio.tasks


def test_a_name_that_nobody_has() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        plait.asyncio.no_such_name  # noqa: B018


@pytest.mark.parametrize(("module", "name"), OURS)
def test_what_is_ours_comes_from_where_the_table_says(module: str, name: str) -> None:
    ours = getattr(plait.asyncio, name)
    assert ours is getattr(importlib.import_module(module), name)
    if name != "wait_for" or sys.version_info >= (3, 12):  # 3.11's awaits in a task that its users can see: it stays
        assert ours is not getattr(asyncio, name, None)
    assert ours.__doc__
    assert name in plait.asyncio.__all__


def test_nothing_that_waits_is_left_out() -> None:
    """What a task can wait on or in is plait's own, on every version."""
    own = {name for _, name in OURS}
    assert own >= {"EventLoop", "Future", "Task", "TaskGroup", "Timeout", "timeout", "timeout_at", "sleep"}
    assert own >= {"gather", "wait", "wait_for", "as_completed", "shield", "ensure_future"}
    assert own >= {"Lock", "Event", "Condition", "Semaphore", "BoundedSemaphore", "Barrier"}
    assert own >= {"Queue", "LifoQueue", "PriorityQueue", "StreamReader", "StreamWriter"}


def test_what_is_not_ours_is_the_standard_librarys_own() -> None:
    ours = {name for _, name in OURS}
    for name in set(asyncio.__all__) - ours:
        assert getattr(plait.asyncio, name) is getattr(asyncio, name), name


def test_what_is_ours_replaces_the_standard_librarys() -> None:
    """Or the standard library's own makes plait's loop: run, Runner, new_event_loop."""
    by_way_of_the_loop = {"run", "Runner", "new_event_loop"}
    ours = {name for _, name in OURS if hasattr(asyncio, name)}
    assert ours - by_way_of_the_loop <= REPLACED.keys()


@pytest.mark.parametrize(
    "name", sorted({name for _, name in OURS if name[0].islower() and hasattr(asyncio, name)})
)
def test_every_signature_can_be_called_alike(name: str) -> None:
    try:
        standard = inspect.signature(getattr(asyncio, name))
    except (TypeError, ValueError):
        return  # the standard library's C code does not tell
    ours = inspect.signature(getattr(plait.asyncio, name))
    names = list(standard.parameters)
    assert list(ours.parameters)[: len(names)] == names
    for each in names:
        theirs, mine = standard.parameters[each], ours.parameters[each]
        assert mine.kind == theirs.kind, each
        assert (mine.default is mine.empty) == (theirs.default is theirs.empty), each
    for each in list(ours.parameters.values())[len(names) :]:
        assert each.default is not each.empty or each.kind == each.VAR_KEYWORD, each


@pytest.mark.parametrize(
    "name", sorted({name for _, name in OURS if name[0].isupper() and hasattr(asyncio, name)})
)
def test_every_public_method_is_there(name: str) -> None:
    missing = {
        method
        for method in dir(getattr(asyncio, name))
        if not method.startswith("_") and not hasattr(getattr(plait.asyncio, name), method)
    }
    assert not missing


def test_import_plait_does_not_import_asyncio() -> None:
    code = "import plait, sys; plait.install(); assert 'asyncio' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_import_is_quick() -> None:
    """`plait.asyncio` brings in nothing besides asyncio and itself."""
    code = """
import sys, asyncio, plait
before = set(sys.modules)
import plait.asyncio
new = set(sys.modules) - before - {"gc"}  # which is built in
print(*sorted(name for name in new if not name.startswith("plait.")))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True
    )
    assert done.stdout.split() == []
