"""Changing the import is enough: each face has the standard library's public names, with their signatures."""

import concurrent.futures
import importlib
import inspect
import queue
import threading
import types

import pytest

import plait

FACES = {
    "plait.threading": threading,
    "plait.queue": queue,
    "plait.concurrent.futures": concurrent.futures,
}
# What each face puts in place of the standard library's; everything else has to be the very same object.
OURS = {
    "plait.threading": {"Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Event", "Barrier", "Timer"},
    "plait.queue": {"Queue", "LifoQueue", "PriorityQueue"},
    "plait.concurrent.futures": {"Future", "ThreadPoolExecutor", "ProcessPoolExecutor", "wait", "as_completed"},
}
# Names that plait has on versions where the standard library does not yet.
NEWER = {
    "plait.queue": {"ShutDown"},
    "plait.concurrent.futures": {"MemoryLimitExceeded", "TaskTimeout", "WorkerDied"},
}

faces = pytest.mark.parametrize("name", FACES)
PAIRS = [(face, name) for face, names in OURS.items() for name in sorted(names)]
each_of_ours = pytest.mark.parametrize(("face", "name"), PAIRS)
classes_of_ours = pytest.mark.parametrize(("face", "name"), [pair for pair in PAIRS if pair[1][0].isupper()])


def public(module: types.ModuleType) -> set[str]:
    """The names that a caller may use: those exported, and those that the module defines without an underscore."""
    defined = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    }
    return set(module.__all__) | defined


@faces
def test_every_public_name_is_there(name: str) -> None:
    face, module = importlib.import_module(name), FACES[name]
    missing = {public_name for public_name in public(module) if not hasattr(face, public_name)}
    assert not missing
    assert set(module.__all__) <= set(face.__all__)


@faces
def test_every_exported_name_exists(name: str) -> None:
    face = importlib.import_module(name)
    assert len(face.__all__) == len(set(face.__all__))
    assert all(hasattr(face, exported) for exported in face.__all__)


@faces
def test_what_is_not_ours_is_the_standard_library_s_own(name: str) -> None:
    face, module = importlib.import_module(name), FACES[name]
    for exported in set(face.__all__) - OURS[name] - NEWER.get(name, set()):
        assert getattr(face, exported) is getattr(module, exported), exported


def test_the_hook_that_is_set_here_is_called() -> None:
    face = importlib.import_module("plait.threading")
    before, told = threading.excepthook, []
    try:
        face.excepthook = told.append
        thread = face.Thread(target=divmod, args=(1, 0))
        thread.start()
        thread.join()
        assert face.excepthook is threading.excepthook
    finally:
        face.excepthook = before
    assert threading.excepthook is before
    assert [args.exc_type for args in told] == [ZeroDivisionError]


@each_of_ours
def test_what_is_ours_says_so(face: str, name: str) -> None:
    ours = getattr(importlib.import_module(face), name)
    assert ours is not getattr(FACES[face], name)
    # The standard library's name for the module where its repr and its tests show it, else plait's.
    assert ours.__module__ in (face, face.removeprefix("plait."))
    assert ours.__name__ == name
    assert ours.__doc__


def methods(kind: type) -> set[str]:
    """The public methods of a class, its bases' among them."""
    return {name for name in dir(kind) if not name.startswith("_") and callable(getattr(kind, name))}


def standard_class(face: str, name: str) -> type:
    """The standard library's class; before 3.13 its Lock is a function that makes one."""
    standard = getattr(FACES[face], name)
    return type(standard()) if name in ("Lock", "RLock") else standard


@classes_of_ours
def test_every_public_method_is_there(face: str, name: str) -> None:
    missing = methods(standard_class(face, name)) - methods(getattr(importlib.import_module(face), name))
    assert not missing


def call_signature(function: object) -> list[tuple[str, object, object]] | None:
    """Name, kind and default of each argument; None where the standard library's C code does not tell."""
    try:
        parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return [(each.name, each.kind, each.default) for each in parameters if each.name != "self"]


@each_of_ours
def test_every_signature_can_be_called_alike(face: str, name: str) -> None:
    """Plait's signature begins as the standard library's; what follows is keyword-only or has a default."""
    ours, standard = getattr(importlib.import_module(face), name), getattr(FACES[face], name)
    pairs = [("", standard, ours)]
    if isinstance(standard, type):
        pairs += [(method, getattr(standard, method), getattr(ours, method)) for method in methods(standard)]
    for method, theirs, mine in pairs:
        expected = call_signature(theirs)
        if expected is None:
            continue
        got = call_signature(mine)
        assert got is not None, f"{name}.{method} does not tell its signature"
        assert got[: len(expected)] == expected, f"{name}.{method}"
        for argument, kind, default in got[len(expected) :]:
            rest = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
            optional = default is not inspect.Parameter.empty or kind in rest
            assert optional, f"{name}.{method}: {argument} is new and has no default"


def test_the_package_exports_what_it_says() -> None:
    missing = [name for name in plait.__all__ if not hasattr(plait, name)]
    assert not missing
    for names in OURS.values():
        classes = {name for name in names if name[0].isupper()}
        assert classes <= set(plait.__all__)
