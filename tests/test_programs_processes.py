"""Programs with processes that were not written here run unchanged under `plait run`, with `python`'s results."""

import json
import marshal
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from importlib.util import MAGIC_NUMBER, cache_from_source, find_spec
from pathlib import Path

import pytest

from needed import needs

PROGRAMS = Path(__file__).resolve().parent / "programs"
LAUNCHERS = {"python": [sys.executable], "plait": [sys.executable, "-m", "plait", "run"]}
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PLAIT_")}
SECONDS = 150  # for one program, on a busy machine

pytestmark = pytest.mark.timeout(400)
launchers = pytest.mark.parametrize("launcher", LAUNCHERS.values(), ids=LAUNCHERS.keys())


def run(launcher: list[str], *arguments: str | Path, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*launcher, *arguments], capture_output=True, text=True, timeout=SECONDS, env=ENVIRONMENT, cwd=cwd
    )


# ---------------------------------------------------------------- compileall

LEFT_OUT = ("__pycache__", "test", "tests", "site-packages", "idlelib", "turtledemo", "ensurepip", "lib2to3")


def test_compileall_compiles_a_copy_of_the_standard_library(tmp_path: Path) -> None:
    copy = tmp_path / "library"
    shutil.copytree(sysconfig.get_path("stdlib"), copy, ignore=shutil.ignore_patterns(*LEFT_OUT, "*.so", "config-*"))
    sources = sorted(copy.rglob("*.py"))
    assert len(sources) > 400
    # By its hash, so that a file is the same whenever it is compiled.
    options = ("-m", "compileall", "-j", "2", "-f", "-q", "--invalidation-mode", "unchecked-hash")
    done = run(LAUNCHERS["plait"], *options, "library", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    compiled = [Path(cache_from_source(str(source))) for source in sources]
    assert [path for path in compiled if not path.exists()] == []
    for path, source in zip(compiled[::25], sources[::25], strict=True):
        data = path.read_bytes()
        assert data[:4] == MAGIC_NUMBER
        name = str(source.relative_to(tmp_path))
        assert marshal.loads(data[16:]) == compile(source.read_bytes(), name, "exec", dont_inherit=True)


# ---------------------------------------------------------------- black

FILES = 200
UNFORMATTED = """\
import   os,sys
def function_{number}( a,b = {number} ,*args ) :
    '''Text.'''
    return {{ 'a':a , "b":[ b,args , {{ }} ]   }}
class   Class_{number} :
    x=1 ;y = ( {number}+2 )
    def method ( self ) :   return lambda  z : function_{number}( z ) [ "a" ]
"""


def write_tree(folder: Path) -> None:
    for number in range(FILES):
        path = folder / f"package_{number % 7}" / f"module_{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(UNFORMATTED.format(number=number) if number != 50 else "def (:\n")


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.py")}


def test_black_formats_a_tree(tmp_path: Path) -> None:
    needs("black")
    printed, trees = [], []
    for name, launcher in LAUNCHERS.items():
        folder = tmp_path / name
        write_tree(folder)
        done = run(launcher, "-m", "black", "-W", "2", "--no-cache", ".", cwd=folder)
        assert done.returncode == 123, done.stderr  # one file is no Python
        assert f"{FILES - 1} files reformatted, 1 file failed to reformat." in done.stderr
        printed.append(sorted(line.replace(str(folder), "") for line in done.stderr.splitlines()))
        trees.append(contents(folder))
    assert printed[0] == printed[1]
    assert trees[0] == trees[1]
    assert 'return {"a": a, "b": [b, args, {}]}' in trees[1]["package_3/module_3.py"]


# ---------------------------------------------------------------- joblib, scikit-learn


@cache
def cross_validated(launcher: str, backend: str) -> str:
    """What the program prints."""
    done = run(LAUNCHERS[launcher], PROGRAMS / "cross_validation.py", backend, cwd=PROGRAMS)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("backend", ["loky", "plait"])
def test_cross_validation_of_scikit_learn(backend: str) -> None:
    needs("joblib", "sklearn", "numpy")
    expected = cross_validated("python", "loky")
    assert re.search(r"^best: \{'C': ", expected, re.M)
    assert cross_validated("plait", backend) == expected


# ---------------------------------------------------------------- pyperformance


@launchers
@pytest.mark.parametrize("task", ["bench_mp_pool", "bench_thread_pool"])
def test_concurrent_imap_of_pyperformance(launcher: list[str], task: str, tmp_path: Path) -> None:
    needs("pyperf", "pyperformance")
    origin = getattr(find_spec("pyperformance"), "origin", None)
    assert origin is not None
    script = Path(origin).parent / "data-files" / "benchmarks" / "bm_concurrent_imap" / "run_benchmark.py"
    number = ["bench_mp_pool", "bench_thread_pool"].index(task)
    kept = tmp_path / "kept.json"
    options = ["--worker", "--worker-task", str(number), "--loops", "1", "--warmups", "1", "--values", "2"]
    done = run(launcher, script, *options, "--output", kept, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    (benchmark,) = json.loads(kept.read_text())["benchmarks"]
    assert len(benchmark["runs"][0]["values"]) == 2
    assert f"{task}: Mean" in done.stdout
