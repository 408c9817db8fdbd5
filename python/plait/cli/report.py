"""What `plait compare` shows: the table, the JSON, and the difference."""

from __future__ import annotations

import difflib
import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from plait import __version__
from plait.cli.program import Program
from plait.cli.trial import Side, Trial

__all__ = ["Comparison", "Difference"]

SHOWN_LINES = 60  # of a diff, and of what a failing program wrote to standard error
WINDOW = 2000  # lines from the first difference on that a diff looks at


@dataclass
class Difference:
    """Where the two runs of a pair part."""

    kind: str  # "ending", "stdout" or "stderr"
    stdlib: Trial
    plait: Trial
    stdlib_lines: list[str] | None = None
    plait_lines: list[str] | None = None
    unsteady: bool = False  # the standard library's own output changes from run to run

    def text(self) -> str:
        """For a person."""
        if self.kind != "ending":
            text = f"plait compare: {self.kind} differs\n{self.diff()}"
            if self.unsteady:
                text += (
                    "\nThe standard library's own output changes from run to run as well: leave the lines that"
                    "\nchange out with --ignore REGEX, or compare only how the program ends with --ignore-output."
                )
            return text
        text = f"plait compare: on the standard library: {self.stdlib.ending}; on plait: {self.plait.ending}"
        for name, trial in ("the standard library", self.stdlib), ("plait", self.plait):
            errors = trial.stderr.decode("utf-8", "backslashreplace").splitlines()
            if errors:
                text += f"\n--- standard error on {name}, its end:\n" + "\n".join(errors[-SHOWN_LINES:])
        return text

    def diff(self) -> str:
        """The output of both as a unified diff, at most `SHOWN_LINES` long."""
        old, new = self.stdlib_lines or [], self.plait_lines or []
        same = next(
            (n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new))
        )
        start = max(0, same - 3)
        old, new = ([line.rstrip("\n") for line in side[start : start + WINDOW]] for side in (old, new))
        name = f"standard library, from line {start + 1}" if start else "standard library"
        lines = list(difflib.unified_diff(old, new, name, "plait", lineterm=""))
        if not lines:
            return "only the end of the last line differs: one output ends with a newline, the other does not"
        if len(lines) > SHOWN_LINES:
            lines[SHOWN_LINES:] = [f"... and {len(lines) - SHOWN_LINES} more lines of difference"]
        return "\n".join(lines)


@dataclass
class Measure:
    """One row of the table."""

    name: str
    key: Literal["wall", "cpu", "memory"]
    show: Callable[[float], str]


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms"


def _bytes(value: float) -> str:
    return f"{value / 2**20:.1f} MiB"


MEASURES = (
    Measure("wall time", "wall", _seconds),
    Measure("CPU time", "cpu", _seconds),
    Measure("peak memory", "memory", _bytes),
)


@dataclass
class Comparison:
    """All runs of one `plait compare`."""

    program: Program
    warm_up: dict[Side, Trial]
    pairs: list[dict[Side, Trial]]
    first: list[Side]  # which side ran first, for each pair
    difference: Difference | None
    output_ignored: bool

    def values(self, key: str, side: Side) -> list[float]:
        """What one side took in each pair."""
        return [getattr(pair[side], key) for pair in self.pairs]

    def ratios(self, key: str) -> list[float]:
        """Standard library divided by plait, pair by pair."""
        return [
            old / new if new else float("nan")
            for old, new in zip(self.values(key, "stdlib"), self.values(key, "plait"), strict=True)
        ]

    def table(self) -> str:
        """For a person."""
        count = len(self.pairs)
        rows = [("", "standard library", "plait", "ratio", "lowest to highest")]
        for measure in MEASURES:
            ratios = self.ratios(measure.key)
            old, new = (measure.show(median(self.values(measure.key, side))) for side in ("stdlib", "plait"))
            rows.append(
                (
                    measure.name,
                    old,
                    new,
                    f"{median(ratios):.2f}x",
                    f"{min(ratios):.2f}x to {max(ratios):.2f}x",
                )
            )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            f"{self.program}",
            f"{_interpreter()}, {_cores()}, plait {__version__};"
            f" medians of {count} {'pair' if count == 1 else 'pairs'} of runs",
            "",
        ]
        for row in rows:
            name, *cells = (
                cell.ljust(width) if n == 0 else cell.rjust(width)
                for n, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            lines.append("  ".join([name, *cells]).rstrip())
            if row is rows[0]:
                lines.append("-" * (sum(widths) + 2 * (len(widths) - 1)))
        return "\n".join([*lines, "", self._verdict(), self._agreement()])

    def _verdict(self) -> str:
        ratios = self.ratios("wall")
        if len(ratios) == 1:
            return "One pair of runs says little: --rounds 5 says more."
        if min(ratios) > 1:
            return f"In every pair plait was quicker: {median(ratios):.2f} times as quick in the middle one."
        if max(ratios) < 1:
            return f"In every pair plait was slower: it took {1 / median(ratios):.2f} times as long in the middle one."
        return "Neither was quicker in every pair: no clear difference in wall time."

    def _agreement(self) -> str:
        trial = self.warm_up["plait"]
        lines = trial.stdout.count(b"\n")
        ending = trial.ending
        if self.output_ignored:
            text = f"Both ended alike ({ending}); what they printed was not compared."
        else:
            text = f"Both printed the same {lines} {'line' if lines == 1 else 'lines'} and ended alike ({ending})."
        if trial.status:
            errors = trial.stderr.decode("utf-8", "backslashreplace").splitlines()
            if errors:
                text += "\nThe program failed; its standard error ends with: " + errors[-1]
        return text

    def json(self) -> str:
        """For a program. Times are seconds, memory is bytes; a ratio is the standard library divided by plait."""
        summary: dict[str, Any] = {}
        if self.pairs and self.difference is None:
            for measure in MEASURES:
                ratios = self.ratios(measure.key)
                summary[measure.key] = {
                    "stdlib": median(self.values(measure.key, "stdlib")),
                    "plait": median(self.values(measure.key, "plait")),
                    "ratio": median(ratios),
                    "ratio_lowest": min(ratios),
                    "ratio_highest": max(ratios),
                }
        difference = None
        if self.difference is not None:
            difference = {
                "kind": self.difference.kind,
                "text": self.difference.text(),
                "stdlib_changes_by_itself": self.difference.unsteady,
            }
        return json.dumps(
            {
                "program": self.program.words(),
                "plait": __version__,
                "python": _interpreter(),
                "cores": len(os.sched_getaffinity(0)),
                "same": self.difference is None,
                "output_compared": not self.output_ignored,
                "difference": difference,
                "summary": summary,
                "warm_up": {side: _figures(trial) for side, trial in self.warm_up.items()},
                "rounds": [
                    {"first": first, **{side: _figures(trial) for side, trial in pair.items()}}
                    for first, pair in zip(self.first, self.pairs, strict=True)
                ],
            },
            indent=2,
        )


def _figures(trial: Trial) -> dict[str, Any]:
    return {"wall": trial.wall, "cpu": trial.cpu, "memory": trial.memory, "status": trial.status}


def _interpreter() -> str:
    is_gil_enabled: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    without = "" if is_gil_enabled() else " without GIL"
    return f"{platform.python_implementation()} {platform.python_version()}{without}"


def _cores() -> str:
    count = len(os.sched_getaffinity(0))
    return f"{count} core" if count == 1 else f"{count} cores"
