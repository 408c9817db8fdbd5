"""Runs tests of one suite in a process of its own and appends what happens to a file, one JSON object a line.

usage: python -m conformance.worker JOB.json     (see `Job`)

The file is written as the tests run, so a test that hangs or crashes the process is known by name.
"""

import faulthandler
import importlib
import json
import os
import sys
import traceback
import unittest
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from conformance.suite import Suite
from conformance.suites import SUITES

# Seconds for a test that is expected to fail: some do so by standing still.
HURRIED = 20.0


@dataclass(frozen=True)
class Job:
    """What one worker has to do. `only` empty means all; `timeout` is seconds for each test.

    Those whose ids a pattern in `hurried` matches are expected to fail: they get no more than a few.
    """

    suite: str
    candidate: str
    events: str
    timeout: float
    only: list[str] = field(default_factory=list)
    skip: list[str] = field(default_factory=list)
    hurried: list[str] = field(default_factory=list)


class Recorder(unittest.TestResult):
    """Writes a line as each test starts and one as it ends, with its outcome."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.file = Path(job.events).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115 (as long as the process)
        self.job = job
        self.process = os.getpid()
        self.outcome, self.detail = "passed", ""

    def _write(self, **event: Any) -> None:
        self.file.write(json.dumps(event) + "\n")

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.outcome, self.detail = "passed", ""
        self._write(started=test.id())
        hurried = any(fnmatchcase(test.id(), pattern) for pattern in self.job.hurried)
        faulthandler.dump_traceback_later(min(self.job.timeout, HURRIED) if hurried else self.job.timeout, exit=True)

    def stopTest(self, test: unittest.TestCase) -> None:
        if os.getpid() != self.process:  # a test's forked child that fell out of its test
            os._exit(1)
        faulthandler.cancel_dump_traceback_later()
        super().stopTest(test)
        self._write(ended=test.id(), outcome=self.outcome, detail=self.detail)

    def _failed(self, test: unittest.TestCase, error: Any) -> None:
        detail = "".join(traceback.format_exception(*error))
        if isinstance(test, unittest.TestCase):
            self.outcome, self.detail = "failed", self.detail + detail
        else:  # setUpModule or setUpClass: the tests behind it do not run
            self._write(broken=test.id(), detail=detail)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._failed(test, err)

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self._failed(test, err)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            self._failed(test, err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        if isinstance(test, unittest.TestCase) and self.outcome == "passed":
            self.outcome, self.detail = "skipped", reason

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self.outcome, self.detail = "failed", "unexpected success"


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


# What `plait.install()` has to have put in place before a suite may say that it ran on plait.
REPLACED = {
    "threading": _same("Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Event", "Barrier"),
    "queue": _same("Queue", "LifoQueue", "PriorityQueue"),
    "concurrent.futures": _same(
        "Future", "ThreadPoolExecutor", "ProcessPoolExecutor", "wait", "as_completed"
    ),
    "multiprocessing.pool": _same("Pool", "ThreadPool"),
    "asyncio": {"SelectorEventLoop": "EventLoop"},
}


def _suite(name: str) -> Suite:
    (suite,) = (suite for suite in SUITES if suite.name == name)
    return suite


def _installed(suite: Suite) -> None:
    """Refuses to go on where plait is not in place: the plait side tests plait."""
    for module in suite.faces:
        standard, face = importlib.import_module(module), importlib.import_module(f"plait.{module}")
        for name, ours in REPLACED[module].items():
            assert getattr(standard, name) is getattr(face, ours), f"{module}.{name} is not plait's"


def _chosen(job: Job) -> Iterator[unittest.TestCase]:
    for test in _suite(job.suite).load(job.candidate):
        if test.id() not in job.skip and (not job.only or test.id() in job.only):
            yield test


def main() -> None:
    """Runs the job that the first argument names."""
    job = Job(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    faulthandler.enable()
    from test import support

    support.verbose = 0
    if job.candidate == "plait":
        _installed(_suite(job.suite))
    result = Recorder(job)
    unittest.TestSuite(_chosen(job)).run(result)
    result._write(finished=True)


if __name__ == "__main__":
    main()
