"""ThreadPoolExecutor and what happens to the whole process: signals, forks, the interpreter's exit."""

import os
import subprocess
import sys
import threading

import pytest

from blocked import PATIENCE, Background, alarm_after
from plait.concurrent.futures import ThreadPoolExecutor, wait


def test_ctrl_c_leaves_the_pool_usable():
    with ThreadPoolExecutor(1) as pool:
        gate = threading.Event()
        blocked = pool.submit(gate.wait, PATIENCE)
        for call in (blocked.result, lambda: list(pool.map(abs, [1])), lambda: wait([blocked])):
            with pytest.raises(KeyboardInterrupt), alarm_after(0.05):
                call()
        gate.set()
        assert blocked.result(PATIENCE) is True
        assert list(pool.map(abs, [-1, -2])) == [1, 2]


def in_child(call):
    """Runs `call` in a forked child; its exit code."""
    child = os.fork()
    if child == 0:
        try:
            call()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_can_use_its_parents_pool():
    begun, gate = threading.Event(), threading.Event()
    pool = ThreadPoolExecutor(1)
    pool.submit(lambda: (begun.set(), gate.wait(PATIENCE)))
    assert begun.wait(PATIENCE)
    queued = pool.submit(int, "3")

    def child():
        assert pool.submit(int, "4").result(PATIENCE) == 4
        assert list(pool.map(abs, [-1, -2])) == [1, 2]
        assert queued.cancelled(), "the parent makes this call"
        pool.shutdown()

    assert in_child(child) == 0
    gate.set()
    assert queued.result(PATIENCE) == 3
    pool.shutdown()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forks_in_the_middle_of_the_pools_work_leave_children_that_work():
    with ThreadPoolExecutor(2) as pool:
        stop = threading.Event()

        def submit():
            while not stop.is_set():
                wait([pool.submit(int) for _ in range(50)])

        def child():
            with ThreadPoolExecutor(1) as own:
                assert own.submit(int, "4").result(PATIENCE) == 4
            assert pool.submit(int, "5").result(PATIENCE) == 5

        submitter = Background(submit)
        codes = [in_child(child) for _ in range(10)]
        stop.set()
        assert submitter.result() == ("returns", "None")
    assert codes == [0] * 10


def run(code):
    """Runs a program; its exit code, output and errors."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_the_interpreter_waits_for_the_pool_and_then_refuses():
    assert run(
        "from plait import ThreadPoolExecutor\n"
        "import atexit, time\n"
        "pool = ThreadPoolExecutor(1)\n"
        "def late():\n"
        "    try: pool.submit(int)\n"
        "    except RuntimeError as error: print(error)\n"
        "atexit.register(late)\n"
        "pool.submit(lambda: (time.sleep(0.2), print('made')))\n"
    ) == (0, "made\ncannot schedule new futures after interpreter shutdown\n", "")


def test_the_interpreter_does_not_wait_for_a_thread_pool_of_daemons():
    assert run(
        "from plait.multiprocessing.pool import ThreadPool\n"
        "import threading\n"
        "pool = ThreadPool(2)\n"
        "pool.apply_async(threading.Event().wait)\n"
        "print(pool.apply(abs, (-1,)))\n"
    ) == (0, "1\n", "")


def test_the_standard_librarys_executors_work_with_plaits_futures():
    assert run(
        "import plait; plait.install()\n"
        "import concurrent.futures as f, multiprocessing as m\n"
        "if __name__ == '__main__':\n"
        "    with f.ProcessPoolExecutor(1, mp_context=m.get_context('fork')) as pool:\n"
        "        futures = [pool.submit(pow, 2, n) for n in range(5)]\n"
        "        assert all(type(x) is plait.Future for x in futures)\n"
        "        print(sorted(x.result() for x in f.as_completed(futures)), list(pool.map(abs, [-1])))\n"
        "        print(repr(pool.submit(int, 'x').exception()))\n"
    ) == (0, '[1, 2, 4, 8, 16] [1]\nValueError("invalid literal for int() with base 10: \'x\'")\n', "")
