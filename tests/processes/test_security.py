"""docs/security.md: while a pool runs nothing listens, nothing has a name, and nobody else is given a descriptor."""

import os
import subprocess
import sys

import fault_tasks as tasks

from plait.concurrent.futures import ProcessPoolExecutor


def links(pid: int) -> list[str]:
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:
            pass
    return found


def family_of(pool: ProcessPoolExecutor) -> set[int]:
    """Its workers and their zygote. (Other tests may have left processes that listen.)"""
    workers = set(pool._processes)
    parents = set()
    for pid in workers:
        with open(f"/proc/{pid}/stat") as file:
            parents.add(int(file.read().rpartition(")")[2].split()[1]))
    return workers | parents


def test_no_socket_listens_or_has_a_name() -> None:
    outside = set(links(os.getpid()))
    with ProcessPoolExecutor(2) as pool:
        assert pool.submit(bytes, 1 << 20).result(60) == bytes(1 << 20)
        mine = set(links(os.getpid())) - outside
        theirs = {link for pid in family_of(pool) for link in links(pid)}
        theirs -= outside
    sockets = {link[8:-1] for link in mine | theirs if link.startswith("socket:")}
    assert sockets
    with open("/proc/net/unix") as table:
        rows = {row.split()[6]: row.split() for row in table.readlines()[1:]}
    for inode in sockets & rows.keys():
        row = rows[inode]
        assert row[3] == "00000000", f"it listens: {row}"
        assert len(row) == 7, f"it has a name: {row}"
    for name in ("tcp", "tcp6", "udp", "udp6"):
        if os.path.exists(f"/proc/net/{name}"):
            with open(f"/proc/net/{name}") as table:
                assert not sockets & {row.split()[9] for row in table.readlines()[1:]}
    files = {link for link in mine | theirs if link.startswith(("/dev/shm", "/tmp")) and "deleted" not in link}
    assert not {name for name in files if "plait" in name}


def test_programs_that_a_worker_starts_have_nothing_of_the_pool() -> None:
    with ProcessPoolExecutor(1) as pool:
        pid = pool.submit(tasks.has_child).result(60)
        try:
            names = links(pid)
        finally:
            os.kill(pid, 9)
    assert not [name for name in names if "plait" in name or name.startswith(("socket", "anon_inode"))]


def test_neither_has_a_program_that_the_parent_starts() -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.submit(tasks.pid).result(60)
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False) as child:
            names = links(child.pid)
            assert child.stdin is not None
            child.stdin.close()
    assert not [name for name in names if "plait" in name or name.startswith("anon_inode")]
