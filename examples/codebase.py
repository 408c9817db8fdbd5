"""Read and measure every Python file under a folder, with threads, processes and queues together.

The default folder is the running interpreter's own standard library: some 1,700 files, 30 MB of source.

    python examples/codebase.py                     # the standard library
    python examples/codebase.py --limit 200         # its first 200 files
    python examples/codebase.py path/to/a/project

The work has both kinds of load, so it uses both kinds of pool:

    names -> reader threads -> sources -> batcher thread -> parser processes -> results -> report
             wait for the disk  (queue)   many files a call  compute: ast       (queue)

Nothing here imports plait: `python` and `plait run` print the same, and the same on every run.
"""

import argparse
import ast
import os
import signal
import sys
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from queue import Queue
from threading import BoundedSemaphore, Event, Lock, Thread
from typing import Self

SKIPPED_FOLDERS = {"__pycache__", "site-packages", "dist-packages"}
BATCH_BYTES = 256 * 1024  # source bytes in one call of a process: enough to hide the cost of the call
SHOWN = 8  # rows in each table of the report


@dataclass(frozen=True)
class Source:
    """A file as a reader thread found it: its bytes, or why there are none."""

    name: str
    data: bytes = b""
    problem: str = ""


@dataclass
class Module:
    """What one file holds. `problem` names the exception when the file could not be read or parsed."""

    name: str
    size: int = 0
    lines: int = 0
    problem: str = ""
    functions: int = 0
    coroutines: int = 0
    classes: int = 0
    documented: int = 0
    longest_function: tuple[int, str] = (0, "")
    imports: set[str] = field(default_factory=set)


# ---------------------------------------------------------------- in the parser processes


