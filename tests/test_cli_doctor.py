"""`plait doctor`: it says what is so on this machine."""

import json
import os
import platform
import sys
import sysconfig
from typing import Any

import pytest

from places import is_shared, is_there
from plait import _install
from plait.cli import doctor
from side_by_side import Ended, start


def ask(*arguments: str, **env: str) -> Ended:
    return start([sys.executable, "-m", "plait", "doctor", *arguments], env=env)


@pytest.fixture
def report() -> dict[str, Any]:
    ended = ask("--json")
    assert (ended.status, ended.stderr) == (0, "")
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_the_interpreter(report: dict[str, Any]) -> None:
    interpreter = report["interpreter"]
    assert interpreter["version"] == platform.python_version()
    assert interpreter["executable"] == sys.executable
    assert interpreter["free_threaded_build"] is bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    assert interpreter["gil_enabled"] is getattr(sys, "_is_gil_enabled", lambda: True)()


def test_cores_are_those_that_may_be_used(report: dict[str, Any]) -> None:
    assert report["machine"]["cores_usable"] == len(os.sched_getaffinity(0))
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        one = json.loads(ask("--json").stdout)
    finally:
        os.sched_setaffinity(0, before)
    assert one["machine"]["cores_usable"] == 1
    assert any("less than two cores" in note for note in one["notes"])


def test_every_name_of_the_table_is_replaced(report: dict[str, Any]) -> None:
    names = {
        f"{row.module}.{name}"
        for row in _install.FACES
        for name in row.names
        if (row.adds or is_there(row, name)) and not is_shared(row, name)
    }
    assert {entry["name"] for entry in report["replaced"]} == names
    assert report["missing"] == []
    assert report["kept"] == _install.KEPT


def test_a_name_that_is_not_replaced_is_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_install, "_put", lambda *args: None)
    found = doctor.examine()
    assert {"name": "queue.Queue", "by": "plait.queue.Queue"} in found["missing"]
    assert "this installation is broken" in doctor._text(found)


def test_settings() -> None:
    found = json.loads(ask("--json", PLAIT_DEADLOCK="warn", PLAIT_DEADLOK="off").stdout)
    assert found["settings"]["PLAIT_DEADLOCK"] == {"value": "warn", "default": "raise"}
    assert found["unknown_settings"] == ["PLAIT_DEADLOK"]
    assert {"PLAIT_PS", "PLAIT_STALL"} <= found["settings"].keys()
    text = ask(PLAIT_DEADLOCK="warn", PLAIT_DEADLOK="off").stdout
    assert "PLAIT_DEADLOCK  set to 'warn' (default 'raise')" in text
    assert "PLAIT_DEADLOK  is none of plait's settings" in text


def test_the_text_says_the_same(report: dict[str, Any]) -> None:
    text = ask().stdout
    for entry in report["replaced"]:
        assert entry["name"] in text
        assert entry["by"] in text
    for name, reason in report["kept"].items():
        assert name in text
        assert reason in text
    for note in report["notes"]:
        assert note in text
    assert platform.python_version() in text


def test_it_leaves_plait_as_it_was() -> None:
    code = (
        "import threading; from plait.cli import doctor; before = threading.Lock; doctor.examine();"
        "print(threading.Lock is before)"
    )
    assert start([sys.executable, "-c", code]).stdout == "True\n"


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="needs a free-threaded build")
def test_a_free_threaded_build_that_has_the_gil_is_told_why() -> None:
    found = json.loads(ask("--json", PYTHON_GIL="1").stdout)
    assert found["interpreter"]["gil_enabled"] is True
    assert any("PYTHON_GIL" in note for note in found["notes"])


@pytest.mark.parametrize("arguments", [["--yaml"], ["--json", "more"], ["all"]])
def test_a_wrong_argument(arguments: list[str]) -> None:
    ended = ask(*arguments)
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"plait doctor: no argument {arguments[-1]!r}")
    assert ended.stderr.count("\n") == 1


def test_help() -> None:
    ended = ask("--help")
    assert ended.status == 0
    assert "usage: plait doctor [--json]" in ended.stdout
