"""The command `plait`: a module for each of its commands, imported when it is asked for."""

from __future__ import annotations

import sys

from plait import __version__
from plait.cli.program import UsageError

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of `plait run`
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

HELP = """\
plait runs Python's threads, queues and thread pools on one Rust engine, with the
standard library's names, meanings and errors.

usage:
  plait run [-m MODULE | SCRIPT | -c CODE | -] [ARGS...]
      run a program, unchanged, on plait: as `python SCRIPT ARGS...` would
  plait compare [OPTIONS] SCRIPT | -m MODULE [ARGS...]
      run a program in turn on the standard library and on plait, check that both
      print the same, and show time, CPU time and memory side by side
  plait doctor [--json]
      this interpreter and machine, what plait replaces, what it leaves and why
  plait ps PID
      the tasks of a running process: where each stands, what it waits for
  plait --version
  plait COMMAND --help
      more about one command

Inside a program, `import plait; plait.install()` does what `plait run` does, and
`from plait.threading import Lock` takes one name at a time.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` (default: `sys.argv[1:]`) and return the exit status.

    0 for success, 1 when `compare` finds a difference, 2 for a wrong argument; `run` ends as its program does.
    """
    command, *rest = sys.argv[1:] if arguments is None and len(sys.argv) > 1 else arguments or ["--help"]
    try:
        match command:
            case "run":
                from plait.cli import run

                return run.main(rest)
            case "compare":
                from plait.cli import compare

                return compare.main(rest)
            case "doctor":
                from plait.cli import doctor

                return doctor.main(rest)
            case "ps":
                from plait.cli import ps

                return ps.main(rest)
            case "-h" | "--help" | "help":
                print(HELP, end="")
                return 0
            case "-V" | "--version":
                print(f"plait {__version__}")
                return 0
            case _:
                kind = "option" if command.startswith("-") else "command"
                raise UsageError("plait", f"no {kind} {command!r}; the commands are run, compare, doctor and ps")
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
