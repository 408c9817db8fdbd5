"""What becomes of the family when the parent is killed, interrupted, or ends: programs watched from outside."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from chaos import family

HERE = str(Path(__file__).parent)

each_start = pytest.mark.parametrize("context", ["None", "'fork'", "'forkserver'", "'spawn'"])

PROGRAM = """
    import multiprocessing, os, signal, sys, time, threading
    sys.path.insert(0, {here!r})
    import fault_tasks as tasks
    from plait.concurrent.futures import ProcessPoolExecutor

    def main():
        context = {context}
        context = context and multiprocessing.get_context(context)
        pool = ProcessPoolExecutor(3, mp_context=context)
        idle = [pool.submit(tasks.pid) for _ in range(50)]
        [future.result() for future in idle]
    {body}

    if __name__ == "__main__":
        main()
"""


def program(tmp_path: Path, body: str, context: str = "None") -> Path:
    file = tmp_path / "program.py"
    body = textwrap.indent(textwrap.dedent(body), " " * 4)
    file.write_text(textwrap.dedent(PROGRAM).format(here=HERE, context=context, body="\n" + body))
    return file


def started(file: Path, **kwargs) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def gone(pids: set[int], seconds: float) -> set[int]:
    """Those that are there after so many seconds at most; a zombie is nobody."""
    deadline = time.monotonic() + seconds
    while True:
        left = set()
        for pid in pids:
            try:
                with open(f"/proc/{pid}/stat") as file:
                    if file.read().rpartition(")")[2].split()[0] not in "ZX":
                        left.add(pid)
            except OSError:
                pass
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)


def names(temporary: Path) -> set[str]:
    """What lies in a program's own folder for temporary files, and what is plait's in that of shared memory."""
    shared = {f"/dev/shm/{name}" for name in os.listdir("/dev/shm") if "plait" in name or name.startswith("pym")}
    return shared | {str(path) for path in temporary.iterdir()}


@each_start
def test_a_killed_parent_leaves_no_orphan_and_no_name(tmp_path: Path, context: str) -> None:
    file = program(
        tmp_path,
        """
        futures = [pool.submit(tasks.nap, 600) for _ in range(2)]  # and one that has nothing to do
        while not all(future.running() for future in futures): time.sleep(0.01)
        print("ready", flush=True)
        time.sleep(600)
        """,
        context,
    )
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    before = names(temporary)
    with started(file, env={**os.environ, "TMPDIR": str(temporary)}) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        pids = set(family(parent.pid))
        assert len(pids) >= 3
        parent.kill()
        parent.wait()
        left = gone(pids, 2)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
    assert not left
    # What others have there goes again. The fork server of multiprocessing listens at a name.
    deadline = time.monotonic() + 5
    while (ours := names(temporary) - before) and context != "'forkserver'" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not ours or context == "'forkserver'"


@each_start
def test_ctrl_c_is_one_keyboard_interrupt(tmp_path: Path, context: str) -> None:
    file = program(
        tmp_path,
        """
        futures = [pool.submit(tasks.nap, 600) for _ in range(2)]
        while not all(future.running() for future in futures): time.sleep(0.01)
        print("ready", flush=True)
        futures[0].result()
        """,
        context,
    )
    with started(file, start_new_session=True) as parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        assert parent.stdout.readline() == "ready\n"
        pids = set(family(parent.pid))
        os.killpg(parent.pid, signal.SIGINT)  # as a terminal does it: to all of them
        _, errors = parent.communicate(timeout=30)
        left = gone(pids, 2)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
    assert not left
    assert parent.returncode == -signal.SIGINT
    # A spawned interpreter that has not come to plait's code yet cannot be told to ignore it.
    assert errors.count("Traceback") <= (2 if context == "'spawn'" else 1), errors
    assert errors.rstrip().endswith("KeyboardInterrupt"), errors


def test_what_was_submitted_is_made_before_the_interpreter_ends(tmp_path: Path) -> None:
    file = program(
        tmp_path,
        """
        for number in range(20):
            pool.submit(tasks.nap, 0.02).add_done_callback(lambda future: print(future.result(), flush=True))
        """,
    )
    with started(file) as parent:
        pids = set(family(parent.pid))
        out, errors = parent.communicate(timeout=60)
    assert (parent.returncode, out, errors) == (0, "0.02\n" * 20, "")
    assert not gone(pids, 2)


@pytest.mark.parametrize("ending", ["sys.exit(3)", "os._exit(3)", "raise SystemExit(3)"])
def test_a_parent_that_leaves_takes_its_workers_along(tmp_path: Path, ending: str) -> None:
    file = program(
        tmp_path,
        f"""
        print("ready", flush=True)
        {ending}
        """,
    )
    with started(file) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        pids = set(family(parent.pid))
        assert parent.wait(30) == 3
    assert not gone(pids, 2)


FORKS = """
    stop = threading.Event()
    def worry(lock):
        while not stop.is_set():
            with lock:
                sum(range(100))
    lock = threading.Lock()
    for _ in range(20): threading.Thread(target=worry, args=(lock,)).start()
    futures = [pool.submit(pow, 2, 10) for _ in range(200)]
    for _ in range(20):
        child = os.fork()
        if child == 0:
            # A pool of its own; the parent's is not its own.
            with ProcessPoolExecutor(1) as own:
                right = own.submit(pow, 2, 5).result(60) == 32
            os._exit(0 if right else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        futures.append(pool.submit(pow, 2, 10))
    stop.set()
    assert {future.result(60) for future in futures} == {1024}
    print("done", flush=True)
"""


def test_twenty_forks_of_a_program_with_many_threads(tmp_path: Path) -> None:
    with started(program(tmp_path, FORKS)) as parent:
        out, errors = parent.communicate(timeout=100)
    assert (parent.returncode, out, errors) == (0, "done\n", "")


def test_a_pool_of_fork_beside_many_threads(tmp_path: Path) -> None:
    body = """
        stop = threading.Event()
        for _ in range(20): threading.Thread(target=stop.wait).start()
        for _ in range(20):
            with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as forked:
                assert forked.submit(pow, 2, 5).result(60) == 32
        stop.set()
        print("done", flush=True)
    """
    with started(program(tmp_path, body)) as parent:
        out, errors = parent.communicate(timeout=100)
    assert (parent.returncode, out, errors) == (0, "done\n", "")
