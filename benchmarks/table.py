"""Results as text: one line for the terminal, and the page `docs/benchmarks.md`."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks import plot, verdict
from benchmarks.contenders import BARE, CANDIDATE, OTHER_WAYS, RIVALS

Result = Mapping[str, Any]

_MARKS = {
    verdict.GOAL: "goal reached",
    verdict.FLOOR: "floor kept",
    verdict.MISSED: "**below its floor**",
    verdict.WINS: "",
    verdict.LOSES: "",
}


def line(result: Result) -> str:
    """One row for the terminal."""
    head = f"{result['regime']:9}  {result['title']:58.58}"
    if "why" in result:
        return f"{head} {result['verdict']}: {result['why']}"
    before, after = (quantity(result, name) for name in (result["baseline"], CANDIDATE))
    held = "".join(
        f"  {word} {_number(result[word])}" for word in ("floor", "goal") if result.get(word) is not None
    )
    rivals = "".join(
        f"  {name} {_times(ratio)}" for name, ratio in result["ratios"].items() if name != CANDIDATE
    )
    ratio = _spread(result["ratios"].get(CANDIDATE))
    against = "".join(
        f"  {_times(each)} of {each['name']}, floor {_number(each['floor'])}"
        for each in result.get("against", {}).values()
    )
    return f"{head} {before:>9} → {after:>9}  {ratio:22} {result['verdict']:6}{held}{rivals}{against}"


def page(runs: Sequence[Mapping[str, Any]]) -> str:
    """The whole page: how it was measured, then a section for each interpreter."""
    sections = "\n".join(_section(run["machine"], run["results"]) for run in runs)
    return f"{_INTRODUCTION}\n{sections}"


_INTRODUCTION = """\
<!-- Written by `python -m benchmarks` from benchmarks/results/*.json: do not edit. -->
# Benchmarks

`make bench` measures plait, the standard library, and their rivals where they have the thing that a row is about:
[aiologic](https://pypi.org/project/aiologic/) and [culsans](https://pypi.org/project/culsans/) for threads,
[uvloop](https://pypi.org/project/uvloop/) and [rloop](https://pypi.org/project/rloop/) for coroutines, each with the
standard library's tasks, as it is meant to be used.

- **In turn.** Contenders of a row run alternately in one process (A B A B …), so that noise hits all of
  them. The **ratio** is the standard library's time divided by plait's, taken pair by pair: 10 means ten
  times as fast. Printed are the median and, in brackets, the quartiles of all pairs, which come from three
  fresh processes.
- **Alike.** Every contender does the same operations in the same loop and has to return the same. Each does
  as many as take about 60 ms a sample (200 ms beside hogs). Nothing is switched off: the garbage collector
  runs as in any program.
- **Three regimes** for rows in which threads wait for each other: *quiet*, nothing else runs; *one core*,
  the process is confined to one before plait is imported; *two hogs*, two busy processes run beside it.
- **Floor and goal** are the figures that plait is held to on an optimised CPython 3.14, two thirds of them
  on a free-threaded one. Goals are meant for a quiet machine. A floor of 1, "never slower", is kept by a
  tie within the spread. Rows that lose, or miss their floor, stand at the top of each section.
- **CPU** is what the whole process used for an operation, all threads together: what spinning costs shows
  here.
- **Memory** is the growth of the process's resident set over 20,000 objects (5,000 connections), which counts what
  Rust allocates too.
- **Against others**: rows about coroutines are held to a second floor, against the rival that was quickest in that
  row (against uvloop where sockets are the point), and the switches to a third, against *bare* `coro.send(None)` of
  the same coroutine, which is what a switch costs where nobody schedules (1 / 1.3 = 0.77). Printed is that one's time
  divided by plait's.
- **Echo**: the contender's server is the measured process; one other process of blocking sockets keeps eight
  connections busy. On loopback most of the time is the kernel's, on both sides.
- **Processes**: every pool has two workers, started from a clean process of its own (forkserver, plait's zygote) and
  warmed up. The rivals are [loky](https://pypi.org/project/loky/), [mpire](https://pypi.org/project/mpire/),
  [pebble](https://pypi.org/project/Pebble/) and [faster-fifo](https://pypi.org/project/faster-fifo/); *ideal* is two
  processes that do the tasks without any pool.
- **Servers and pyperformance** run unchanged, under `plait run` for plait, each contender in processes of its own and
  in turn. wrk keeps 32 connections busy; the figure is the time of a request.
"""


def _section(machine: Mapping[str, Any], results: Sequence[Result]) -> str:
    python = f"CPython {machine['python']}{', free-threaded' if machine['free_threaded'] else ''}"
    measured = [result for result in results if "why" not in result]
    parts = [
        f"## {python}\n",
        f"![Ratios of every row]({plot.file_name(machine)})\n",
        f"{_conditions(machine, results)}\n",
        _losers(measured),
    ]
    parts += [f"### {group}\n\n{_table(rows)}" for group, rows in verdict.grouped(measured)]
    if absent := _absent(results):
        parts.append(f"### Left out\n\n{absent}")
    return "\n".join(parts)


def _conditions(machine: Mapping[str, Any], results: Iterable[Result]) -> str:
    counted = Counter(str(result.get("commit", machine["commit"])) for result in results)
    commits = "commit " + ", ".join(
        name if len(counted) == 1 else f"{name} ({count} rows)" for name, count in counted.most_common()
    )
    optimised = ", guided by a profile" if machine["optimised"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    kind = "virtual " if machine["virtual_machine"] else ""
    return (
        f"Measured {machine['date']} in {machine['minutes']} minutes on {machine['cores']} {kind}cores of "
        f"{machine['cpu']}, Linux {machine['kernel']}, load {machine['load_average_before']} before; "
        f"interpreter built with {machine['compiler']}{optimised}; {versions}; {commits}."
    )


def _losers(results: Iterable[Result]) -> str:
    bad = [result for result in results if result["verdict"] == verdict.MISSED or verdict.loses(result)]
    if not bad:
        return "Every row keeps its floor, and none loses.\n"
    lines = []
    for result in bad:
        figure = _spread(result["ratios"].get(CANDIDATE)) or quantity(result, CANDIDATE)
        floor = "" if result["floor"] is None else f" (floor {_number(result['floor'])})"
        others = "".join(
            f"; {_times(each)} of {each['name']} (floor {_number(each['floor'])})"
            for each in result.get("against", {}).values()
            if not each["kept"]
        )
        mark = _mark(result).replace("*", "")
        lines.append(f"- {result['title']}, {result['regime']}: {figure}, {mark}{floor}{others}\n")
    return f"Rows that lose, or stay below their floor:\n\n{''.join(lines)}"


def _mark(result: Result) -> str:
    mark = _MARKS[result["verdict"]]
    if not verdict.loses(result) or result["verdict"] == verdict.MISSED:
        return mark
    return f"{mark}, **loses**" if mark else "**loses**"


def _table(rows: Sequence[Result]) -> str:
    regimes = len({row["regime"] for row in rows}) > 1
    rivals = [name for name in (*OTHER_WAYS, *RIVALS, BARE) if any(name in row["ratios"] for row in rows)]
    held = any(row.get("against") for row in rows)
    baselines = {row["baseline"] for row in rows}
    before = baselines.pop() if len(baselines) == 1 else "baseline"
    if before == "stdlib":
        before = "standard library"
    # A ratio says nothing where both are nearly nothing: those rows have a limit.
    compared = any(row["ratios"] for row in rows)
    with_cpu = any("cpu" in row["figures"][CANDIDATE] for row in rows) and regimes
    header = ["row", *(["regime"] if regimes else []), before, "plait"]
    header += ["ratio", "floor", "goal"] if compared else ["limit"]
    header += [*rivals, *(["against others (floor)"] if held else [])]
    header += [*(["CPU, before → plait"] if with_cpu else []), ""]
    lines = [header, ["---"] * len(header)]
    for row in rows:
        cells = [
            row["title"],
            *([row["regime"]] if regimes else []),
            quantity(row, row["baseline"]),
            quantity(row, CANDIDATE),
        ]
        if compared and "limit" in row:
            cells += ["", f"at most {_number(row['limit'])} {row['unit']}", ""]
        elif compared:
            cells += [_spread(row["ratios"].get(CANDIDATE)), _number(row["floor"]), _number(row["goal"])]
        else:
            cells += [f"{row['limit']} {row['unit']}"]
        cells += [_times(row["ratios"].get(name)) for name in rivals]
        if held:
            cells.append(", ".join(_against(each) for each in row.get("against", {}).values()))
        if with_cpu:
            cells.append(
                " → ".join(seconds(row["figures"][name]["cpu"]) for name in (row["baseline"], CANDIDATE))
            )
        lines.append([*cells, _mark(row)])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _against(each: Mapping[str, Any]) -> str:
    return f"{_times(each)} of {each['name']} ({_number(each['floor'])})"


def _absent(results: Iterable[Result]) -> str:
    whole = [f"{row['title']} ({row['regime']}): {row['why']}" for row in results if "why" in row]
    rivals = sorted({why for row in results for why in row["contenders_left_out"].values()})
    return "".join(f"- {reason}\n" for reason in (*whole, *rivals))


def quantity(result: Result, contender: str) -> str:
    """A contender's median with its unit."""
    value = result["figures"][contender]["median"]
    if result["unit"] == "s":
        return seconds(value)
    if result["unit"] == "B":
        return f"{value:,.0f} B"
    return f"{value:.2f} {result['unit']}"


def seconds(value: float) -> str:
    """Three digits or so, in the unit that suits."""
    scaled, unit = next(
        (
            (value * scale, unit)
            for scale, unit in ((1e9, "ns"), (1e6, "µs"), (1e3, "ms"))
            if value * scale < 999.5
        ),
        (value, "s"),
    )
    digits = 0 if unit == "ns" else max(0, 2 - int(math.log10(max(scaled, 1))))
    return f"{scaled:.{digits}f} {unit}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


def _times(ratio: Mapping[str, float] | None) -> str:
    return "" if ratio is None else f"{_ratio(ratio['median'])}x"


def _spread(ratio: Mapping[str, float] | None) -> str:
    return "" if ratio is None else f"{_times(ratio)} ({_ratio(ratio['q1'])}–{_ratio(ratio['q3'])})"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 9.95 else f"{value:.1f}"
