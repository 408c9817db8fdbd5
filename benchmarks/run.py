"""The run: every chosen row in every chosen regime, one child process after another, results as they come."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks import footprint, footprint_loop, footprint_process, machine, programs, regimes, verdict
from benchmarks.contenders import CANDIDATE, LeftOut
from benchmarks.footprint import Footprint
from benchmarks.programs import Mean, Program
from benchmarks.row import FREE_THREADED, FREE_THREADED_SHARE, HOGS, QUIET, REGIMES, Row, scaled
from benchmarks.rows import ROWS

Result = dict[str, Any]
Planned = Row | Footprint | Program | Mean

FOOTPRINTS = {**footprint.FOOTPRINTS, **footprint_loop.FOOTPRINTS, **footprint_process.FOOTPRINTS}
# What runs once, in the quiet regime, beside the rows that are timed.
OTHERS: dict[str, Planned] = {**FOOTPRINTS, **programs.PROGRAMS}


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to look: `processes` of `rounds` samples of `seconds`, for every row, regime and contender.

    Beside hogs a sample lasts longer: the kernel hands the cores round in slices of some milliseconds.
    """

    processes: int = 3
    rounds: int = 5
    seconds: float = 0.06
    seconds_beside_hogs: float = 0.2
    self_check: bool = False
    quick: bool = False


QUICK = Effort(processes=1, rounds=5, seconds=0.02, seconds_beside_hogs=0.06, quick=True)
# A child that is silent for so long hangs: no row takes a tenth of it.
CHILD_TIMEOUT_S = 120


class ChildFailed(Exception):
    """The measured process died or hung; the text is the last thing that it said."""


def plan(pattern: str, chosen_regimes: Sequence[str]) -> list[tuple[str, Planned]]:
    """Regime and row of all that `pattern` and the regimes choose.

    `pattern` is a part of the name, the title or the heading, or several of them with commas between.
    """
    parts = [part.strip().lower() for part in pattern.split(",")]

    def chosen(row: Planned) -> bool:
        text = f"{row.name} {row.title} {row.group}".lower()
        return any(part in text for part in parts)

    rows = [row for row in ROWS.values() if chosen(row)]
    others = [row for row in OTHERS.values() if chosen(row) and QUIET in chosen_regimes]
    timed: list[tuple[str, Planned]] = [
        (regime, row)
        for regime in REGIMES
        if regime in chosen_regimes
        for row in rows
        if regime in row.regimes
    ]
    return [*timed, *((QUIET, row) for row in others)]


def run(planned: Sequence[tuple[str, Planned]], effort: Effort) -> Iterator[Result]:
    """The result of each planned row, one after the other; a row that fails is a result that says so."""
    commit = machine.commit()
    done: dict[str, Result] = {}
    for regime in REGIMES:
        here = [row for at, row in planned if at == regime]
        if not here:
            continue
        with regimes.around(regime):
            for row in here:
                done[row.name] = result = _measured(row, regime, effort, done)
                yield {**result, "commit": commit}


def _measured(row: Planned, regime: str, effort: Effort, done: Mapping[str, Result]) -> Result:
    about: Result = {
        "name": row.name,
        "title": row.title,
        "group": row.group,
        "regime": regime,
        "unit": row.unit if isinstance(row, Footprint) else "s",
        "baseline": row.contenders[0] if isinstance(row, Footprint) else row.baseline,
        "floor": None,
        "goal": None,
        "contenders_left_out": {},
    }
    if not effort.self_check:
        about.update(_held_to(row, regime))
    try:
        if isinstance(row, Row):
            return _timed(row, about, effort)
        if isinstance(row, Footprint):
            return _footprint(row, about, effort)
        if isinstance(row, Program):
            return _program(row, about, effort)
        return _mean(row, about, done)
    except LeftOut as reason:
        return {**about, "verdict": verdict.LEFT_OUT, "why": str(reason)}
    except ChildFailed as failure:
        return {**about, "verdict": verdict.ERROR, "why": str(failure)}


def _held_to(row: Planned, regime: str) -> Result:
    """Floor, goal and floors against others on this interpreter; a floor of 1 or less is the same everywhere."""
    if isinstance(row, Row):
        floor, goal = row.held_to(regime)
        return {"floor": floor, "goal": goal, "others": row.held_against()}
    if isinstance(row, Footprint):
        share = FREE_THREADED_SHARE if FREE_THREADED else 1.0
        floor, goal = row.floor and scaled(row.floor, share), row.goal and scaled(row.goal, share)
        return {"floor": floor, "goal": goal, "others": dict(row.others)}
    return {"floor": row.floor, "goal": row.goal, "others": dict(row.others)}


def _timed(row: Row, about: Result, effort: Effort) -> Result:
    wall: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    order = {
        "kind": "row",
        "row": row.name,
        "regime": about["regime"],
        "rounds": effort.rounds,
        "sample_seconds": effort.seconds_beside_hogs if about["regime"] == HOGS else effort.seconds,
        "self_check": effort.self_check,
    }
    for _ in range(effort.processes):
        answer = _ask(order)
        about["contenders_left_out"] = answer["contenders_left_out"]
        for name, samples in answer["samples"].items():
            wall.setdefault(name, []).extend(samples["wall"])
            cpu.setdefault(name, []).extend(samples["cpu"])
    return verdict.result(about, wall, cpu=cpu)


def _footprint(row: Footprint, about: Result, effort: Effort) -> Result:
    values: dict[str, list[float]] = {}
    order = {**row.order, **(row.quick if effort.quick else {})}
    for _ in range(min(row.rounds, effort.processes * effort.rounds)):
        for name in row.contenders:
            if name in about["contenders_left_out"]:
                continue
            measured_name = about["baseline"] if effort.self_check and name == CANDIDATE else name
            try:
                answer = _ask({**order, "contender": measured_name})
            except LeftOut as reason:
                if name in (about["baseline"], CANDIDATE):
                    raise
                about["contenders_left_out"][name] = str(reason)
            else:
                values.setdefault(name, []).append(answer["value"])
    return verdict.result(about, values, limit=row.limit)


def _program(row: Program, about: Result, effort: Effort) -> Result:
    if effort.self_check:
        row = replace(row, setups=dict.fromkeys((row.baseline, CANDIDATE), row.setups[row.baseline]))
    rounds = 1 if effort.quick else row.rounds
    try:
        values, about["contenders_left_out"] = programs.take(row, rounds, effort.seconds)
    except (AssertionError, OSError, subprocess.SubprocessError) as failure:
        raise ChildFailed(f"{type(failure).__name__}: {failure}") from failure
    return verdict.result(about, values)


def _mean(row: Mean, about: Result, done: Mapping[str, Result]) -> Result:
    parts = [done.get(name, {}).get("figures") for name in row.parts]
    measured = [part for part in parts if part]
    if len(measured) < len(parts):
        raise LeftOut(f"{len(parts) - len(measured)} of its {len(parts)} parts were not measured")
    samples = [{name: each["samples"] for name, each in part.items()} for part in measured]
    return verdict.result(about, programs.mean(samples))


def _ask(order: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.child", json.dumps(order)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHILD_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise ChildFailed(f"no result within {CHILD_TIMEOUT_S} s") from None
    if done.returncode:
        last_words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ChildFailed(last_words[-1])
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if "left_out" in answer:
        raise LeftOut(answer["left_out"])
    return answer
