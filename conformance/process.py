"""Starts workers, outlives their hangs and crashes, and returns each test's outcome."""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from conformance.worker import Job

# A worker ends itself, showing all threads' stacks, when a test lasts too long; so much later it is killed.
GRACE = 20.0


@dataclass(frozen=True)
class Outcome:
    """How one test ended: passed, skipped, failed, hung, crashed or missing; and what it said."""

    word: str
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Whether the test did all that it set out to do."""
        return self.word == "passed"


class Broken(Exception):
    """No test of the suite could be run; the text says what the worker said."""


def _run_worker(python: Path, job: Job, folder: Path) -> tuple[bool, str]:
    """Runs one worker to its end, or ends it; returns whether it stood still, and what it printed."""
    description, printed, events = folder / "job.json", folder / "output.txt", Path(job.events)
    description.write_text(json.dumps(asdict(job)), encoding="utf-8")
    events.touch()
    command = [str(python), "-X", "faulthandler", "-m", "conformance.worker", str(description)]
    ours = ("PYTHON", "PLAIT_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    with printed.open("wb") as output:
        worker = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        size, since, stood_still = -1, time.monotonic(), False
        while worker.poll() is None:
            try:
                worker.wait(0.2)
            except subprocess.TimeoutExpired:
                if events.stat().st_size != size:
                    size, since = events.stat().st_size, time.monotonic()
                elif time.monotonic() - since > job.timeout + GRACE:
                    stood_still = True
                    break
        try:  # what a test left running, or the worker itself
            os.killpg(worker.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        code = worker.wait()
    text = printed.read_text(encoding="utf-8", errors="replace")
    return stood_still or "Timeout (" in text, f"{_tail(text)}\n(exit code {code})"


def _tail(text: str, lines: int = 60) -> str:
    return "\n".join(text.rstrip().splitlines()[-lines:])


def run(
    python: Path,
    suite: str,
    candidate: str,
    timeout: float,
    only: Collection[str] = (),
    hurried: Collection[str] = (),
) -> dict[str, Outcome]:
    """Runs one suite (of it, the tests in `only` where given) on `python`; `timeout` is seconds a test.

    Tests that a pattern in `hurried` matches get less (see `Job`).

    A test that hangs or kills its process is recorded as such, and the rest goes on in a new process.
    """
    outcomes: dict[str, Outcome] = {}
    job = Job(suite, candidate, "", timeout, list(only), hurried=list(hurried))
    while True:
        with tempfile.TemporaryDirectory(prefix="plait-conformance-") as name:
            folder = Path(name)
            job = replace(job, events=str(folder / "events.jsonl"), skip=list(outcomes))
            stood_still, printed = _run_worker(python, job, folder)
            running, finished, broken = "", False, ""
            for line in Path(job.events).read_text(encoding="utf-8").splitlines():
                event = json.loads(line)
                running = event.get("started", running)
                if "ended" in event:
                    outcomes[event["ended"]], running = Outcome(event["outcome"], event["detail"]), ""
                finished = finished or "finished" in event
                if "broken" in event:
                    broken += f"{event['broken']}\n{event['detail']}"
        if finished:
            if broken:
                outcomes[f"{suite}: setting up"] = Outcome("failed", broken)
            return outcomes
        if not running:
            if outcomes:  # it died after its last test, as it went away
                outcomes[f"{suite}: leaving"] = Outcome("crashed", printed)
                return outcomes
            raise Broken(printed)
        outcomes[running] = Outcome("hung" if stood_still else "crashed", printed)
