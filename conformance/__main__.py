"""Runs CPython's own tests on the standard library and on plait, compares, and prints a table.

Exit code 0: every test that passes on the standard library passes on plait, but for the listed ones, which
do not.
"""

import argparse
import hashlib
import importlib.util
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from conformance import environment, exceptions, process
from conformance.process import Outcome
from conformance.suite import Suite
from conformance.suites import SUITES

CACHE = environment.ROOT / "target" / "conformance"
# Of ours, what the results of the standard library depend on.
OWN = tuple(f"conformance.{part}" for part in ("coroutines", "processes", "suite", "suites", "worker"))
Outcomes = dict[str, Outcome]


@dataclass
class Row:
    """One suite's result: how many passed on either side, and what has to be said."""

    suite: str
    stdlib: int = 0
    plait: int = 0
    failures: dict[str, Outcome] = field(default_factory=dict)
    listed: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    retried: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Runner:
    """Two interpreters, one of them with plait installed, and the list of exceptions."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.options = options
        self.stdlib = environment.create(folder / "stdlib", "stdlib")
        self.candidate = environment.create(folder / "candidate", options.candidate)
        self.entries = exceptions.read() if options.candidate == "plait" else []
        self.matched: set[exceptions.Entry] = set()

    def run(self, suite: Suite) -> Row:
        """Runs one suite on both sides and judges it."""
        begin = time.monotonic()
        row = Row(suite.name)
        demanded = {test for test, outcome in self._baseline(suite).items() if outcome.passed}
        for _ in range(self.options.repeat):
            self._judge(suite, demanded, row)
        row.stdlib = len(demanded)
        row.plait = len(demanded - row.failures.keys() - set(row.listed))
        row.seconds = time.monotonic() - begin
        return row

    def _on_stdlib(self, suite: Suite, only: list[str]) -> Outcomes:
        return process.run(self.stdlib, suite.name, "stdlib", self.options.timeout, only)

    def _on_candidate(self, suite: Suite, only: list[str]) -> Outcomes:
        listed = [entry.test for entry in self.entries if fnmatchcase(suite.name, entry.suite)]
        return process.run(self.candidate, suite.name, self.options.candidate, self.options.timeout, only, listed)

    def _baseline(self, suite: Suite) -> Outcomes:
        """What the standard library does, kept for each interpreter and each state of its test files."""
        digest = hashlib.sha256(sys.version.encode() + sys.base_prefix.encode())
        for name in (*suite.modules, "test.lock_tests", *OWN):
            found = importlib.util.find_spec(name)
            assert found is not None
            assert found.origin is not None
            digest.update(Path(found.origin).read_bytes())
        kept = CACHE / f"{suite.name}-{exceptions.version()}-{digest.hexdigest()[:16]}.json"
        if kept.exists():
            outcomes = {test: Outcome(**value) for test, value in json.loads(kept.read_text("utf-8")).items()}
        else:
            outcomes = self._on_stdlib(suite, [])
            for test in [test for test, outcome in outcomes.items() if outcome.word in ("failed", "hung")]:
                again = self._on_stdlib(suite, [test]).get(test)
                if again is not None:
                    outcomes[test] = again
            CACHE.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps({test: asdict(value) for test, value in outcomes.items()}), "utf-8")
        return {test: value for test, value in outcomes.items() if self.options.k in test}

    def _judge(self, suite: Suite, demanded: set[str], row: Row) -> None:
        """Holds one run on plait against what the standard library does."""
        only = sorted(demanded) if self.options.k else []
        outcomes = self._on_candidate(suite, only)
        for test in sorted(demanded | {test for test in outcomes if test.startswith(f"{suite.name}:")}):
            outcome = outcomes.get(test, Outcome("missing", "the test was not run"))
            entry = next((entry for entry in self.entries if entry.covers(suite.name, test)), None)
            if entry is not None:
                self.matched.add(entry)
                if outcome.passed:
                    row.stale.append(test)
                else:
                    row.listed.append(test)
            elif not outcome.passed:
                self._once_more(suite, test, outcome, demanded, row)

    def _once_more(self, suite: Suite, test: str, first: Outcome, demanded: set[str], row: Row) -> None:
        """A failed test is run once more, alone: on plait and, should it fail again, on the standard library."""
        if test in demanded and not self.options.no_retry:
            if self._on_candidate(suite, [test]).get(test, first).passed:
                row.retried.append(f"{test}: {first.word}, then passed alone\n{first.detail}")
                return
            if not self._on_stdlib(suite, [test]).get(test, first).passed:
                row.retried.append(f"{test}: fails at times on the standard library too; not demanded")
                demanded.discard(test)
                return
        row.failures[test] = first


def _options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    parser.add_argument("suite", nargs="*", help=", ".join(suite.name for suite in SUITES))
    parser.add_argument("--long", action="store_true", help="those that take minutes, too")
    parser.add_argument("-k", default="", metavar="TEXT", help="only tests whose id holds TEXT")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="run plait's side N times")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="suites at a time (2)")
    parser.add_argument("--timeout", type=float, default=90.0, metavar="S", help="seconds for one test (90)")
    parser.add_argument("--no-retry", action="store_true", help="do not run a failed test once more")
    parser.add_argument("--candidate", choices=("plait", "stdlib"), default="plait", help="what is tested")
    options = parser.parse_args(arguments)
    unknown = set(options.suite) - {suite.name for suite in SUITES}
    if unknown:
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    return options


def _print_details(rows: list[Row]) -> None:
    for row in rows:
        for test, outcome in row.failures.items():
            print(f"\n== {row.suite}: {test}: {outcome.word}\n{outcome.detail.rstrip()}")
        for text in row.retried:
            print(f"\n== {row.suite}: retried: {text.rstrip()}")
        for test in row.stale:
            print(f"\n== {row.suite}: {test} is in the list of exceptions and passes")


def _is_wanted(suite: Suite, options: argparse.Namespace) -> bool:
    if options.suite:
        return suite.name in options.suite
    return options.long or not suite.long


def main() -> int:
    """Runs the suites asked for and returns the exit code."""
    options = _options()
    suites = [suite for suite in SUITES if _is_wanted(suite, options)]
    whole = not options.suite and not options.k
    notes: list[str] = []
    for suite in list(suites):
        missing = suite.missing()
        if missing is not None:
            notes.append(f"{suite.name}: not run, this interpreter does not ship {missing}")
            suites.remove(suite)
    with tempfile.TemporaryDirectory(prefix="plait-conformance-") as folder:
        runner = Runner(Path(folder), options)

        def run(suite: Suite) -> Row:
            try:
                return runner.run(suite)
            except process.Broken as error:
                return Row(suite.name, failures={"the whole suite": Outcome("broken", str(error))})

        with ThreadPoolExecutor(options.jobs) as pool:
            rows = list(pool.map(run, suites))
    _print_details(rows)
    if whole:
        ran = [entry for entry in runner.entries if any(fnmatchcase(suite.name, entry.suite) for suite in suites)]
        idle = [entry.test for entry in ran if entry not in runner.matched]
        notes += [f"exceptions.toml: {test} covers no test that the standard library passes" for test in idle]
    else:
        idle = []

    demanded, passed = sum(row.stdlib for row in rows), sum(row.plait for row in rows)
    listed = sum(len(set(row.listed)) for row in rows)
    failed = sum(len(row.failures) + len(row.stale) for row in rows) + len(idle)
    if whole and listed > exceptions.SHARE * demanded:
        notes.append(f"{listed} of {demanded} are listed as exceptions: more than {exceptions.SHARE:.0%}")
        failed += 1

    print(f"\nCPython {sys.version.split()[0]} ({exceptions.version()}), tests that pass")
    form = "{:<24} {:>8} {:>8} {:>11} {:>8} {:>8} {:>6}"
    print(form.format("suite", "stdlib", options.candidate, "exceptions", "failed", "retried", "s"))
    for row in rows:
        bad = len(row.failures) + len(row.stale)
        listed_here, retried = len(set(row.listed)), len(row.retried)
        print(form.format(row.suite, row.stdlib, row.plait, listed_here, bad, retried, round(row.seconds)))
    print(*notes, sep="\n", end="\n" if notes else "")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not demanded else 0


if __name__ == "__main__":
    sys.exit(main())
