"""Run the rows, show each as it ends, keep the results, write the table and the plots to `docs/`."""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import machine, plot, table, verdict
from benchmarks.row import REGIMES
from benchmarks.run import QUICK, Effort, Result, plan, run

ROOT = Path(__file__).resolve().parent.parent
RESULTS, DOCS = ROOT / "benchmarks" / "results", ROOT / "docs"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 where a row failed, or, with --check, missed its floor."""
    args = _arguments().parse_args(argv)
    if args.report:
        _write_documents()
        return 0
    chosen = tuple(args.regimes.split(","))
    if unknown := [regime for regime in chosen if regime not in REGIMES]:
        print(f"benchmarks: unknown regime {unknown[0]!r}: choose from {', '.join(REGIMES)}", file=sys.stderr)
        return 2
    planned = plan(args.rows, chosen)
    if not planned:
        print(f"benchmarks: no row's name, title or heading contains {args.rows!r}", file=sys.stderr)
        return 2
    effort = QUICK if args.quick else Effort()
    if args.self_check:
        effort = replace(effort, self_check=True)
    facts = machine.facts()
    print(f"CPython {facts['python']}, {facts['cores']} cores of {facts['cpu']}, {len(planned)} rows")
    started = time.monotonic()
    results = []
    for number, result in enumerate(run(planned, effort), 1):
        results.append(result)
        print(f"[{number:2}/{len(planned)}] {table.line(result)}", flush=True)
    facts["minutes"] = round((time.monotonic() - started) / 60, 1)
    if args.keep:
        _keep(facts, results)
        return _conclude(results, args.check)
    whole = not (args.rows or args.quick or args.self_check or args.regimes != ",".join(REGIMES))
    path = args.json or (RESULTS / f"{facts['interpreter']}.json" if whole else None)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_dump(facts, results), encoding="utf-8")
        print(f"kept in {path}")
    if whole and args.json is None:
        _write_documents()
    return _conclude(results, args.check)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--rows",
        default="",
        metavar="PART",
        help="only rows whose name, title or heading contains PART, or one of several with commas between",
    )
    parser.add_argument("--regimes", default=",".join(REGIMES), help="comma-separated; default: %(default)s")
    parser.add_argument(
        "--quick", action="store_true", help="a first look: short samples, one process for each row"
    )
    parser.add_argument(
        "--json", type=Path, metavar="PATH", help="keep the results here, and leave docs/ alone"
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="put these rows in place of those in the kept results, and write docs/ anew",
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 where a floor is missed")
    parser.add_argument(
        "--self-check", action="store_true", help="the baseline against itself: ratios have to be 1"
    )
    parser.add_argument(
        "--report", action="store_true", help="run nothing, write docs/ anew from the kept results"
    )
    return parser


def _write_documents() -> None:
    """`docs/benchmarks.md` and a plot for each interpreter, from every file of results that is kept."""
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    for each in runs:
        picture = DOCS / plot.file_name(each["machine"])
        picture.write_text(plot.svg(each["machine"], each["results"]), encoding="utf-8")
        print(f"wrote {picture}")
    page = DOCS / "benchmarks.md"
    page.write_text(table.page(runs), encoding="utf-8")
    print(f"wrote {page}")


def _keep(facts: Mapping[str, object], results: Sequence[Result]) -> None:
    """Put the results in place of the kept ones of the same rows. Each row says which commit it measured.

    Rows that are no more are dropped.
    """
    path = RESULTS / f"{facts['interpreter']}.json"
    kept: dict[str, Any] = {"machine": facts, "results": []}
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        facts = {**facts, "minutes": round(kept["machine"]["minutes"] + facts["minutes"], 1)}
    fresh = {(result["name"], result["regime"]): result for result in results}
    known = {(row.name, regime) for regime, row in plan("", REGIMES)}
    merged = [
        fresh.pop((old["name"], old["regime"]), {"commit": kept["machine"]["commit"], **old})
        for old in kept["results"]
        if (old["name"], old["regime"]) in known
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_dump(facts, [*merged, *fresh.values()]), encoding="utf-8")
    print(f"kept in {path}")
    _write_documents()


def _dump(facts: Mapping[str, object], results: Sequence[Result]) -> str:
    """JSON, one line for each row; five significant digits, for more would be noise in every diff."""

    def rounded(value: object) -> object:
        if isinstance(value, float):
            return float(f"{value:.5g}")
        if isinstance(value, dict):
            return {key: rounded(inner) for key, inner in value.items()}
        return [rounded(inner) for inner in value] if isinstance(value, list) else value

    rows = ",\n".join(json.dumps(rounded(result)) for result in results)
    return f'{{"machine": {json.dumps(facts, indent=1)},\n"results": [\n{rows}\n]}}\n'


def _conclude(results: Sequence[Result], check: bool) -> int:
    failed = [result for result in results if result["verdict"] == verdict.ERROR]
    missed = [result for result in results if result["verdict"] == verdict.MISSED]
    if missed or failed:
        print("below their floor, or failed:")
    for result in (*missed, *failed):
        print(table.line(result))
    print(f"{len(results)} rows, {len(missed)} below their floor, {len(failed)} failed")
    return 1 if failed or (check and missed) else 0


if __name__ == "__main__":
    sys.exit(main())
