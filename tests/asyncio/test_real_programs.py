"""Programs of real libraries, unchanged: the same output under `python` and under `plait run`, on plait's loop there.

A library or a server that is missing skips its test with the reason; where TESTS_NEED_ALL is set, as in CI, it
fails.
"""

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from needed import missing, needs

PROGRAMS = Path(__file__).resolve().parent / "programs"
LAUNCHERS = {"python": [sys.executable], "plait": [sys.executable, "-m", "plait", "run"]}
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PLAIT_")}
SECONDS = 90  # for one program, on a busy machine

pytestmark = pytest.mark.timeout(300)
launchers = pytest.mark.parametrize("launcher", LAUNCHERS.items(), ids=LAUNCHERS.keys())


def program(name: str, *arguments: str, launcher: str, seen: Path, **environment: str) -> str:
    """What a program printed, having ended well on the loop of its launcher."""
    done = subprocess.run(
        [*LAUNCHERS[launcher], str(PROGRAMS / name), *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**ENVIRONMENT, "LOOP_SEEN": str(seen), **environment},
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    check_loop(seen, launcher)
    return done.stdout


def check_loop(seen: Path, launcher: str) -> None:
    """It ran on plait's loop, or, under `python`, did not."""
    packages = {module.partition(".")[0] for module in seen.read_text().split()}
    assert packages == {"plait" if launcher == "plait" else "asyncio"}


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("aiohttp_both", ["aiohttp", "trustme"]),
        ("uvicorn_httpx", ["uvicorn", "httpx", "httptools"]),
        ("websockets_both", ["websockets", "trustme"]),
        ("anyio_strands", ["anyio"]),
        ("aiofiles_copy", ["aiofiles"]),
        ("pipeline", []),
    ],
)
def test_program(name: str, modules: list[str], tmp_path: Path) -> None:
    needs(*modules)
    expected = program(f"{name}.py", launcher="python", seen=tmp_path / "python")
    assert len(expected.splitlines()) > 4
    assert program(f"{name}.py", launcher="plait", seen=tmp_path / "plait") == expected


# ---------------------------------------------------------------- servers of other makers


