"""Processes that multiprocessing starts run on plait where their parent does; those of subprocess do not."""

import sys
from pathlib import Path

import pytest

from side_by_side import same, start, under_plait

WAYS = ("fork", "spawn", "forkserver")

# Names taken at import: in a spawned child, and in forkserver's server, plait has to be there before this runs.
MAIN = """\
import multiprocessing, sys, threading
from concurrent.futures import ProcessPoolExecutor
from threading import Lock

MADE = Lock()

def say(name=None):
    with MADE, threading.Lock():
        print(threading.Lock.__module__, type(MADE).__module__, sys.modules["__main__"].__name__, flush=True)
    return threading.Lock.__module__

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    child = context.Process(target=say)
    child.start()
    child.join()
    print(child.exitcode)
    with context.Pool(1) as pool:
        print(pool.map(say, [1]))
    with ProcessPoolExecutor(1, context) as pool:
        print(list(pool.map(say, [1])))
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "a folder" / "program.py"
    path.parent.mkdir()
    path.write_text(MAIN)
    return path


def ours(way: str) -> str:
    """What MAIN prints where its children run on plait."""
    main = "__main__" if way == "fork" else "__mp_main__"
    said = f"plait.threading plait.threading {main}\n"
    return f"{said}0\n{said}['plait.threading']\n{said}['plait.threading']\n"


@pytest.mark.parametrize("way", WAYS)
class TestUnderPlaitRun:
    def test_script(self, program: Path, way: str) -> None:
        ended = under_plait(program.name, way, cwd=program.parent)
        assert (ended.status, ended.stderr) == (0, "")
        assert ended.stdout == ours(way)

    def test_module(self, program: Path, way: str) -> None:
        ended = under_plait("-m", "program", way, cwd=program.parent)
        assert (ended.stdout, ended.stderr) == (ours(way), "")

    def test_package(self, program: Path, way: str) -> None:
        """Of a package's __main__ a spawned child imports nothing: what it runs comes from elsewhere."""
        package = program.with_name("pack")
        package.mkdir()
        program.rename(package / "work.py")
        (package / "__main__.py").write_text(
            "import multiprocessing, sys\n"
            "from .work import say\n"
            "if __name__ == '__main__':\n"
            "    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:\n"
            "        print(pool.map(say, [1]))\n"
        )
        ended = under_plait("-m", "pack", way, cwd=package.parent)
        assert (ended.status, ended.stderr) == (0, "")
        assert ended.stdout.endswith("['plait.threading']\n")

    def test_it_prints_what_it_prints_under_python(self, tmp_path: Path, way: str) -> None:
        program = tmp_path / "program.py"
        program.write_text(
            "import multiprocessing, sys, os\n"
            "def show(*args): print(args, sys.argv, __name__, os.path.basename(__file__), flush=True)\n"
            "def fail(): raise SystemExit(3)\n"
            "def write(line): line.put([os.getpid() != parent, 'text'])\n"
            "parent = os.getppid()\n"
            "if __name__ == '__main__':\n"
            "    context = multiprocessing.get_context(sys.argv[1])\n"
            "    line = context.Queue()\n"
            "    for target, args in (show, (1, 'two')), (fail, ()), (write, (line,)):\n"
            "        child = context.Process(target=target, args=args)\n"
            "        child.start(); child.join(); print(child.exitcode, flush=True)\n"
            "    print(line.get())\n"
        )
        assert same("program.py", way, "more", cwd=tmp_path).status == 0

    def test_a_module_beside_the_script_that_is_named_plait(self, program: Path, way: str) -> None:
        program.with_name("plait.py").write_text("raise SystemExit('the wrong plait')")
        assert under_plait(program.name, way, cwd=program.parent).stdout == ours(way)

    def test_children_of_children(self, tmp_path: Path, way: str) -> None:
        program = tmp_path / "program.py"
        program.write_text(
            "import multiprocessing, sys, threading\n"
            "def start(way, depth):\n"
            "    print(depth, threading.Lock.__module__, flush=True)\n"
            "    if depth:\n"
            "        child = multiprocessing.get_context(way).Process(target=start, args=(way, depth - 1))\n"
            "        child.start(); child.join()\n"
            "if __name__ == '__main__': start(sys.argv[1], 2)\n"
        )
        ended = under_plait("program.py", way, cwd=tmp_path)
        assert ended.stdout == "".join(f"{depth} plait.threading\n" for depth in (2, 1, 0))


