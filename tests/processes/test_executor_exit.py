"""How a program ends that has a pool of processes: with work pending, by Ctrl-C, by a signal, in a fork."""

import os
import signal
import subprocess
import sys
import time

import pytest

SECONDS = 30
KINDS = ["concurrent.futures", "plait.concurrent.futures"]


def program(text, *arguments):
    return [sys.executable, "-c", text, *arguments]


def run(text, *arguments):
    return subprocess.run(program(text, *arguments), capture_output=True, text=True, timeout=SECONDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["", "pool.shutdown(wait=False)", "del pool"])
def test_what_is_pending_is_done_first(kind, end):
    done = run(
        f"""if 1:
        import sys, time
        from {kind} import ProcessPoolExecutor
        if __name__ == "__main__":
            pool = ProcessPoolExecutor(2)
            futures = [pool.submit(time.sleep, 0.2) for _ in range(4)]
            futures[-1].add_done_callback(lambda future: print("done", flush=True))
            {end}
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


@pytest.mark.parametrize("kind", KINDS)
def test_no_call_is_taken_at_the_end(kind):
    done = run(
        f"""if 1:
        import atexit
        from {kind} import ProcessPoolExecutor
        @atexit.register
        def last():
            try:
                pool.submit(id, 1)
            except RuntimeError as error:
                print(error)
        if __name__ == "__main__":
            pool = ProcessPoolExecutor(1)
            pool.submit(id, 1).result()
        """
    )
    assert done.stderr == ""
    assert done.stdout.startswith("cannot schedule new futures after")


def test_a_pool_of_multiprocessing_is_terminated():
    begun = time.monotonic()
    done = run(
        """if 1:
        import time
        from plait.multiprocessing import Pool
        if __name__ == "__main__":
            pool = Pool(2)
            pool.map(abs, range(10))
            pool.apply_async(time.sleep, (60,))
        """
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("how", ["with ProcessPoolExecutor(2) as pool:", "for pool in [ProcessPoolExecutor(2)]:"])
def test_control_c_ends_program_and_workers(how):
    text = f"""if 1:
        import os, time
        from plait.concurrent.futures import ProcessPoolExecutor
        {how}
            print(pool.submit(os.getpid).result(), flush=True)
            futures = [pool.submit(time.sleep, 60) for _ in range(8)]
            while not futures[0].running(): time.sleep(0.01)
            print("ready", flush=True)
            futures[0].result()
        """
    process = subprocess.Popen(program(text), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        pid = int(process.stdout.readline())
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
        process.wait()
    assert error.count("KeyboardInterrupt") == 1, error
    deadline = time.monotonic() + 5
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{pid}")


def test_a_fork_of_the_program_can_have_a_pool_of_its_own_and_leaves_the_first_alone():
    done = run(
        """if 1:
        import os, sys, warnings
        warnings.simplefilter("ignore")
        from plait.concurrent.futures import ProcessPoolExecutor
        pool = ProcessPoolExecutor(1)
        print(pool.submit(abs, -1).result(), flush=True)
        pid = os.fork()
        if pid == 0:
            with ProcessPoolExecutor(1) as other:
                print(other.submit(abs, -2).result(), flush=True)
            sys.exit()
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        print(pool.submit(abs, -3).result())
        """
    )
    assert (done.stdout.split(), done.stderr) == (["1", "2", "0", "3"], "")
