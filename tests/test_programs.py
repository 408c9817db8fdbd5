"""Programs that were not written here run unchanged under `plait run`: compileall, pip, http.server."""

import base64
import hashlib
import importlib.util
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

LAUNCHERS = {"python": [sys.executable], "plait": [sys.executable, "-m", "plait", "run"]}
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("PLAIT_", "PIP_"))}
SECONDS = 90  # for one program, on a busy machine

launchers = pytest.mark.parametrize("launcher", LAUNCHERS.values(), ids=LAUNCHERS.keys())


def run(launcher: list[str], *arguments: str | Path, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*launcher, *arguments], capture_output=True, text=True, timeout=SECONDS, env=ENVIRONMENT, cwd=cwd
    )


# ---------------------------------------------------------------- compileall


def compile_copy(launcher: list[str], folder: Path, *options: str) -> tuple[list[str], set[str]]:
    """Compile a fresh copy of the json package; returns what was printed and the compiled files' names.

    The steps are sorted: several processes print in the order in which they come.
    """
    shutil.copytree(Path(json.__file__).parent, folder / "json", ignore=shutil.ignore_patterns("__pycache__"))
    done = run(launcher, "-m", "compileall", *options, "json", cwd=folder)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    steps = sorted(re.findall(r"(?:Listing|Compiling) '.+?'\.\.\.", done.stdout))
    return steps, {path.name for path in (folder / "json" / "__pycache__").iterdir()}


@pytest.mark.parametrize("options", [[], ["-j", "2"]], ids=["alone", "processes"])
def test_compileall(options: list[str], tmp_path: Path) -> None:
    expected, names = compile_copy(LAUNCHERS["python"], tmp_path / "python", *options)
    printed, compiled = compile_copy(LAUNCHERS["plait"], tmp_path / "plait", *options)
    assert printed == expected
    assert compiled == names
    assert len(printed) == len(compiled) + 1
    assert {name.partition(".")[0] for name in compiled} >= {"__init__", "decoder", "encoder"}
    # What was compiled is whole: it imports without its sources.
    (cache,) = (tmp_path / "plait" / "json").glob("__pycache__/decoder.*.pyc")
    spec = importlib.util.spec_from_file_location("json.decoder", cache)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.JSONDecoder().decode("[1]") == [1]


