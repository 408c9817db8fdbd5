"""The plot: for each row a bar of plait's ratio on a log scale, its spread, its rivals, floor and goal.

Written as SVG by hand: it has to be readable as a picture in a README, in light and in dark, and to differ
between two runs only where a figure does.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from benchmarks import verdict
from benchmarks.contenders import CANDIDATE

Result = Mapping[str, Any]

WIDTH, LABELS, RIGHT = 960, 400, 70  # the scale lies between the labels and the right margin
LINE, HEADING, TOP, BOTTOM = 20, 34, 84, 34
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)

_STYLE = """
.text { fill: #24292f } .faint { fill: #6e7781 } .grid { stroke: #d8dee4 }
.one { stroke: #57606a; stroke-width: 1.4 } .spread { stroke: #24292f; stroke-width: 1.2 }
.good { fill: #2da44e } .bad { fill: #cf222e } .worse { fill: #fb8f44 }
.floor { stroke: #24292f; stroke-width: 2.4 } .goal { fill: none; stroke: #24292f; stroke-width: 1.4 }
.aiologic { fill: #bf8700 } .culsans { fill: #8250df } .uvloop { fill: #0969da } .rloop { fill: #bf3989 }
.bare { fill: #57606a } .page { fill: #ffffff }
text { font: 12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif }
.title { font-size: 17px; font-weight: 600 } .heading { font-weight: 600; font-size: 13px }
@media (prefers-color-scheme: dark) {
.text { fill: #e6edf3 } .faint { fill: #9198a1 } .grid { stroke: #30363d } .one { stroke: #9198a1 }
.good { fill: #3fb950 } .bad { fill: #f85149 } .worse { fill: #db6d28 }
.spread, .floor, .goal { stroke: #e6edf3 }
.aiologic { fill: #d29922 } .culsans { fill: #ab7df8 } .uvloop { fill: #4493f8 } .rloop { fill: #f778ba }
.bare { fill: #9198a1 } .page { fill: #0d1117 }
}
"""


def file_name(machine: Mapping[str, Any]) -> str:
    """The picture's name beside the page, one for each interpreter."""
    return f"benchmarks-{machine['interpreter']}.svg"


def svg(machine: Mapping[str, Any], results: Sequence[Result]) -> str:
    """The picture of every row that has a ratio."""
    shown = [result for result in results if result.get("ratios")]
    groups = verdict.grouped(shown)
    height = TOP + BOTTOM + sum(HEADING + LINE * len(rows) for _, rows in groups)
    scale = _Scale(shown)
    body = [*_header(machine), *scale.grid(height)]
    y = float(TOP)
    for group, rows in groups:
        y += HEADING
        body.append(_text(16, y - 9, group, "text heading"))
        for index, row in enumerate(rows):
            repeated = index > 0 and rows[index - 1]["title"] == row["title"]
            label = "" if repeated else row["title"].replace("`", "")
            regime = row["regime"] if len({row["regime"] for row in rows}) > 1 else ""
            body += [_text(16, y + 14, label, "text"), _text(LABELS - 10, y + 14, regime, "faint", "end")]
            body += _bar(row, y, scale)
            y += LINE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" height="{height:.0f}" role="img" aria-label="plait against the standard library">\n'
        f"<style>{_STYLE}</style>\n"
        f'<rect class="page" width="100%" height="100%"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


class _Scale:
    """The log scale that holds every mark of every row."""

    def __init__(self, rows: Sequence[Result]) -> None:
        marks = [1.0]
        for row in rows:
            marks += [mark for ratio in row["ratios"].values() for mark in (ratio["median"],) if mark > 0]
            marks += [row["ratios"][CANDIDATE]["q3"], *(mark for mark in (row["floor"], row["goal"]) if mark)]
        self._low = max(math.log(0.05), math.log(min(marks)) - 0.15)
        self._high = math.log(max(marks)) + 0.15

    def x(self, ratio: float) -> float:
        """Where a ratio lies; what is off the scale lies at its end."""
        share = (math.log(max(ratio, 1e-9)) - self._low) / (self._high - self._low)
        return LABELS + (WIDTH - RIGHT - LABELS) * min(1.0, max(0.0, share))

    def grid(self, height: float) -> list[str]:
        """A line and a number for each tick; the line of 1, where both are alike, is stronger."""
        lines = []
        for tick in _TICKS:
            if self._low <= math.log(tick) <= self._high:
                x = self.x(tick)
                kind = "one" if tick == 1 else "grid"
                lines.append(_line(kind, x, TOP + 6, x, height - BOTTOM + 4))
                lines += [_text(x, y, f"{tick:g}x", "faint", "middle") for y in (TOP, height - BOTTOM + 20)]
        return lines


def _header(machine: Mapping[str, Any]) -> list[str]:
    python = f"CPython {machine['python']}{', free-threaded' if machine['free_threaded'] else ''}"
    y = 54.0
    return [
        _text(
            16, 28, f"How many times as fast, or as small, as the standard library · {python}", "text title"
        ),
        _rectangle("good", 16, y - 10, 22, 10),
        _text(44, y, "plait", "text"),
        _rectangle("worse", 88, y - 10, 22, 10),
        _text(116, y, "where it loses", "text"),
        _rectangle("bad", 212, y - 10, 22, 10),
        _text(240, y, "below the floor", "text"),
        _floor(346, y - 13),
        _text(354, y, "floor", "text"),
        _goal(402, y - 4),
        _text(412, y, "goal", "text"),
        *_legend(460, y, ("aiologic", "culsans", "uvloop", "rloop", "bare")),
        _line("spread", 808, y - 4, 830, y - 4),
        _text(836, y, "quartiles", "text"),
    ]


def _legend(x: float, y: float, names: Sequence[str]) -> list[str]:
    marks = []
    for name in names:
        marks += [_dot(name, x, y - 4), _text(x + 8, y, name, "text")]
        x += 22 + 7 * len(name)
    return marks


def _bar(row: Result, y: float, scale: _Scale) -> list[str]:
    ratio = row["ratios"][CANDIDATE]
    kind = "bad" if row["verdict"] == verdict.MISSED else "worse" if verdict.loses(row) else "good"
    one, end = scale.x(1), scale.x(ratio["median"])
    middle = y + LINE / 2
    left, width = min(one, end), max(abs(end - one), 1.5)
    marks = [_rectangle(kind, left, y + 4, width, LINE - 8)]
    q1, q3 = scale.x(ratio["q1"]), scale.x(ratio["q3"])
    marks.append(_line("spread", q1, middle, q3, middle))
    if row["floor"]:
        marks.append(_floor(scale.x(row["floor"]), y + 2))
    if row["goal"]:
        marks.append(_goal(scale.x(row["goal"]), middle))
    for name, rival in row["ratios"].items():
        if name != CANDIDATE:
            marks.append(_dot(name, scale.x(rival["median"]), middle))
    number = f"{ratio['median']:.1f}x" if ratio["median"] >= 2 else f"{ratio['median']:.2f}x"
    marks.append(_text(WIDTH - 16, middle + 4, number, "text", "end"))
    return marks


def _floor(x: float, y: float) -> str:
    return _line("floor", x, y, x, y + LINE - 4)


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _rectangle(kind: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" rx="2"/>'


def _dot(kind: str, x: float, y: float) -> str:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'


def _goal(x: float, y: float) -> str:
    return f'<path class="goal" d="M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z"/>'


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