@contextmanager
def running(command: list[str], ready: Path, log: Path, user: str | None = None) -> Iterator[None]:
    """A server, until the block ends, from when the socket `ready` takes connections."""
    with log.open("wb") as errors:
        server = subprocess.Popen(command, stdout=errors, stderr=errors, user=user)
    try:
        end = time.monotonic() + SECONDS
        while True:
            with socket.socket(socket.AF_UNIX) as trial:
                try:
                    trial.connect(str(ready))
                    break
                except OSError:
                    assert server.poll() is None, log.read_text()
                    assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        server.send_signal(signal.SIGINT)  # to PostgreSQL: end at once, in order
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def postgres_command(name: str) -> str | None:
    """A command of PostgreSQL's; Debian keeps them in a folder for each version."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return shutil.which(name, path=os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")]))


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a name short enough for the path of a socket, open to other users."""
    with tempfile.TemporaryDirectory(prefix="plait-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def postgres(short_folder: Path) -> Iterator[Path]:
    """A PostgreSQL of our own without TCP; its folder. As root it runs as `nobody`: it refuses root."""
    initdb, server = postgres_command("initdb"), postgres_command("postgres")
    if initdb is None or server is None:
        missing("PostgreSQL is not installed (Debian: postgresql)")
    assert initdb
    assert server
    user = "nobody" if os.geteuid() == 0 else None
    home = short_folder / "pg"
    home.mkdir()
    if user:
        os.chown(home, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    data = home / "data"
    made = subprocess.run(
        [initdb, "-D", str(data), "-U", "plait", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"],
        capture_output=True,
        text=True,
        user=user,
        cwd=home,
        timeout=SECONDS,
    )
    assert made.returncode == 0, made.stderr
    options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={home}", "-c", "fsync=off"]
    command = [server, "-D", str(data), *options]
    with running(command, home / ".s.PGSQL.5432", short_folder / "log", user):
        yield home


def test_asyncpg(postgres: Path, tmp_path: Path) -> None:
    needs("asyncpg")
    expected = program("asyncpg_client.py", str(postgres), launcher="python", seen=tmp_path / "python")
    assert len(expected.splitlines()) > 8
    assert program("asyncpg_client.py", str(postgres), launcher="plait", seen=tmp_path / "plait") == expected


def test_redis(short_folder: Path, tmp_path: Path) -> None:
    needs("redis")
    server = shutil.which("redis-server") or missing("redis-server is not installed (Debian: redis-server)")
    path = short_folder / "redis"
    command = [
        str(server),
        "--port",
        "0",
        "--unixsocket",
        str(path),
        "--save",
        "",
        "--dir",
        str(short_folder),
    ]
    with running(command, path, short_folder / "log"):
        expected = program("redis_client.py", str(path), launcher="python", seen=tmp_path / "python")
        assert len(expected.splitlines()) > 8
        assert program("redis_client.py", str(path), launcher="plait", seen=tmp_path / "plait") == expected


# ---------------------------------------------------------------- anyio's pytest plugin


def run_plugin(launcher: str, seen: Path, **environment: str) -> str:
    done = subprocess.run(
        [
            *LAUNCHERS[launcher],
            "-m",
            "pytest",
            "-c",
            os.devnull,
            "-q",
            "-p",
            "no:cacheprovider",
            "-W",
            "error",
        ]
        + [f"--rootdir={PROGRAMS}", str(PROGRAMS / "anyio_plugin.py")],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**ENVIRONMENT, "LOOP_SEEN": str(seen), "NO_COLOR": "1", **environment},
    )
    assert done.returncode == 1, done.stdout + done.stderr  # one test fails on purpose
    (closing,) = re.findall(r"^\d+ failed.*", done.stdout, re.MULTILINE)
    return re.sub(r" in .*", "", closing)


def test_anyio_plugin(tmp_path: Path) -> None:
    needs("anyio")
    assert run_plugin("python", tmp_path / "python") == "1 failed, 4 passed"
    check_loop(tmp_path / "python", "python")
    assert run_plugin("plait", tmp_path / "plait") == "1 failed, 4 passed"
    check_loop(tmp_path / "plait", "plait")
    # As a program asks for the loop without `plait run`.
    factory = "plait.asyncio.new_event_loop"
    assert run_plugin("python", tmp_path / "asked", LOOP_FACTORY=factory) == "1 failed, 4 passed"
    check_loop(tmp_path / "asked", "plait")


# ---------------------------------------------------------------- uvicorn as a program of its own

APP = """
import seen

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    seen.loop()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})
"""


@launchers
def test_uvicorn_command_serves_and_ends_on_ctrl_c(launcher: tuple[str, list[str]], tmp_path: Path) -> None:
    needs("uvicorn", "httpx")
    import httpx

    name, command = launcher
    (tmp_path / "served.py").write_text(APP)
    environment = {**ENVIRONMENT, "LOOP_SEEN": str(tmp_path / "seen"), "PYTHONPATH": str(PROGRAMS)}
    with subprocess.Popen(
        [*command, "-m", "uvicorn", "--port", "0", "--loop", "asyncio", "served:app"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stderr
            said: list[str] = []
            while not (said and "running on" in said[-1]):
                line = server.stderr.readline()
                assert line, said
                said.append(line)
            (port,) = re.findall(r":(\d+) ", said[-1])
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
                assert [client.get(f"/{number}").text for number in range(20)] == [f"/{n}" for n in range(20)]
            server.send_signal(signal.SIGINT)
            rest = server.stderr.read()
            server.wait(SECONDS)
        finally:
            server.kill()
    assert "Finished server process" in rest
    assert "Traceback" not in rest
    check_loop(tmp_path / "seen", name)