def test_compileall_reports_a_file_that_does_not_compile(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("def (:\n")
    command = ("-m", "compileall", "wrong.py")
    expected = run(LAUNCHERS["python"], *command, cwd=tmp_path)
    printed = run(LAUNCHERS["plait"], *command, cwd=tmp_path)
    assert "SyntaxError" in expected.stdout
    assert (printed.returncode, printed.stdout) == (1, expected.stdout)


# ---------------------------------------------------------------- pip


def build_wheel(folder: Path) -> Path:
    """A wheel by hand: a package of one module, with a console script."""
    files = {
        "braided/__init__.py": "def main():\n    print(1 + 2, 'strands')\n",
        "braided-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: braided\nVersion: 1.0\n",
        "braided-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\n"
        "Root-Is-Purelib: true\nTag: py3-none-any\n",
        "braided-1.0.dist-info/entry_points.txt": "[console_scripts]\nbraided = braided:main\n",
    }
    record = "braided-1.0.dist-info/RECORD"
    rows = [f"{name},sha256={digest(text)},{len(text)}\n" for name, text in files.items()]
    wheel = folder / "braided-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in [*files.items(), (record, "".join([*rows, f"{record},,\n"]))]:
            archive.writestr(name, text)
    return wheel


def digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@launchers
def test_pip_installs_a_wheel(launcher: list[str], tmp_path: Path) -> None:
    target = tmp_path / "target"
    done = run(
        launcher,
        *("-m", "pip", "--isolated", "--disable-pip-version-check", "--no-cache-dir"),
        *("install", "--no-index", "--target", target, build_wheel(tmp_path)),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "Successfully installed braided-1.0" in done.stdout
    assert (target / "bin" / "braided").exists()
    used = run([sys.executable], "-c", "import braided; braided.main()", cwd=target)
    assert (used.returncode, used.stdout) == (0, "3 strands\n")


@launchers
def test_pip_reports_what_it_cannot_find(launcher: list[str], tmp_path: Path) -> None:
    done = run(launcher, "-m", "pip", "--isolated", "install", "--no-index", "no-such-braid", cwd=tmp_path)
    assert done.returncode == 1
    assert "No matching distribution found for no-such-braid" in done.stderr
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------- http.server


class Server:
    """A running `http.server`: its port, its process, and the file that its log goes to."""

    def __init__(self, launcher: list[str], folder: Path, log: Path) -> None:
        self.log = log
        arguments = [*launcher, "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                arguments, stdout=subprocess.PIPE, stderr=errors, env={**ENVIRONMENT, "PYTHONUNBUFFERED": "1"}
            )

    def read_output(self, pattern: bytes) -> "re.Match[bytes]":
        """Read what the server prints until a pattern has come."""
        assert self.process.stdout
        end = time.monotonic() + SECONDS
        printed = b""
        while not (match := re.search(pattern, printed)):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            data = os.read(self.process.stdout.fileno(), 4096) if ready else b""
            assert data, f"no {pattern!r} in {printed!r}; {self.log.read_text()}"
            printed += data
        return match


@contextmanager
def serving(launcher: list[str], folder: Path, log: Path) -> Iterator[tuple[Server, int]]:
    """A server on a free port of the loopback, gone at the end whatever happens."""
    server = Server(launcher, folder, log)
    with server.process:
        try:
            yield server, int(server.read_output(rb"port (\d+) .*\n")[1])
        finally:
            server.process.kill()


def get(port: int, name: str) -> tuple[str, int, bytes]:
    """Fetch a file over a connection of its own: its name, the status, the body."""
    connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", f"/{name}")
        response = connection.getresponse()
        return name, response.status, response.read()
    finally:
        connection.close()


@launchers
def test_http_server_under_load(launcher: list[str], tmp_path: Path) -> None:
    """200 requests from eight threads, while four clients that never say anything keep a thread each."""
    folder = tmp_path / "www"
    folder.mkdir()
    bodies = {f"{number}.bin": bytes([number]) * (number * 5_000) for number in range(20)}
    for name, body in bodies.items():
        (folder / name).write_bytes(body)

    log = tmp_path / "log"
    with serving(launcher, folder, log) as (server, port), ExitStack() as silent:
        for _ in range(4):  # a server of one thread would hear nobody after the first of these
            silent.enter_context(socket.create_connection(("127.0.0.1", port), timeout=SECONDS))
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(lambda number: get(port, f"{number % 25}.bin"), range(200)))
        server.process.send_signal(signal.SIGINT)
        server.read_output(rb"Keyboard interrupt received, exiting\.\n")
        assert server.process.wait(SECONDS) == 0

    assert len(answers) == 200
    for name, status, body in answers:
        if name in bodies:
            assert (status, body) == (200, bodies[name])
        else:
            assert (status, b"File not found" in body) == (404, True)
    lines = log.read_text()
    assert len(re.findall(r'"GET /\d+\.bin HTTP/1\.1" 200', lines)) == 160
    assert len(re.findall(r'"GET /\d+\.bin HTTP/1\.1" 404', lines)) == 40
    assert "Traceback" not in lines


@launchers
def test_http_server_stops_while_idle(launcher: list[str], tmp_path: Path) -> None:
    with serving(launcher, tmp_path, tmp_path / "log") as (server, port):
        # An answer shows that it is in its loop; its first line is printed before that.
        assert get(port, "nothing")[1] == 404
        server.process.send_signal(signal.SIGINT)
        server.read_output(rb"Keyboard interrupt received, exiting\.\n")
        assert server.process.wait(SECONDS) == 0
