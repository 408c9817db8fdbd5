"""Makes the two virtual environments that the tests run in: in one, plait is installed at start."""

import importlib.util
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def create(folder: Path, candidate: str) -> Path:
    """Makes a bare virtual environment in `folder` and returns its interpreter.

    `candidate` is "stdlib" or "plait". Both environments see the same folders and differ in one line: on the
    plait side every interpreter that starts runs `plait.install()` first.
    """
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    plait = importlib.util.find_spec("plait")
    if plait is None or plait.origin is None:
        raise ModuleNotFoundError("plait is not built: run `make build`")
    lines = [str(ROOT), str(Path(plait.origin).parent.parent)]
    if candidate == "plait":
        lines.append("import conformance.startup")
    (site_packages / "conformance.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "bin" / Path(sys.executable).name
