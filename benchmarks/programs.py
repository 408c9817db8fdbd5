"""Programs that others wrote, unchanged, each contender in processes of its own, in turn.

`plait` runs them under `plait run`, `stdlib` under `python`, a rival under `python` with its event loop policy set
first, which is how its own pages say that it is put in place. uvicorn is told the loop by its own option.
"""

import json
import math
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from benchmarks import contenders
from benchmarks.contenders import LeftOut
from benchmarks.served import BODY

# Runs the program once, as long as the effort says, and returns seconds.
Once = Callable[[float], float]
SECONDS = 120  # for one program, on a busy machine

SERVERS = "Loop: servers under wrk"
PERFORMANCE = "Loop: pyperformance"
PROCESSES = "Processes: programs"


@dataclass(frozen=True, slots=True)
class Program:
    """One program; its figure is the time of one request, or of one pass through the benchmark."""

    name: str
    title: str
    group: str
    setups: Mapping[str, Callable[[], AbstractContextManager[Once]]]
    floor: float | None = 1
    goal: float | None = None
    others: Mapping[str, float] = field(default_factory=lambda: {"uvloop": 1.0})
    rounds: int = 3
    baseline: str = contenders.BASELINE


@dataclass(frozen=True, slots=True)
class Mean:
    """The geometric mean of other rows of the same run, round by round."""

    name: str
    title: str
    group: str
    parts: Sequence[str]
    floor: float | None
    goal: float | None
    others: Mapping[str, float]
    baseline: str = contenders.BASELINE


def take(program: Program, rounds: int, seconds: float) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Figures of each contender by name, and why those that are not there were left out."""
    with ExitStack() as stack:
        onces: dict[str, Once] = {}
        left_out: dict[str, str] = {}
        for name, setup in program.setups.items():
            try:
                onces[name] = stack.enter_context(setup())
            except LeftOut as reason:
                if name in (program.baseline, contenders.CANDIDATE):
                    raise
                left_out[name] = str(reason)
        samples: dict[str, list[float]] = {name: [] for name in onces}
        for _ in range(rounds):
            for name, once in onces.items():
                samples[name].append(once(seconds))
        return samples, left_out


def mean(parts: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, list[float]]:
    """Geometric means of the parts' samples, round by round, for whoever took part in all of them."""
    names = [name for name in parts[0] if all(name in part for part in parts)]
    return {
        name: [
            math.exp(statistics.fmean(math.log(seconds) for seconds in together))
            for together in zip(*(part[name] for part in parts), strict=True)
        ]
        for name in names
    }


def launcher(name: str) -> list[str]:
    """The command before a script or `-m MODULE`. LeftOut where the contender is not there."""
    contenders.loops(name)
    if name == contenders.CANDIDATE:
        return [sys.executable, "-m", "plait", "run"]
    if name == contenders.BASELINE:
        return [sys.executable]
    code = f"""
import asyncio, runpy, sys, warnings, {name}
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    asyncio.set_event_loop_policy({name}.EventLoopPolicy())
del sys.argv[0]
if sys.argv[0] == "-m":
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
else:
    runpy.run_path(sys.argv[0], run_name="__main__")
"""
    return [sys.executable, "-c", code]


def _needs(*modules: str) -> None:
    for module in modules:
        if find_spec(module) is None:
            raise LeftOut(f"{module} is not installed (pip install {module})")


# wrk: a server of each contender stays up, and is asked in turn.


