"""Runs the timekeeper and adds what others used: `python -I -S reaper.py FD COMMAND...` has one line written to FD.

A fork server, or plait's zygote, and through it all its workers, is no process that the program waits for: it ends
when the program has ended. This process is what Linux calls a subreaper: such processes become its children, so it is
told what they and those that they waited for have used. A process of its own, because it is told of all orphans, and
because it is larger than the timekeeper may be. It is never imported.

The line: the timekeeper's, then user CPU seconds, system CPU seconds and peak memory in KiB of the others.
"""

import ctypes
import os
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
# Seconds that they are given to end. What goes on for longer (a daemon) is left alone, and is not counted.
PATIENCE = 1.0


def orphans() -> tuple[float, float, int]:
    """User and system seconds of all that end in time, and the peak memory of the largest."""
    user = system = 0.0
    kib = 0
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            pid, _, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid == 0:
            time.sleep(0.002)
            continue
        user, system, kib = user + usage.ru_utime, system + usage.ru_stime, max(kib, usage.ru_maxrss)
    return user, system, kib


if __name__ == "__main__":
    report = int(sys.argv[1])
    keeper = os.path.join(os.path.dirname(os.path.abspath(__file__)), "timekeeper.py")
    # Where that is not allowed the orphans are the system's, as ever.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    command = [sys.executable, "-I", "-S", keeper, *sys.argv[1:]]
    child = os.posix_spawn(command[0], command, os.environ)
    if os.waitpid(child, 0)[1] != 0:
        sys.exit(1)
    os.write(report, " {} {} {}".format(*orphans()).encode())
