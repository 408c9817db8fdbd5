"""`plait doctor`: this interpreter and machine, what plait replaces here, what it leaves and why."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import platform
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import plait
from plait import _install
from plait.cli.program import UsageError

__all__ = ["main"]

HELP = """\
usage: plait doctor [--json]

Shows what plait finds and does on this machine: the interpreter (with or without GIL,
optimised or not), the cores that it may use, each name that plait replaces and the place
where it does so, what stays the standard library's and why, and the settings (PLAIT_...).

  --json   the same for a program

exit status: 0 all is well, 1 a name that should be replaced is not, 2 wrong argument
"""

# The settings that plait reads, with their defaults.
SETTINGS = {"PLAIT_DEADLOCK": "raise", "PLAIT_PS": "0", "PLAIT_STALL": "off"}


def main(arguments: Sequence[str]) -> int:
    """Print the report. Returns 0, or 1 where a name that should be replaced is not."""
    match list(arguments):
        case ["-h" | "--help"]:
            print(HELP, end="")
            return 0
        case [] | ["--json"]:
            report = examine()
        case [first, *rest]:
            raise UsageError("plait doctor", f"no argument {rest[0] if first == '--json' else first!r}")
    print(json.dumps(report, indent=2) if arguments else _text(report))
    return 1 if report["missing"] else 0


def examine() -> dict[str, Any]:
    """All that `plait doctor` says, as `--json` prints it."""
    replaced, missing = _replaced()
    return {
        "plait": plait.__version__,
        "interpreter": _interpreter(),
        "machine": _machine(),
        "replaced": replaced,
        "missing": missing,
        "kept": dict(_install.KEPT),
        "notes": _notes(),
        "settings": {
            name: {"value": os.environ.get(name), "default": default} for name, default in SETTINGS.items()
        },
        "unknown_settings": sorted(
            name for name in os.environ if name.startswith("PLAIT_") and name not in SETTINGS
        ),
    }


def _interpreter() -> dict[str, Any]:
    is_gil_enabled: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    return {
        "version": platform.python_version(),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "free_threaded_build": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "gil_enabled": is_gil_enabled(),
        "pgo_named": _names_pgo(),
        "debug_build": hasattr(sys, "gettotalrefcount"),
    }


def _names_pgo() -> bool:
    """Whether the build says that it used profile-guided optimisation, as `--enable-optimizations` does."""
    options = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    flags = str(sysconfig.get_config_var("PGO_PROF_USE_FLAG") or "")
    return "--enable-optimizations" in options or "profile-use" in flags


def _machine() -> dict[str, Any]:
    return {
        "system": platform.system(),
        "release": platform.release(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)),
        "cpu_limit": _cpu_limit(),
    }


def _cpu_limit() -> float | None:
    """The cores' worth of time that a container's limit (cgroup v2) grants, or None."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _replaced() -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Each name of the table that is replaced while plait is installed; and those that should be and are not.

    A name for which plait has the standard library's own object is in neither.
    """
    replaced, missing = [], []
    with plait.installed():
        for module in {row.module: None for row in _install.FACES}:
            importlib.import_module(module)
        patched = {(id(patch.owner), patch.name) for patch in _install.patches()}
        for row in _install.FACES:
            for path, name in row.names.items():
                entry = {"name": f"{row.module}.{path}", "by": f"{row.face}.{name}"}
                owner: Any = sys.modules[row.module]
                *outer, attribute = path.split(".")
                for part in outer:
                    owner = getattr(owner, part)
                if not row.adds and not hasattr(owner, attribute):
                    continue  # this version has no such name
                expected = getattr(importlib.import_module(row.face), name, None)
                if expected is None or getattr(owner, attribute, None) is not expected:
                    missing.append(entry)
                elif (id(owner), attribute) in patched:
                    replaced.append(entry)
    return replaced, missing


def _notes() -> list[str]:
    """What falls short of the best on this machine, in words."""
    notes = ["programs started by subprocess run without plait, unless started as `plait run ...`"]
    interpreter, machine = _interpreter(), _machine()
    if interpreter["free_threaded_build"] and interpreter["gil_enabled"]:
        notes.append(
            "this build can run without the GIL but has it now: PYTHON_GIL=1, -X gil=1, or an extension that needs it"
        )
    if interpreter["debug_build"]:
        notes.append("a debug build of the interpreter: times mean little")
    elif not interpreter["pgo_named"]:
        notes.append(
            "this interpreter does not say that it was built with --enable-optimizations:"
            " without, all Python code is slower"
        )
    usable = min(machine["cores_usable"], machine["cpu_limit"] or machine["cores_usable"])
    if usable < 2:
        notes.append("less than two cores: plait's waits park at once instead of spinning first")
    if machine["system"] != "Linux":
        notes.append("not Linux: plait is made for Linux first")
    if importlib.util.find_spec("tqdm") is None:
        notes.append("tqdm is not installed: plait.progress shows no bar (pip install plait[progress])")
    return notes


def _text(report: dict[str, Any]) -> str:
    interpreter, machine = report["interpreter"], report["machine"]
    gil = "with the GIL" if interpreter["gil_enabled"] else "without the GIL"
    build = "free-threaded build" if interpreter["free_threaded_build"] else "GIL build"
    quality = ", debug" if interpreter["debug_build"] else ", PGO" if interpreter["pgo_named"] else ""
    cores = f"{machine['cores_usable']} of {machine['cores']} usable"
    if machine["cpu_limit"] is not None:
        cores += f", limited to {machine['cpu_limit']:g} cores' worth of time"
    lines = [
        f"plait {report['plait']}",
        "",
        f"interpreter  {interpreter['implementation']} {interpreter['version']}, {gil} ({build}{quality})",
        f"             {interpreter['executable']}",
        f"machine      {machine['system']} {machine['release']}, {machine['architecture']}",
        f"cores        {cores}",
        "",
        "Replaced by `plait run` and plait.install()",
        *_columns((entry["name"], entry["by"]) for entry in report["replaced"]),
    ]
    if report["missing"]:
        lines += ["", "NOT replaced, though it should be: this installation is broken"]
        lines += _columns((entry["name"], entry["by"]) for entry in report["missing"])
    lines += ["", "Stays the standard library's", *_columns(report["kept"].items())]
    lines += ["", "Good to know", *(f"  {note}" for note in report["notes"])]
    lines += ["", "Settings"]
    for name, setting in report["settings"].items():
        shown = "not set" if setting["value"] is None else f"set to {setting['value']!r}"
        lines.append(f"  {name}  {shown} (default {setting['default']!r})")
    lines += [f"  {name}  is none of plait's settings" for name in report["unknown_settings"]]
    return "\n".join(lines)


def _columns(rows: Any) -> list[str]:
    pairs = list(rows)
    width = max((len(left) for left, _ in pairs), default=0)
    return [f"  {left.ljust(width)}  {right}" for left, right in pairs]
