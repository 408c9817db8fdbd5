"""Runs the same command line under `python` and under `plait run`, and says what each of them did."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plait import cli

SECONDS = 60
PYTHON = (sys.executable,)
PLAIT = (sys.executable, str(Path(cli.__path__[0]) / "__main__.py"), "run")


@dataclass(frozen=True)
class Ended:
    """What a process printed and how it ended."""

    status: int
    stdout: str
    stderr: str


def start(
    command: Sequence[str],
    cwd: Path | None = None,
    stdin: str | bytes = b"",
    env: Mapping[str, str] = {},
) -> Ended:
    """Run a command to its end. `env` is put on top of this process's own."""
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(
        command,
        cwd=cwd,
        input=data,
        capture_output=True,
        timeout=SECONDS,
        env={**os.environ, **env},
        check=False,
    )
    text = (out.decode("utf-8", "surrogateescape") for out in (done.stdout, done.stderr))
    return Ended(done.returncode, *text)


def under_plait(
    *arguments: str, cwd: Path | None = None, stdin: str | bytes = b"", env: Mapping[str, str] = {}
) -> Ended:
    """`plait run ARGUMENTS`."""
    return start([*PLAIT, *arguments], cwd, stdin, env)


def same(
    *arguments: str,
    cwd: Path | None = None,
    stdin: str | bytes = b"",
    env: Mapping[str, str] = {},
    flags: Sequence[str] = (),
) -> Ended:
    """Check that `python ARGUMENTS` and `plait run ARGUMENTS` do the same; returns what they did.

    flags: the interpreter's own options, for both. Addresses of objects in the output are left out.
    """
    python = start([*PYTHON, *flags, *arguments], cwd, stdin, env)
    plait = start([PLAIT[0], *flags, *PLAIT[1:], *arguments], cwd, stdin, env)
    one, other = _shown(python), _shown(plait)
    assert one == other, f"under python:\n{one}\nunder plait run:\n{other}"
    return python


def _shown(ended: Ended) -> str:
    text = f"status {ended.status}\n--- stdout\n{ended.stdout}\n--- stderr\n{ended.stderr}\n---"
    return re.sub(r"0x[0-9a-f]+", "0x", text)