class TestForkserversOwnPreload:
    def test_goes_on_to_work_and_finds_plait(self, tmp_path: Path) -> None:
        (tmp_path / "loaded.py").write_text(
            "import os, threading\nfrom queue import Queue\nPLACE = os.getpid(), Queue.__module__\n"
        )
        (tmp_path / "program.py").write_text(
            "import multiprocessing, os, sys\n"
            "def look():\n"
            "    assert 'loaded' in sys.modules, 'not preloaded'\n"
            "    pid, where = sys.modules['loaded'].PLACE\n"
            "    print(pid == os.getppid(), where, flush=True)\n"
            "if __name__ == '__main__':\n"
            "    context = multiprocessing.get_context('forkserver')\n"
            "    context.set_forkserver_preload(['loaded'])\n"
            "    child = context.Process(target=look); child.start(); child.join(); sys.exit(child.exitcode)\n"
        )
        ended = under_plait("program.py", cwd=tmp_path)
        assert (ended.status, ended.stdout, ended.stderr) == (0, "True plait.queue\n", "")


class TestInstall:
    """As under `plait run`, with install() called where a spawned child does not call it itself."""

    @pytest.mark.parametrize("way", ["spawn", "forkserver"])
    def test_children_of_install_and_after_uninstall(self, tmp_path: Path, way: str) -> None:
        (tmp_path / "program.py").write_text(
            "import multiprocessing, sys, threading\n"
            "def say(): print(threading.Lock.__module__, flush=True)\n"
            "def run():\n"
            "    child = multiprocessing.get_context('spawn' if undone else sys.argv[1]).Process(target=say)\n"
            "    child.start(); child.join()\n"
            "undone = False\n"
            "if __name__ == '__main__':\n"
            "    import plait\n"
            "    plait.install(); run()\n"
            "    plait.uninstall(); undone = True; run()\n"
        )
        ended = start([sys.executable, "program.py", way], cwd=tmp_path)
        assert (ended.status, ended.stderr) == (0, "")
        assert ended.stdout == "plait.threading\n_thread\n"

    def test_a_forked_child_inherits(self) -> None:
        code = (
            "import plait; plait.install()\n"
            "import multiprocessing, threading\n"
            "def say(): print(threading.Lock is plait.Lock, flush=True)\n"
            "child = multiprocessing.get_context('fork').Process(target=say); child.start(); child.join()"
        )
        assert start([sys.executable, "-c", code]).stdout == "True\n"


class TestLeftAlone:
    def test_programs_of_subprocess(self) -> None:
        code = (
            "import subprocess, sys\n"
            "look = 'import threading, sys; print(threading.Lock.__module__, \"plait\" in sys.modules)'\n"
            "print(subprocess.run([sys.executable, '-c', look], capture_output=True, text=True).stdout, end='')\n"
        )
        assert same("-c", code).stdout == "_thread False\n"

    def test_another_interpreter(self, tmp_path: Path) -> None:
        """A link to this one stands for it: plait may not be there for it."""
        other = tmp_path / "python"
        other.symlink_to(sys.executable)
        (tmp_path / "program.py").write_text(
            "import multiprocessing, sys, threading\n"
            "def say(): print(threading.Lock.__module__, flush=True)\n"
            "if __name__ == '__main__':\n"
            f"    multiprocessing.set_executable({str(other)!r})\n"
            "    child = multiprocessing.get_context('spawn').Process(target=say); child.start(); child.join()\n"
        )
        assert under_plait("program.py", cwd=tmp_path).stdout == "_thread\n"

    def test_the_tracker_of_resources(self) -> None:
        code = (
            "import multiprocessing.resource_tracker as t\n"
            "t.ensure_running()\n"
            "print('plait' in open(f'/proc/{t._resource_tracker._pid}/cmdline').read())"
        )
        assert under_plait("-c", code).stdout == "False\n"
