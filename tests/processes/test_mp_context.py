"""`plait.multiprocessing` and its contexts: every name, one start method for both, and what `install` puts in place."""

import importlib
import multiprocessing
import multiprocessing.context
import subprocess
import sys

import pytest

import plait
import plait.multiprocessing
from plait.multiprocessing import context


def test_every_public_name_is_there():
    missing = {name for name in multiprocessing.__all__ if not hasattr(plait.multiprocessing, name)}
    assert not missing
    assert set(plait.multiprocessing.__all__) >= set(multiprocessing.__all__)


@pytest.mark.parametrize("name", ["connection", "dummy", "managers", "process"])
def test_modules_that_are_not_plaits_are_the_standard_librarys(name):
    ours = importlib.import_module(f"plait.multiprocessing.{name}")
    assert ours is importlib.import_module(f"multiprocessing.{name}")
    assert getattr(plait.multiprocessing, name) is ours


def test_what_is_not_plaits_is_the_same_object():
    assert plait.multiprocessing.Process is multiprocessing.Process
    assert plait.multiprocessing.current_process is multiprocessing.current_process
    assert plait.multiprocessing.SUBDEBUG == multiprocessing.SUBDEBUG
    with pytest.raises(AttributeError):
        plait.multiprocessing.nothing  # noqa: B018


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_contexts_are_the_standard_librarys_with_plaits_methods(method):
    ours, standard = plait.multiprocessing.get_context(method), multiprocessing.get_context(method)
    assert isinstance(ours, type(standard))
    assert ours.get_start_method() == method
    assert ours.Process is standard.Process
    assert ours.get_context() is ours
    for name in context.OURS:
        assert getattr(ours, name).__func__ is context.OURS[name]


def test_the_zygote_is_a_context_of_plaits_only():
    assert plait.multiprocessing.get_context("zygote").get_start_method() == "zygote"
    for module in (plait.multiprocessing, multiprocessing):
        with pytest.raises(ValueError, match="cannot find context"):
            module.get_context("no such")
    with pytest.raises(ValueError, match="cannot find context"):
        multiprocessing.get_context("zygote")


def test_the_start_method_is_one_for_both():
    code = """if 1:
        import multiprocessing, plait.multiprocessing
        assert plait.multiprocessing.get_start_method(allow_none=True) is None
        default = multiprocessing.get_context()
        assert plait.multiprocessing.context._default_context.chosen is None
        multiprocessing.set_start_method("spawn", force=True)
        assert plait.multiprocessing.get_start_method() == "spawn"
        assert plait.multiprocessing.context._default_context.chosen.get_start_method() == "spawn"
        plait.multiprocessing.set_start_method(default.get_start_method(), force=True)
        assert multiprocessing.get_context() is default
        assert plait.multiprocessing.context._default_context.chosen is default
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_install_puts_pools_in_place():
    standard = multiprocessing.Pool
    with plait.installed():
        with multiprocessing.Pool(1) as pool:
            assert isinstance(pool, plait.multiprocessing.pool.Pool)
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert isinstance(pool, plait.multiprocessing.pool.Pool)
            assert pool._pool[0].name.startswith("Fork")
        assert multiprocessing.pool.Pool is plait.multiprocessing.pool.Pool
        assert multiprocessing.get_context("zygote") is plait.multiprocessing.get_context("zygote")
    assert multiprocessing.Pool == standard
    assert multiprocessing.context.BaseContext.Pool is not context.Pool


def use(lock, queue, value):
    with lock:
        value.value += 1
    queue.put(value.value)


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_what_contexts_make_can_be_handed_to_their_processes(method):
    ours = plait.multiprocessing.get_context(method)
    things = ours.Lock(), ours.Queue(), ours.Value("i", 4)
    assert all(type(thing).__module__.startswith("plait.") for thing in things[:2])
    process = ours.Process(target=use, args=things)
    process.start()
    assert things[1].get(timeout=30) == 5
    process.join(30)
    assert process.exitcode == 0


def test_locks_and_queues_can_be_handed_to_pools():
    with plait.multiprocessing.Pool(1, tell, (plait.multiprocessing.Lock(), plait.multiprocessing.Queue())) as pool:
        assert pool.apply(told) == ["Lock", "Queue"]


_told = []


def tell(*args):
    _told.extend(args)


def told():
    return [type(thing).__name__ for thing in _told]


def test_install_puts_locks_and_queues_in_place():
    with plait.installed():
        for made in (multiprocessing.Lock(), multiprocessing.get_context("spawn").Queue(), multiprocessing.Event()):
            assert type(made).__module__.startswith("plait.multiprocessing."), made
        assert multiprocessing.Value("i", 3).value == 3
    assert type(multiprocessing.Lock()).__module__ == "multiprocessing.synchronize"
