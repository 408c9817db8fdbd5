"""The benchmark runner: every row does the same work for every contender; figures become the right verdicts.

No test here asserts a speed: that is what `python -m benchmarks --check` is for, on a quiet machine.
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import (  # noqa: E402
    footprint,
    footprint_loop,
    footprint_process,
    machine,
    plot,
    programs,
    sampling,
    table,
    verdict,
)
from benchmarks.contenders import BARE, BASELINE, CANDIDATE, RIVALS, LeftOut  # noqa: E402
from benchmarks.row import BEST_RIVAL, HOGS, ONE_CORE, QUIET, Row  # noqa: E402
from benchmarks.rows import ROWS  # noqa: E402
from benchmarks.run import FOOTPRINTS, QUICK, plan, run  # noqa: E402


@pytest.mark.filterwarnings("ignore::DeprecationWarning:aiologic")
# rloop's close() leaves two sockets to the collector, and it asks 3.14 what 3.16 will not answer.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning:rloop.loop")
@pytest.mark.filterwarnings("ignore:.*iscoroutinefunction:DeprecationWarning:rloop.loop")
# What the pools of others leave to the collector, and how they start their processes.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_every_contender_does_the_work_of_the_row(row: Row) -> None:
    reasons = []
    with ExitStack() as stack:
        runs = {}
        for name, setup in row.setups.items():
            try:
                runs[name] = stack.enter_context(setup())
            except LeftOut as reason:
                reasons.append(str(reason))
        if row.baseline in runs and CANDIDATE in runs:
            assert sampling.check_same_work(row, runs) is not None
    # Left out only for what a reader of the report can check: a package, or a class of its own, is not there.
    known = r"is not installed|^plait\.\S+ is |^rloop has no TLS$|switches the GIL on$"
    assert all(re.search(known, reason) for reason in reasons)


@pytest.mark.parametrize("what", ["queue", "event", "pool"])
def test_idle_rows_wait_and_end(what: str) -> None:
    order = {"kind": "idle", "contender": CANDIDATE, "what": what, "seconds": 0.05}
    value = footprint.measure(order)["value"]
    assert isinstance(value, float)
    assert 0 <= value < 1000


@pytest.mark.parametrize("type_name", ["Queue", "Semaphore", "Event", "Future", "Lock"])
def test_memory_rows_count_objects(type_name: str) -> None:
    order = {"kind": "memory", "contender": CANDIDATE, "type": type_name, "count": 2000}
    assert isinstance(footprint.measure(order)["value"], float)


@pytest.mark.parametrize("name", [name for name in FOOTPRINTS if name.startswith("process-")])
def test_footprints_of_processes_are_measured(name: str) -> None:
    for contender in FOOTPRINTS[name].contenders:
        order = {**FOOTPRINTS[name].order, "contender": contender, "count": 5, "seconds": 0.05}
        try:
            value = footprint_process.measure(order)
        except LeftOut as reason:
            pytest.skip(str(reason))
        assert value >= 0


@pytest.mark.parametrize("name", [name for name in FOOTPRINTS if name.startswith("loop-")])
def test_loop_footprints_are_measured(name: str) -> None:
    order = {**FOOTPRINTS[name].order, "contender": BASELINE, "count": 300, "few": 30, "seconds": 0.05}
    # The difference of two resident sets: of so few it may be below what either is off by.
    assert footprint_loop.measure(order) > -10_000


def test_a_mean_is_of_each_round_and_of_those_who_took_part_in_all() -> None:
    parts = [
        {"stdlib": [1.0, 4.0], "plait": [2.0, 2.0], "uvloop": [1.0, 1.0]},
        {"stdlib": [4.0, 9.0], "plait": [8.0, 2.0]},
    ]
    means = programs.mean(parts)
    assert means.keys() == {"stdlib", "plait"}
    assert means["stdlib"] == pytest.approx([2, 6])
    assert means["plait"] == pytest.approx([4, 2])


def test_floors_against_the_best_rival_and_against_the_bare_switch() -> None:
    about = {"baseline": BASELINE, "floor": 2, "goal": 4, "others": {BEST_RIVAL: 2, BARE: 0.77}}
    samples = {BASELINE: [8.0, 8.0], CANDIDATE: [1.0, 1.0], "uvloop": [4.0, 4.0], "rloop": [3.0, 3.0], BARE: [0.8, 0.8]}
    kept = verdict.result(about, samples)
    assert kept["verdict"] == verdict.GOAL
    assert kept["against"][BEST_RIVAL]["name"] == "rloop"
    missed = verdict.result(about, {**samples, "rloop": [1.9, 1.9]})
    assert missed["verdict"] == verdict.MISSED
    assert not missed["against"][BEST_RIVAL]["kept"]
    assert verdict.result(about, {**samples, BARE: [0.7, 0.7]})["verdict"] == verdict.MISSED
    alone = verdict.result(about, {name: samples[name] for name in (BASELINE, CANDIDATE)})
    assert (alone["verdict"], alone["against"]) == (verdict.GOAL, {})


def test_plan_takes_several_patterns() -> None:
    chosen = {row.name for _, row in plan("loop-gather, async-tree-mean", (QUIET,))}
    assert chosen == {"loop-gather", "async-tree-mean"}


def test_import_row_imports_both() -> None:
    for contender in (BASELINE, CANDIDATE):
        value = footprint.measure({"kind": "import", "contender": contender})["value"]
        assert isinstance(value, float)
        assert value > 0


def test_work_that_differs_is_refused() -> None:
    row = next(iter(ROWS.values()))
    with pytest.raises(AssertionError, match="returns 3, but"):
        sampling.check_same_work(row, {row.baseline: lambda n: n, CANDIDATE: lambda n: n + 1})


@pytest.mark.parametrize(
    ("pairs", "floor", "goal", "expected"),
    [
        ([(10, 1), (12, 1), (8, 1)], 10, 15, verdict.FLOOR),
        ([(16, 1), (15, 1), (8, 1)], 10, 15, verdict.GOAL),
        ([(9.9, 1), (12, 1), (8, 1)], 10, 15, verdict.MISSED),
        ([(0.99, 1), (1.02, 1), (0.9, 1)], 1, None, verdict.FLOOR),  # a tie within the spread
        ([(0.97, 1), (0.98, 1), (0.9, 1)], 1, None, verdict.MISSED),
        ([(0.97, 1), (0.98, 1), (0.9, 1)], None, None, verdict.LOSES),
        ([(2, 1), (2, 2), (3, 1)], None, None, verdict.WINS),
    ],
)
def test_verdict_is_on_the_ratio_of_each_pair(
    pairs: list[tuple[float, float]], floor: float | None, goal: float | None, expected: str
) -> None:
    about = {"baseline": BASELINE, "floor": floor, "goal": goal}
    samples = {BASELINE: [before for before, _ in pairs], CANDIDATE: [after for _, after in pairs]}
    assert verdict.result(about, samples)["verdict"] == expected


def test_a_row_can_keep_its_floor_and_still_lose() -> None:
    about = {"baseline": BASELINE, "floor": 0.8, "goal": None}
    kept = verdict.result(about, {BASELINE: [0.9, 0.95], CANDIDATE: [1, 1]})
    assert kept["verdict"] == verdict.FLOOR
    assert verdict.loses(kept)
    tie = verdict.result(about, {BASELINE: [0.99, 1.02, 0.97], CANDIDATE: [1, 1, 1]})
    assert tie["ratios"][CANDIDATE] == {"q1": 0.98, "median": 0.99, "q3": 1.005}
    assert not verdict.loses(tie)


def test_quartiles_lie_between_neighbours() -> None:
    assert sampling.quartiles([4, 1, 3, 2]) == (1.75, 2.5, 3.25)
    assert sampling.quartiles([7]) == (7, 7, 7)


def test_calibration_takes_whole_batches_and_aims_at_the_time_of_a_sample() -> None:
    done: list[int] = []

    def run(n: int) -> None:
        done.append(n)
        sum(range(100 * n))

    n = sampling.calibrate(run, 7, 0.005)
    assert n % 7 == 0
    assert all(each % 7 == 0 for each in done)
    assert n > 7


def test_plan_chooses_by_name_and_regime() -> None:
    assert [(regime, row.name) for regime, row in plan("barrier-pair", (QUIET, HOGS))] == [
        (QUIET, "barrier-pair"),
        (HOGS, "barrier-pair"),
    ]
    assert {regime for regime, _ in plan("", (ONE_CORE,))} == {ONE_CORE}


@pytest.fixture(scope="module")
def results() -> list[Mapping[str, Any]]:
    """A quick run of one row, in fresh processes: what the report is made of."""
    return list(run(plan("queue-transfer", (QUIET, ONE_CORE)), QUICK))


def test_a_run_in_fresh_processes(results: list[Mapping[str, Any]]) -> None:
    assert [result["regime"] for result in results] == [QUIET, ONE_CORE]
    for result in results:
        assert "why" not in result
        assert result["ratios"][CANDIDATE]["median"] > 0
        assert {len(figures["samples"]) for figures in result["figures"].values()} == {QUICK.rounds}


def test_page_and_plot_show_every_row(results: list[Mapping[str, Any]]) -> None:
    facts = {**machine.facts(), "minutes": 0.1}
    page = table.page([{"machine": facts, "results": results}])
    picture = ElementTree.fromstring(plot.svg(facts, results))
    texts = {element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert plot.file_name(facts) in page
    for result in results:
        assert f"| {result['title']} | {result['regime']} |" in page
        assert {result["title"], result["regime"]} <= texts


def test_a_row_of_the_loop_is_held_to_more_than_one_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import __main__ as command

    monkeypatch.setattr(command, "RESULTS", tmp_path)
    monkeypatch.setattr(command, "DOCS", tmp_path)
    (result,) = run(plan("one task", (QUIET,)), QUICK)
    assert "why" not in result, result
    assert result["against"][BARE]["name"] == BARE
    facts = {**machine.facts(), "minutes": 0.1}
    # A row that there is, and one that is no more.
    command._keep(facts, [result, {**result, "name": "loop-sleeps"}, {**result, "name": "gone"}])
    command._keep(facts, [{**result, "commit": "abcdef0", "floor": 99, "verdict": verdict.MISSED}])
    (path,) = tmp_path.glob("*.json")
    kept = json.loads(path.read_text())
    assert [each["name"] for each in kept["results"]] == ["loop-switch-1", "loop-sleeps"]
    assert kept["machine"]["minutes"] == pytest.approx(0.2)
    page = (tmp_path / "benchmarks.md").read_text()
    assert "abcdef0 (1 rows)" in page
    assert "below their floor" in page
    assert f"of {BARE} (0.77)" in page


def test_a_row_that_fails_is_reported_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.run._ask", _fail)
    (result,) = run(plan("task-lock", (QUIET,)), QUICK)
    assert result["verdict"] == verdict.ERROR
    assert "AttributeError: gone" in table.line(result)


def _fail(order: Mapping[str, Any]) -> None:
    from benchmarks.run import ChildFailed

    raise ChildFailed("AttributeError: gone")


def test_kept_facts_name_no_host_and_no_path() -> None:
    import platform

    kept = json.dumps(machine.facts())
    assert platform.node() not in kept
    assert str(Path.home()) not in kept
    assert str(ROOT) not in kept


def test_wrong_arguments_are_one_line_and_exit_2() -> None:
    for arguments, words in (
        (["--regimes", "windy"], "unknown regime 'windy'"),
        (["--rows", "zebra"], "'zebra'"),
    ):
        command = [sys.executable, "-m", "benchmarks", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


def test_rivals_are_never_a_baseline() -> None:
    assert not {row.baseline for row in ROWS.values()} & {*RIVALS, CANDIDATE}
