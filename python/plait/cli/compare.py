"""`plait compare`: a program in turn on the standard library and on plait, output checked, cost side by side."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import select
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NoReturn

from plait.cli import report
from plait.cli.program import Program, UsageError
from plait.cli.trial import Side, Trial, run
from plait.progress import progress

__all__ = ["main"]

COMMAND = "plait compare"
USAGE = "plait compare [OPTIONS] SCRIPT | -m MODULE | -c CODE [ARGS...]"
DESCRIPTION = """\
Runs a program in turn on the standard library and on plait, each time in a process
of its own, and shows wall time, CPU time and peak memory side by side. Both have to
print the same and exit alike: a difference is shown as a diff, and is an error.
"""
EPILOG = """\
Every round is a pair: one run on each, the order changing from round to round; one
more round comes first and is left out. A ratio is the standard library's figure
divided by plait's of the same pair, so more than 1 means that plait takes less.
CPU time is that of the program and the processes that it waited for; memory is that of
the largest of them. Standard input is read to its end, and each run gets all of it.
PYTHONHASHSEED is set to 0 unless you set it, so that sets come in the same order.

exit status: 0 same output, 1 different output, ending, or past the time limit, 2 wrong argument
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(COMMAND, message)


def main(arguments: Sequence[str]) -> int:
    """Compare the program that `arguments` name. Returns the exit status."""
    parser = _parser()
    own, words = _split(parser, arguments)
    options = parser.parse_args(own)
    program = Program.parse(COMMAND, words) if words else None
    if program is None or program.kind == "stdin":
        raise UsageError(COMMAND, "name the program: a script, or -m and a module")
    if program.kind == "script" and not os.path.exists(program.target):
        raise UsageError(COMMAND, f"there is no file {program.target!r}")
    try:
        with _stdin(options.stdin) as stdin:
            return _compare(program, options, stdin)
    except KeyboardInterrupt:
        return 130


def _compare(program: Program, options: argparse.Namespace, stdin: BinaryIO) -> int:
    pairs: list[dict[Side, Trial]] = []
    first: list[Side] = []
    steps = iter(progress(range(2 * (options.rounds + 1)), desc=str(program)[:40], unit="run", leave=False))
    problem: report.Difference | None = None
    try:
        for order in _orders(options.rounds + 1):
            pair: dict[Side, Trial] = {}
            for side in order:
                next(steps)
                pair[side] = run(program, side, stdin, options.timeout)
            pairs.append(pair)
            first.append(order[0])
            problem = _difference(pair, options)
            if problem is not None:
                break
    finally:
        getattr(steps, "close", lambda: None)()
    if problem is not None and problem.kind == "stdout":
        again = run(program, "stdlib", stdin, options.timeout)
        problem.unsteady = _kept(again.stdout, options.ignore) != _kept(
            pairs[-1]["stdlib"].stdout, options.ignore
        )
    comparison = report.Comparison(program, pairs[0], pairs[1:], first[1:], problem, options.ignore_output)
    if options.json:
        print(comparison.json())
        return 1 if problem else 0
    if options.show_output and problem is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(pairs[0]["plait"].stdout)
        sys.stdout.buffer.flush()
        print()
    if problem is not None:
        print(problem.text(), file=sys.stderr)
        return 1
    print(comparison.table())
    return 0


def _orders(rounds: int) -> Iterator[tuple[Side, Side]]:
    for number in range(rounds):
        yield ("stdlib", "plait") if number % 2 == 0 else ("plait", "stdlib")


def _difference(pair: dict[Side, Trial], options: argparse.Namespace) -> report.Difference | None:
    stdlib, plait = pair["stdlib"], pair["plait"]
    if stdlib.status != plait.status or stdlib.status is None:
        return report.Difference("ending", stdlib, plait)
    if not options.ignore_output:
        for stream in ("stdout", "stderr") if options.compare_stderr else ("stdout",):
            one, other = (_kept(getattr(trial, stream), options.ignore) for trial in (stdlib, plait))
            if one != other:
                return report.Difference(stream, stdlib, plait, one, other)
    return None


def _kept(output: bytes, ignore: list[re.Pattern[str]]) -> list[str]:
    """The lines of `output` that count. A last line that is not ended differs from one that is."""
    lines = io.StringIO(output.decode("utf-8", "backslashreplace"), newline="").readlines()
    return [line for line in lines if not any(pattern.search(line) for pattern in ignore)]


@contextlib.contextmanager
def _stdin(path: str | None) -> Iterator[BinaryIO]:
    """Something that can be read from its beginning again and again."""
    with tempfile.TemporaryFile() as copy:
        if path is not None:
            try:
                copy.write(Path(path).read_bytes())
            except OSError as error:
                raise UsageError(COMMAND, f"cannot read --stdin {path!r}: {error.strerror}") from None
        elif sys.stdin is not None and not sys.stdin.isatty():
            if not select.select([sys.stdin], [], [], 1.0)[0]:
                waiting = "waiting for the end of standard input (--stdin /dev/null does without)"
                print(f"{COMMAND}: {waiting}", file=sys.stderr)
            shutil.copyfileobj(sys.stdin.buffer, copy)
        yield copy


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"needs a whole number of 1 or more, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"needs a number of seconds above 0, not {text!r}")
    return seconds


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a regular expression: {error}") from None


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        COMMAND,
        usage=USAGE,
        description=DESCRIPTION,
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--rounds",
        metavar="N",
        type=_count,
        default=5,
        help="how many pairs of runs are measured (default 5)",
    )
    add(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        help="stop a run that takes longer; it counts as an error",
    )
    add("--json", action="store_true", help="print everything that was measured, as JSON")
    add(
        "--stdin",
        metavar="FILE",
        help="what the program reads on standard input (default: what is fed to this)",
    )
    add("--show-output", action="store_true", help="print the program's own output before the table")
    add(
        "--ignore",
        metavar="REGEX",
        type=_pattern,
        action="append",
        default=[],
        help="leave out lines of output that match, such as times; may be repeated",
    )
    add("--ignore-output", action="store_true", help="compare only how it ends, not what it prints")
    add("--compare-stderr", action="store_true", help="standard error has to be the same too")
    return parser


def _split(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """This command's own options, and the words of the program: from the first that is not an option on."""
    takes_value = {
        name for action in parser._actions if action.nargs is None for name in action.option_strings
    }
    at = 0
    while (
        at < len(arguments) and arguments[at].startswith("-") and arguments[at][:2] not in ("-m", "-c", "-")
    ):
        at += 2 if arguments[at] in takes_value else 1
    return list(arguments[:at]), list(arguments[at:])
