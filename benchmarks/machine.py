"""Facts about the machine and the interpreter that belong to every figure; no names of hosts, no paths."""

import os
import platform
import subprocess
import sys
import sysconfig
from datetime import UTC, datetime

from benchmarks import contenders
from benchmarks.row import FREE_THREADED


def interpreter_name() -> str:
    """Short name of this interpreter: `cpython-3.14`, `cpython-3.14t`; results are filed under it."""
    return f"cpython-{sys.version_info.major}.{sys.version_info.minor}{'t' if FREE_THREADED else ''}"


def facts() -> dict[str, object]:
    """What a reader has to know to believe, or to repeat, the figures."""
    build = " ".join(
        str(sysconfig.get_config_var(name) or "") for name in ("CONFIG_ARGS", "PY_CFLAGS", "PY_CORE_CFLAGS")
    )
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "interpreter": interpreter_name(),
        "python": platform.python_version(),
        "free_threaded": FREE_THREADED,
        "compiler": platform.python_compiler(),
        "optimised": _optimised(build),
        "switch_interval_s": sys.getswitchinterval(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "virtual_machine": "hypervisor" in _cpuinfo("flags").split(),
        "kernel": ".".join(platform.release().split(".")[:2]),
        "load_average_before": round(os.getloadavg()[0], 2),
        "versions": {name: contenders.version(name) for name in (contenders.CANDIDATE, *contenders.RIVALS)},
        "commit": commit(),
    }


def _optimised(build: str) -> bool | None:
    """True where the build says that a profile led it; None where it says nothing, which proves nothing."""
    return True if "-fprofile-use" in build or "--enable-optimizations" in build else None


def _cpuinfo(key: str) -> str:
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return ""


def _cpu_model() -> str:
    return _cpuinfo("model name") or platform.machine()


def commit() -> str | None:
    """The commit measured, with `+` where the tree differs from it."""
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True
        )
        dirty = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "crates", "python"], check=False)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if dirty.returncode else "")