def start_parser() -> None:
    """Prepare a process: no warnings about the code that it parses, and Ctrl-C is left to the parent."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def parse_batch(batch: Sequence[Source]) -> list[Module]:
    """Measure each source of a batch; a file that is no valid Python is reported, never raised."""
    return [measure(source) for source in batch]


def measure(source: Source) -> Module:
    """Parse one source and count what it defines and imports."""
    module = Module(source.name, len(source.data), len(source.data.splitlines()), source.problem)
    if source.problem:
        return module
    try:
        tree = ast.parse(source.data)  # bytes: the parser itself follows a coding cookie or a BOM
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        module.problem = type(error).__name__
        return module
    for node in statements(tree.body):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                module.functions += 1
                module.coroutines += isinstance(node, ast.AsyncFunctionDef)
                module.documented += ast.get_docstring(node, clean=False) is not None
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                module.longest_function = max(module.longest_function, (length, node.name))
            case ast.ClassDef():
                module.classes += 1
            case ast.Import():
                module.imports.update(alias.name.partition(".")[0] for alias in node.names)
            case ast.ImportFrom(module=str(name), level=0):
                module.imports.add(name.partition(".")[0])
    return module


def statements(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """Every statement under `body`, nested ones too. Expressions hold none, so they are not entered."""
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        yield node
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting.extend(getattr(node, part, ()))


# ---------------------------------------------------------------- in the parent process


class Progress:
    """Counts finished files for several threads, and shows the count on a terminal twice a second."""

    def __init__(self, total: int) -> None:
        self._lock = Lock()
        self._total = total
        self._read = self._parsed = 0
        self._finished = Event()
        self._thread = Thread(target=self._show, daemon=True)

    def __enter__(self) -> Self:
        if sys.stderr is not None and sys.stderr.isatty():
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._finished.set()
        if self._thread.ident is not None:
            self._thread.join()

    def add(self, read: int = 0, parsed: int = 0) -> None:
        with self._lock:
            self._read += read
            self._parsed += parsed

    def _show(self) -> None:
        while not self._finished.wait(0.5):
            with self._lock:
                line = f"{self._read} read, {self._parsed} parsed of {self._total}"
            print(f"\r{line}", end="", file=sys.stderr, flush=True)
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)


def find(folder: Path) -> list[str]:
    """The Python files under `folder`, as sorted paths relative to it."""
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - SKIPPED_FOLDERS)
        found += [os.path.relpath(os.path.join(root, name), folder) for name in files if name.endswith(".py")]
    return sorted(found)


def read(folder: Path, name: str) -> Source:
    """Read one file; one that cannot be read becomes a source with a problem."""
    try:
        return Source(name, (folder / name).read_bytes())
    except OSError as error:
        return Source(name, problem=type(error).__name__)


def analyse(folder: Path, names: Sequence[str], readers: int, parsers: int) -> Iterator[Module]:
    """Yield one Module for every name, as they get ready.

    Back-pressure goes from right to left: a batch needs one of `slots`; while there is none the batcher stops
    taking sources, `sources` fills, and the readers wait in `put`. So the sources in memory are bounded,
    however large the folder is.

    Nothing is left hanging when the caller stops early or a process dies: the batcher takes sources until it
    is told to end, which is after the last reader; `stop` only makes both of them quick.
    """
    sources: Queue[Source | None] = Queue(maxsize=4 * readers)
    results: Queue[Future[list[Module]]] = Queue()
    slots = BoundedSemaphore(3 * parsers)
    stop = Event()

    def read_one(name: str) -> None:
        source = Source(name) if stop.is_set() else read(folder, name)
        progress.add(read=1)
        sources.put(source)

    def submit(batch: list[Source]) -> None:
        slots.acquire()
        try:
            future = pool.submit(parse_batch, batch)
        except RuntimeError as error:  # a process died, and the pool takes no more
            future = Future()
            future.set_exception(error)
        future.add_done_callback(deliver)

    def deliver(future: "Future[list[Module]]") -> None:
        slots.release()
        results.put(future)

    def batch_up() -> None:
        batch: list[Source] = []
        size = taken = 0
        while (source := sources.get()) is not None:
            if stop.is_set():
                continue
            batch.append(source)
            size += len(source.data)
            taken += 1
            if size >= BATCH_BYTES or taken == len(names):
                submit(batch)
                batch, size = [], 0

    with ProcessPoolExecutor(parsers, initializer=start_parser) as pool:
        # The first call starts the processes, before there are other threads here: one that is forked (the default
        # on Linux up to 3.13) while a thread holds a lock inherits the lock, held.
        pool.submit(parse_batch, [])
        with (
            Progress(len(names)) as progress,
            ThreadPoolExecutor(1, thread_name_prefix="batcher") as batching,
            ThreadPoolExecutor(readers, thread_name_prefix="reader") as reading,
        ):
            missing = len(names)
            try:
                batching.submit(batch_up)
                for name in names:
                    reading.submit(read_one, name)
                while missing:
                    batch = results.get().result()
                    missing -= len(batch)
                    progress.add(parsed=len(batch))
                    yield from batch
            finally:
                stop.set()
                reading.shutdown(cancel_futures=True)
                sources.put(None)


def report(modules: Sequence[Module]) -> Iterator[str]:
    """The lines of the report. Ties are ordered by name, so that the same files give the same lines."""
    good = [module for module in modules if not module.problem]
    bad = sorted((module.name, module.problem) for module in modules if module.problem)
    functions = sum(module.functions for module in good)
    documented = sum(module.documented for module in good)
    yield f"{'files':<12}{len(modules):>12,}"
    yield f"{'not parsed':<12}{len(bad):>12,}"
    yield f"{'bytes':<12}{sum(module.size for module in modules):>12,}"
    yield f"{'lines':<12}{sum(module.lines for module in modules):>12,}"
    yield f"{'functions':<12}{functions:>12,}  ({sum(module.coroutines for module in good):,} async)"
    yield f"{'docstrings':<12}{documented:>12,}  ({documented / max(functions, 1):.1%} of functions)"
    yield f"{'classes':<12}{sum(module.classes for module in good):>12,}"

    packages: Counter[str] = Counter()
    for module in modules:
        packages[Path(module.name).parts[0]] += module.lines
    imports = Counter(name for module in good for name in module.imports)
    yield from table("largest packages, lines", packages.items())
    yield from table("longest modules, lines", ((module.name, module.lines) for module in modules))
    yield from table(
        "longest functions, lines",
        ((f"{m.name}: {m.longest_function[1]}", m.longest_function[0]) for m in good if m.functions),
    )
    yield from table("most imported, files", imports.items())
    if bad:
        yield ""
        yield "not parsed"
        yield from (f"    {problem:<20}{name}" for name, problem in bad[:SHOWN])
        if len(bad) > SHOWN:
            yield f"    and {len(bad) - SHOWN} more"


def table(title: str, rows: Iterable[tuple[str, int]]) -> Iterator[str]:
    """The largest rows under a title."""
    best = sorted(rows, key=lambda row: (-row[1], row[0]))[:SHOWN]
    if best:
        yield ""
        yield title
        yield from (f"{count:>10,}  {name}" for name, count in best)


def positive(text: str) -> int:
    """An argument that has to be a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def main() -> int:
    """Parse the arguments, run the analysis, print the report; returns the exit code."""
    cores = os.cpu_count() or 1
    parser = argparse.ArgumentParser(description="Measure the Python files under a folder.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path(sysconfig.get_path("stdlib")))
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N files, by name")
    parser.add_argument("--readers", type=positive, metavar="N", default=8, help="threads (8)")
    parser.add_argument("--parsers", type=positive, metavar="N", default=cores, help=f"processes ({cores})")
    options = parser.parse_args()
    if not options.folder.is_dir():
        parser.error(f"not a folder: {options.folder}")
    names = find(options.folder)[: options.limit]
    try:
        modules = list(analyse(options.folder, names, options.readers, options.parsers))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may hold any bytes
    print("\n".join(report(modules)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