@contextmanager
def _served(command: Callable[[int], list[str]]) -> Iterator[Once]:
    if shutil.which("wrk") is None:
        raise LeftOut("wrk is not installed (Debian: wrk)")
    port = _free_port()
    # Its words go nowhere: rloop's complain about how aiohttp ends.
    server = subprocess.Popen(command(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_served(port, server)
        yield partial(_requested, port)
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _requested(port: int, seconds: float) -> float:
    """Seconds a request: 32 connections that ask again as soon as they are answered."""
    for_seconds = max(1, round(40 * seconds))
    command = ["wrk", "-t1", "-c32", f"-d{for_seconds}s", f"http://127.0.0.1:{port}/"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise AssertionError(f"wrk had errors: {said}")
    (rate,) = [line.split()[1] for line in said.splitlines() if line.startswith("Requests/sec:")]
    return 1 / float(rate)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_until_served(port: int, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                answer = b""
                # Not until the server hangs up, which on rloop it does not do.
                while not answer.endswith(BODY) and (data := connection.recv(4096)):
                    answer += data
        except ConnectionRefusedError:
            time.sleep(0.05)
            continue
        if not answer.endswith(BODY):
            raise AssertionError(f"the server answers {answer!r}")
        return
    raise AssertionError("the server does not come up")


def _uvicorn(name: str) -> AbstractContextManager[Once]:
    _needs("uvicorn", "httptools")
    contenders.loops(name)
    loop = {"uvloop": "uvloop", "rloop": "rloop:new_event_loop"}.get(name, "asyncio")
    start = launcher(name) if name == contenders.CANDIDATE else [sys.executable]
    options = ["--loop", loop, "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    return _served(lambda port: [*start, "-m", "uvicorn", *options, "--port", str(port), "benchmarks.served:app"])


def _aiohttp(name: str) -> AbstractContextManager[Once]:
    _needs("aiohttp")
    start = launcher(name)
    return _served(lambda port: [*start, "-m", "benchmarks.served", str(port)])


# pyperformance: its scripts as they lie in the package, in the mode in which pyperf measures in that same process.

_TREES = [
    f"{eager}{work}{groups}"
    for work in ("none", "io", "memoization", "cpu_io_mixed")
    for eager in ("", "eager_")
    for groups in ("", "_tg")
]


@contextmanager
def _performance(
    name: str, script: str, options: Sequence[str], modules: Sequence[str], loops: int = 1
) -> Iterator[Once]:
    """A value is the mean of `loops` rounds: so many that it takes 0.1 s at least, as with pyperf itself."""
    _needs("pyperf", "pyperformance", *modules)
    found = find_spec("pyperformance")
    assert found
    assert found.origin
    path = Path(found.origin).parent / "data-files" / "benchmarks" / script / "run_benchmark.py"
    command = [*launcher(name), str(path), *options, "--worker", "--loops", str(loops), "--warmups", "1"]

    def once(seconds: float) -> float:
        values = 1 if seconds < 0.05 else 3
        with tempfile.TemporaryDirectory() as folder:
            kept = Path(folder) / "kept.json"
            last = subprocess.run(
                [*command, "--values", str(values), "--output", str(kept)],
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            if last.returncode:
                raise AssertionError(f"{script} on {name}: {last.stderr.strip()[-300:]}")
            (benchmark,) = json.loads(kept.read_text(encoding="utf-8"))["benchmarks"]
            return statistics.median(benchmark["runs"][0]["values"])

    yield once


@contextmanager
def _codebase(name: str) -> Iterator[Once]:
    """examples/codebase.py over the standard library, as `plait compare` runs it."""
    script = Path(__file__).resolve().parent.parent / "examples" / "codebase.py"
    start = [sys.executable, *(["-m", "plait", "run"] if name == contenders.CANDIDATE else [])]

    def once(seconds: float) -> float:
        limit = ["--limit", "200"] if seconds < 0.05 else []
        begin = time.perf_counter()
        subprocess.run([*start, str(script), *limit], capture_output=True, timeout=SECONDS, check=True)
        return time.perf_counter() - begin

    yield once


def _tree_options(tree: str) -> list[str]:
    work, groups, _ = tree.partition("_tg")
    work = "eager" if work == "eager_none" else work
    return [work, "--task-groups"] if groups else [work]


def _pyperformance(title: str, script: str, options: Sequence[str] = (), modules: Sequence[str] = ()) -> Program:
    # Not rloop: it has no TLS, and not all that these use.
    names = (contenders.BASELINE, contenders.CANDIDATE, "uvloop")
    setups = {name: partial(_performance, name, script, options, modules) for name in names}
    return Program(title.replace("_", "-"), title, PERFORMANCE, setups, rounds=2)


def _processes(name: str, title: str, start: Callable[[str], AbstractContextManager[Once]], floor: float) -> Program:
    names = (contenders.BASELINE, contenders.CANDIDATE)
    return Program(name, title, PROCESSES, {each: partial(start, each) for each in names}, floor, others={})


def _wrk(name: str, title: str, start: Callable[[str], AbstractContextManager[Once]]) -> Program:
    names = (contenders.BASELINE, contenders.CANDIDATE, *contenders.LOOP_RIVALS)
    return Program(name, title, SERVERS, {each: partial(start, each) for each in names}, rounds=5)


_ASYNC_TREES = [
    _pyperformance(f"async_tree_{tree}", "bm_async_tree", _tree_options(tree))
    for tree in _TREES
    if sys.version_info >= (3, 12) or not tree.startswith("eager")
]
PROGRAMS: dict[str, Program | Mean] = {
    row.name: row
    for row in (
        _wrk("wrk-uvicorn", "uvicorn, small GET", _uvicorn),
        _wrk("wrk-aiohttp", "aiohttp, small GET", _aiohttp),
        *_ASYNC_TREES,
        Mean(
            "async-tree-mean",
            "async_tree, geometric mean",
            PERFORMANCE,
            [row.name for row in _ASYNC_TREES],
            floor=2.5,
            goal=None,
            others={"uvloop": 2.0},
        ),
        _pyperformance("asyncio_tcp", "bm_asyncio_tcp"),
        _pyperformance("asyncio_tcp_ssl", "bm_asyncio_tcp", ["--ssl"]),
        _pyperformance("asyncio_websockets", "bm_asyncio_websockets", (), ["websockets"]),
        _processes("process-codebase", "examples/codebase.py", _codebase, floor=1),
        _processes(
            "process-concurrent-imap",
            "pyperformance concurrent_imap, its pool of processes",
            partial(_performance, script="bm_concurrent_imap", options=["--worker-task", "0"], modules=(), loops=32),
            floor=5,
        ),
    )
}
