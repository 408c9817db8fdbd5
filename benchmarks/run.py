"""The run: every chosen row in every chosen regime, one child process after another, results as they come."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import regimes, verdict
from benchmarks.contenders import CANDIDATE, LeftOut
from benchmarks.footprint import FOOTPRINTS, Footprint
from benchmarks.row import HOGS, QUIET, REGIMES, Row
from benchmarks.rows import ROWS

Result = dict[str, Any]


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


QUICK = Effort(processes=1, rounds=5, seconds=0.02, seconds_beside_hogs=0.06)
# A child that is silent for so long hangs: no row takes a tenth of it.
CHILD_TIMEOUT_S = 120


class ChildFailed(Exception):
    """The measured process died or hung; the text is the last thing that it said."""


def plan(pattern: str, chosen_regimes: Sequence[str]) -> list[tuple[str, Row | Footprint]]:
    """Regime and row of all that `pattern` (a part of name, title or heading) and the regimes choose."""

    def chosen(row: Row | Footprint) -> bool:
        return pattern.lower() in f"{row.name} {row.title} {row.group}".lower()

    rows = [row for row in ROWS.values() if chosen(row)]
    footprints = [row for row in FOOTPRINTS.values() if chosen(row) and QUIET in chosen_regimes]
    timed = [
        (regime, row)
        for regime in REGIMES
        if regime in chosen_regimes
        for row in rows
        if regime in row.regimes
    ]
    return [*timed, *((QUIET, row) for row in footprints)]


def run(planned: Sequence[tuple[str, Row | Footprint]], effort: Effort) -> Iterator[Result]:
    """The result of each planned row, one after the other; a row that fails is a result that says so."""
    for regime in REGIMES:
        here = [row for at, row in planned if at == regime]
        if not here:
            continue
        with regimes.around(regime):
            for row in here:
                yield _measured(row, regime, effort)


def _measured(row: Row | Footprint, regime: str, effort: Effort) -> Result:
    if isinstance(row, Row):
        floor, goal = row.held_to(regime)
        unit, baseline = "s", row.baseline
    else:
        floor, goal, unit, baseline = row.floor, None, row.unit, row.contenders[0]
    if effort.self_check:
        floor = goal = None
    about: Result = {
        "name": row.name,
        "title": row.title,
        "group": row.group,
        "regime": regime,
        "unit": unit,
        "baseline": baseline,
        "floor": floor,
        "goal": goal,
        "contenders_left_out": {},
    }
    try:
        return _timed(row, about, effort) if isinstance(row, Row) else _footprint(row, about, effort)
    except LeftOut as reason:
        return {**about, "verdict": verdict.LEFT_OUT, "why": str(reason)}
    except ChildFailed as failure:
        return {**about, "verdict": verdict.ERROR, "why": str(failure)}


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
    for _ in range(min(row.rounds, effort.processes * effort.rounds)):
        for name in row.contenders:
            if name in about["contenders_left_out"]:
                continue
            measured_name = about["baseline"] if effort.self_check and name == CANDIDATE else name
            try:
                answer = _ask({**row.order, "contender": measured_name})
            except LeftOut as reason:
                if name in (about["baseline"], CANDIDATE):
                    raise
                about["contenders_left_out"][name] = str(reason)
            else:
                values.setdefault(name, []).append(answer["value"])
    return verdict.result(about, values, limit=row.limit)


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
