"""Named shared memory: what plait's own does better than the standard library's."""

import subprocess
import sys

import pytest

from plait.multiprocessing.shared_memory import ShareableList, SharedMemory


def run(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=60, check=True
    )


def test_a_stranger_that_attaches_does_not_take_it_away() -> None:
    memory = SharedMemory(create=True, size=16)
    try:
        memory.buf[0] = 7
        out = run(
            "import sys\nfrom plait.multiprocessing.shared_memory import SharedMemory\n"
            "memory = SharedMemory(sys.argv[1])\nprint(memory.buf[0])\nmemory.close()\n",
            memory.name,
        )
        assert (out.stdout, out.stderr) == ("7\n", "")
        again = SharedMemory(memory.name)
        assert again.buf[0] == 7
        again.close()
    finally:
        memory.close()
        memory.unlink()
    with pytest.raises(FileNotFoundError):
        SharedMemory(memory.name)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("who", ["maker", "other"])
def test_any_one_of_a_family_may_unlink_it(method: str, who: str, tmp_path) -> None:
    # A program of its own: what its tracker has to say at the end is on its stderr.
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, multiprocessing\n"
        "from plait.multiprocessing.shared_memory import SharedMemory\n"
        "def use(name, unlink):\n"
        "    memory = SharedMemory(name)\n"
        "    memory.buf[0] += 1\n"
        "    memory.close()\n"
        "    if unlink:\n"
        "        memory.unlink()\n"
        "if __name__ == '__main__':\n"
        "    method, who = sys.argv[1:]\n"
        "    memory = SharedMemory(create=True, size=8)\n"
        "    child = multiprocessing.get_context(method).Process(target=use, args=(memory.name, who == 'other'))\n"
        "    child.start()\n"
        "    child.join()\n"
        "    print(memory.buf[0], child.exitcode)\n"
        "    memory.close()\n"
        "    if who == 'maker':\n"
        "        memory.unlink()\n"
    )
    out = subprocess.run(
        [sys.executable, str(program), method, who], capture_output=True, text=True, timeout=60, check=True
    )
    assert (out.stdout, out.stderr) == ("1 0\n", "")


def test_a_segment_that_nobody_unlinks_is_taken_away_at_the_end() -> None:
    out = run(
        "from plait.multiprocessing.shared_memory import SharedMemory\n"
        "memory = SharedMemory(create=True, size=8)\nprint(memory.name)\nmemory.close()\n"
    )
    assert "leaked" in out.stderr
    with pytest.raises(FileNotFoundError):
        SharedMemory(out.stdout.strip())


def test_no_room_is_an_error_and_leaves_nothing() -> None:
    small = "mount -t tmpfs -o size=1m none /dev/shm && exec \"$@\""
    if subprocess.run(["unshare", "-m", "sh", "-c", small, "sh", "true"], capture_output=True).returncode:
        pytest.skip("a small /dev/shm needs the right to mount one")
    code = (
        "import os\n"
        "from plait.multiprocessing.shared_memory import SharedMemory\n"
        "try:\n"
        "    SharedMemory(create=True, size=2 << 20)\n"
        "except OSError as error:\n"
        "    print(os.strerror(error.errno))\n"
        "print(os.listdir('/dev/shm'))\n"
    )
    out = subprocess.run(
        ["unshare", "-m", "sh", "-c", small, "sh", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (out.stdout, out.stderr) == ("No space left on device\n[]\n", "")


def test_a_list_in_it() -> None:
    values = ShareableList([1, "two", 3.0, None])
    try:
        assert list(values) == [1, "two", 3.0, None]
    finally:
        values.shm.close()
        values.shm.unlink()
