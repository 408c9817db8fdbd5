"""Every program in examples/ prints what its docstring says, under `python` and under `plait run`."""

import ast
import os
import pty
import re
import select
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
CODEBASE = EXAMPLES / "codebase.py"
LINKCHECKER = EXAMPLES / "linkchecker.py"
SHORT = sorted(path for path in EXAMPLES.rglob("*.py") if path not in (CODEBASE, LINKCHECKER))
LAUNCHERS = {"python": [sys.executable], "plait": [sys.executable, "-m", "plait", "run"]}
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PLAIT_")}
SECONDS = 60  # for one program, on a busy machine

launchers = pytest.mark.parametrize("launcher", LAUNCHERS.values(), ids=LAUNCHERS.keys())


def run(launcher: list[str], *arguments: str | Path, cwd: Path | None = None) -> str:
    """Run a program to its end; returns what it printed, having checked that it ended well and in silence."""
    done = subprocess.run(
        [*launcher, *arguments], capture_output=True, text=True, timeout=SECONDS, env=ENVIRONMENT, cwd=cwd
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


def promised(path: Path) -> str:
    """The output that an example's docstring announces under `Prints:`."""
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, f"{path.name} says nothing"
    _, found, block = docstring.partition("\n\nPrints:\n\n")
    assert found, f"{path.name} does not say what it prints"
    return textwrap.dedent(block) + "\n"


def test_the_examples_are_found() -> None:
    assert {path.parent.name for path in SHORT} >= {"threads", "processes", "coroutines"}
    assert len(SHORT) >= 28


@launchers
@pytest.mark.parametrize("path", SHORT, ids=[f"{path.parent.name}/{path.stem}" for path in SHORT])
def test_short_program_prints_what_it_promises(path: Path, launcher: list[str], tmp_path: Path) -> None:
    assert run(launcher, path, cwd=tmp_path) == promised(path)


@pytest.mark.parametrize("path", SHORT, ids=[f"{path.parent.name}/{path.stem}" for path in SHORT])
def test_short_program_is_listed_in_the_readme(path: Path) -> None:
    assert f"({path.relative_to(EXAMPLES).as_posix()})" in (EXAMPLES / "README.md").read_text()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with known contents: good files, bad ones of every sort, and what is to be passed over."""
    folder = tmp_path / "project"
    files = {
        "app/__init__.py": b"",
        "app/core.py": b"import os, sys\nfrom os.path import join\n\n"
        b'def f():\n    """Doc."""\n    return 1\n',
        "app/loop.py": b"from . import core\nimport asyncio.events\n\nclass A:\n"
        b"    async def run(self):\n        def inner():\n            import os\n"
        b"        try:\n            pass\n        except OSError:\n            import json\n",
        "app/latin.py": b"# -*- coding: latin-1 -*-\nname = '\xe9'\n",
        "bad/bytes.py": b"name = '\xe9'\n",
        "bad/null.py": b"x = 1\0\n",
        "bad/syntax.py": b"def (:\n",
        "site-packages/other.py": b"import hidden\n",
        "__pycache__/other.py": b"import hidden\n",
        "notes.txt": b"import hidden\n",
    }
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "bad" / "gone.py").symlink_to("nowhere")
    return folder


@launchers
def test_codebase_reports_a_known_project(launcher: list[str], project: Path) -> None:
    output = run(launcher, CODEBASE, project)
    sections = output.split("\n\n")
    figures = dict(re.findall(r"^(.+?) {2,}([\d,]+)", sections[0], re.MULTILINE))
    size = sum(path.stat().st_size for path in project.glob("[ab]*/*.py") if path.exists())
    assert figures == {
        "files": "8",
        "not parsed": "4",
        "bytes": str(size),
        "lines": "22",
        "functions": "3",
        "docstrings": "1",
        "classes": "1",
    }
    assert "(1 async)" in sections[0]
    assert sections[1].split("\n") == ["largest packages, lines", "        19  app", "         3  bad"]
    assert "         7  app/loop.py: run" in sections[3].split("\n")
    assert sections[4].split("\n") == [
        "most imported, files",
        "         2  os",
        "         1  asyncio",
        "         1  json",
        "         1  sys",
    ]
    problems = dict(line.split()[::-1] for line in sections[5].splitlines()[1:])
    assert problems.pop("bad/null.py") in ("SyntaxError", "ValueError")  # ValueError before 3.11.4
    assert problems == {
        "bad/bytes.py": "SyntaxError",
        "bad/gone.py": "FileNotFoundError",
        "bad/syntax.py": "SyntaxError",
    }


@launchers
def test_codebase_takes_an_empty_folder_and_a_strange_name(launcher: list[str], tmp_path: Path) -> None:
    assert re.search(r"^files +0$", run(launcher, CODEBASE, tmp_path), re.MULTILINE)
    (tmp_path / os.fsdecode(b"caf\xe9.py")).write_text("x = 1\n")
    assert r"caf\udce9.py" in run(launcher, CODEBASE, tmp_path)


def test_codebase_prints_the_same_each_time_under_both() -> None:
    outputs = [run(launcher, CODEBASE, "--limit", "250") for launcher in LAUNCHERS.values() for _ in range(2)]
    assert re.search(r"^files +250$", outputs[0], re.MULTILINE)
    assert len(set(outputs)) == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(["no/such/folder"], "not a folder: no/such/folder"), (["--limit", "0"], "argument --limit: invalid")],
)
@launchers
def test_codebase_refuses_wrong_arguments(launcher: list[str], arguments: list[str], complaint: str) -> None:
    done = subprocess.run(
        [*launcher, CODEBASE, *arguments], capture_output=True, text=True, timeout=SECONDS, env=ENVIRONMENT
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr


@launchers
def test_codebase_ends_at_once_on_ctrl_c(launcher: list[str]) -> None:
    """The progress line on a terminal shows that threads and processes are at work; then comes the signal."""
    terminal, side = pty.openpty()
    try:
        with subprocess.Popen(
            [*launcher, CODEBASE], stdout=subprocess.DEVNULL, stderr=side, env=ENVIRONMENT
        ) as program:
            try:
                os.close(side)
                shown = read_until(terminal, rb"[1-9]\d* parsed of")
                assert b"Traceback" not in shown
                program.send_signal(signal.SIGINT)
                rest = read_until(terminal, rb"interrupted")
                assert b"Traceback" not in rest
                assert program.wait(SECONDS) == 130
            finally:
                program.kill()
    finally:
        os.close(terminal)


def check_links(launcher: list[str], *arguments: str) -> str:
    """Run the link checker, which finds broken links: its exit code is 1."""
    done = subprocess.run(
        [*launcher, LINKCHECKER, *arguments], capture_output=True, text=True, timeout=SECONDS, env=ENVIRONMENT
    )
    assert (done.returncode, done.stderr) == (1, ""), done.stdout
    return done.stdout


def test_linkchecker_finds_what_is_wrong_and_nothing_else() -> None:
    pages = 400
    moved = {number for number in range(pages) if number % 50 == 7}
    silent = {number for number in range(pages) if number % 331 == 11} - moved
    busy = {number for number in range(pages) if number % 61 == 9} - moved
    # A page that never answers leads nowhere: what only it leads to is not found. Here that is no page.
    gone = {number for number in range(pages) if number % 97 == 5} - silent
    outputs = [check_links(launcher, f"--pages={pages}", "--timeout=0.3") for launcher in LAUNCHERS.values()]
    retried = [re.search(r"^retried +([\d,]+)$", output, re.MULTILINE) for output in outputs]
    # A busy machine lets more of the requests run into their timeouts; they are answered when they are tried again.
    for found in retried:
        assert found
        assert int(found[1].replace(",", "")) >= len(busy) + len(silent)
    outputs = [output.replace(found[0] if found else "", "") for output, found in zip(outputs, retried, strict=True)]
    assert outputs[0] == outputs[1]
    figures = dict(re.findall(r"^(\w+) +([\d,]+)$", outputs[0], re.MULTILINE))
    # `/` is the first page once more.
    assert figures == {
        "links": str(1 + pages + len(moved) + len(gone)),
        "ok": str(1 + pages - len(silent)),
        "moved": str(len(moved)),
        "broken": str(len(gone) + len(silent)),
    }
    assert "at once  within the limit" in outputs[0]
    assert f"status 404: {len(gone)}\n    /gone/5\n" in outputs[0]
    assert f"no answer: {len(silent)}\n    /page/11\n" in outputs[0]


def test_linkchecker_without_a_sensible_limit_is_turned_away() -> None:
    output = check_links(LAUNCHERS["plait"], "--pages=1000", "--limit=1000", "--retries=0", "--timeout=5")
    turned_away = re.search(r"turned away ([\d,]+) requests", output)
    assert turned_away
    assert f"status 429: {int(turned_away[1].replace(',', ''))}" in output


def read_until(descriptor: int, pattern: bytes) -> bytes:
    """Read a terminal until a pattern has come."""
    end = time.monotonic() + SECONDS
    shown = b""
    while not re.search(pattern, shown):
        ready, _, _ = select.select([descriptor], [], [], max(0, end - time.monotonic()))
        assert ready, f"no {pattern!r} within {SECONDS} s: {shown!r}"
        shown += os.read(descriptor, 4096)
    return shown
