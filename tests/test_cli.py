"""The command `plait` as such: help, version, wrong arguments, and the ways to call it."""

import sys
from pathlib import Path

import pytest

from side_by_side import start, under_plait

ON_PLAIT = "import threading; print(threading.Lock.__module__, type(threading.Lock()).__module__)"


class TestWrongArguments:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["run", "-m"], "plait run: -m needs the name of a module"),
            (["run", "-c"], "plait run: -c needs a piece of code"),
            (["run", "-x", "a.py"], "plait run: no option '-x'"),
            (["run", "--rounds=3", "a.py"], "plait run: no option '--rounds=3'"),
            (["run", "-X", "dev", "a.py"], "plait run: -X is the interpreter's: python -X -m plait run ..."),
            (["rnu"], "plait: no command 'rnu'"),
            (["--verbose"], "plait: no option '--verbose'"),
        ],
    )
    def test_one_line_and_status_2(self, arguments: list[str], says: str) -> None:
        ended = start([sys.executable, "-m", "plait", *arguments])
        assert (ended.status, ended.stdout) == (2, "")
        assert ended.stderr.startswith(says)
        assert ended.stderr.count("\n") == 1

    @pytest.mark.parametrize(
        "arguments", [[], ["--help"], ["-h"], ["help"], ["run", "--help"], ["run", "-h"]]
    )
    def test_help(self, arguments: list[str]) -> None:
        ended = start([sys.executable, "-m", "plait", *arguments])
        assert (ended.status, ended.stderr) == (0, "")
        assert "plait run [-m MODULE | SCRIPT | -c CODE | -] [ARGS...]" in ended.stdout

    def test_version(self) -> None:
        from plait import __version__

        for flag in "--version", "-V":
            assert start([sys.executable, "-m", "plait", flag]).stdout == f"plait {__version__}\n"

    def test_the_ways_to_call_it_are_the_same(self) -> None:
        command = [str(Path(sys.executable).with_name("plait"))]
        for way in command, [sys.executable, "-m", "plait"], [sys.executable, "-m", "plait.cli"]:
            assert start([*way, "run", "-c", ON_PLAIT]) == under_plait("-c", ON_PLAIT)
