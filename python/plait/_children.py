"""Children of multiprocessing run on plait where their parent does.

A forked child inherits plait. The processes of `spawn`, and the server of `forkserver` from which its children are
forked, begin as `python -c "from multiprocessing..."`: all of these are started through
`multiprocessing.util.spawnv_passfds`, and the one here puts a line before that code which loads plait from where
the parent has it (the child's `sys.path` is not set up yet) and installs it, so that `__main__` and the
preloaded modules find it in place.

Left alone: the resource tracker, which runs no code of the program; an interpreter other than the parent's
(`multiprocessing.set_executable`), where plait may not be; and programs started by `subprocess`.
"""

import os
import sys
from collections.abc import Sequence
from multiprocessing import util
from pathlib import Path

__all__ = ["spawnv_passfds"]

_stdlib_spawnv_passfds = util.spawnv_passfds

_FIRST = """\
import importlib.util as _u, sys as _s
_p = _u.spec_from_file_location("plait", {init!r})
_s.modules["plait"] = _m = _u.module_from_spec(_p)
_p.loader.exec_module(_m)
_m.install()
del _u, _s, _p, _m
"""


def spawnv_passfds(path: bytes, args: Sequence[str | bytes], passfds: Sequence[int]) -> int:
    """As `multiprocessing.util.spawnv_passfds`; a child that will run the program's code installs plait first."""
    pid: int = _stdlib_spawnv_passfds(path, _with_plait(path, list(args)), passfds)
    return pid


def _with_plait(path: bytes, args: list[str | bytes]) -> list[str | bytes]:
    if os.fsencode(path) != os.fsencode(sys.executable) or "-c" not in args:
        return args
    at = args.index("-c") + 1
    code = args[at]
    if isinstance(code, str) and ("multiprocessing.spawn" in code or "multiprocessing.forkserver" in code):
        args[at] = _FIRST.format(init=str(Path(__file__).with_name("__init__.py"))) + code
    return args
