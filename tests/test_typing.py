"""What a type checker sees: code that it has to accept, and code that it has to refuse, line by line."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="mypy is not installed here; `make types` has it")

FOLDER = Path(__file__).with_name("typing")
ROOT = FOLDER.parent.parent
SECONDS = 110  # mypy reads the standard library's stubs, without a cache, on a busy machine


def errors(path: Path, cache: Path) -> list[tuple[int, str]]:
    """The line and the code of each error that mypy finds in strict mode."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", cache, "--config-file=", path],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(ROOT / "python")},
    )
    assert not done.stderr, done.stderr
    found = re.findall(r"^(\S+?):(\d+): error: (.*?)  \[([a-z-]+)\]$", done.stdout, re.M)
    assert len(found) == len(re.findall(": error:", done.stdout)), done.stdout
    elsewhere = [line for line in found if not line[0].endswith(path.name)]
    assert not elsewhere, elsewhere
    return [(int(line), f"{code}") for _, line, _, code in found]


def test_right_code_is_accepted(tmp_path: Path) -> None:
    assert errors(FOLDER / "right.py", tmp_path) == []


def test_wrong_code_is_refused(tmp_path: Path) -> None:
    path = FOLDER / "wrong.py"
    expected = [
        (number, line.rpartition("# E: ")[2])
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if "# E: " in line
    ]
    assert errors(path, tmp_path) == expected
