"""The harness of CPython's tests: a failure, a hang, a crash and an exception without a reason are seen."""

import sys
from pathlib import Path

import pytest

from conformance import exceptions, process

SUITE = """
import os, signal, threading, unittest

class Example(unittest.TestCase):
    def test_a_passes(self):
        pass

    def test_b_fails(self):
        with self.subTest():
            self.assertEqual(1, 2)

    def test_c_hangs(self):
        threading.Event().wait()

    def test_d_dies(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def test_e_falls_out_of_a_fork(self):
        if os.fork() == 0:
            raise RuntimeError
        os.wait()

    def test_f_skips(self):
        self.skipTest("because")

    @unittest.expectedFailure
    def test_g_passes_unexpectedly(self):
        pass

class Broken(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise ValueError("no set-up")

    def test_is_not_run(self):
        pass
"""


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An interpreter's stand-in that knows one more suite, called `example`."""
    (tmp_path / "example_tests.py").write_text(SUITE, encoding="utf-8")
    root = Path(__file__).resolve().parent.parent
    code = (
        "import sys, conformance.suites as suites, conformance.worker as worker; "
        "suites.SUITES += (suites.Suite('example', ('example_tests',), lambda module: None),); "
        "worker.SUITES = suites.SUITES; sys.argv = sys.argv[-2:]; worker.main()"
    )
    launcher = tmp_path / "python"
    launcher.write_text(
        f'#!/bin/sh\nPYTHONPATH="{root}:{tmp_path}" exec "{sys.executable}" -c "{code}" "$@"\n', encoding="utf-8"
    )
    launcher.chmod(0o755)
    return launcher


def test_every_outcome_is_told_apart(suite: Path) -> None:
    outcomes = process.run(suite, "example", "stdlib", timeout=2)
    words = {name.rpartition(".")[2]: outcome.word for name, outcome in outcomes.items()}
    assert words == {
        "test_a_passes": "passed",
        "test_b_fails": "failed",
        "test_c_hangs": "hung",
        "test_d_dies": "crashed",
        "test_e_falls_out_of_a_fork": "passed",
        "test_f_skips": "skipped",
        "test_g_passes_unexpectedly": "failed",
        "example: setting up": "failed",
    }
    said = {name.rpartition(".")[2]: outcome.detail for name, outcome in outcomes.items()}
    assert "1 != 2" in said["test_b_fails"]
    assert "in test_c_hangs" in said["test_c_hangs"]
    assert "exit code -9" in said["test_d_dies"]
    assert "no set-up" in said["example: setting up"]


def test_one_test_runs_alone(suite: Path) -> None:
    only = "example_tests.Example.test_b_fails"
    outcomes = process.run(suite, "example", "stdlib", timeout=20, only=[only])
    assert {name: outcome.word for name, outcome in outcomes.items()} == {only: "failed"}


def test_a_suite_that_does_not_start_says_why(suite: Path) -> None:
    (suite.parent / "example_tests.py").write_text("raise ImportError('not here')\n", encoding="utf-8")
    with pytest.raises(process.Broken, match="not here"):
        process.run(suite, "example", "stdlib", timeout=20)


def test_an_exception_needs_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "exceptions.toml"
    path.write_text('[[exception]]\ntest = "a.b"\nreason = "fails"\n', encoding="utf-8")
    with pytest.raises(ValueError, match="is no reason"):
        exceptions.read(path)


def test_an_exception_holds_for_its_versions_and_tests(tmp_path: Path) -> None:
    path = tmp_path / "exceptions.toml"
    reason = 'reason = "White-box: reads the private attribute _x"\n'
    path.write_text(
        f'[[exception]]\ntest = "a.*.test_b"\nsuite = "one"\n{reason}'
        f'[[exception]]\ntest = "c"\nversions = ["3.10"]\n{reason}',
        encoding="utf-8",
    )
    (entry,) = exceptions.read(path)
    assert entry.covers("one", "a.X.test_b")
    assert not entry.covers("two", "a.X.test_b")
    assert not entry.covers("one", "a.X.test_bc")


def test_the_list_itself_can_be_read() -> None:
    assert all(entry.reason for entry in exceptions.read())
