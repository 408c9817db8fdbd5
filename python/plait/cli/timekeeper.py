"""Runs a command and says what it took: `python -I -S timekeeper.py FD COMMAND...` writes one line to FD.

A process of its own, and as small as an interpreter gets: Linux counts the memory of the process that starts a
program towards that program's peak, so a large one would hide what is to be measured. It imports nothing but
what the interpreter has imported already, and is never imported itself.

The line: wall seconds, user CPU seconds, system CPU seconds, peak memory in KiB, status as `os.waitpid` gives it. CPU
time is that of the command and all descendants that were waited for; memory is that of the largest of them.
"""

import os
import sys
import time

if __name__ == "__main__":
    report = int(sys.argv[1])
    command = sys.argv[2:]
    os.set_inheritable(report, False)
    start = time.perf_counter()
    child = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - start
    line = f"{wall} {usage.ru_utime} {usage.ru_stime} {usage.ru_maxrss} {status}"
    os.write(report, line.encode())
