"""The ways in which a child process comes to be, and what it finds of its parent's memory.

fork copies the parent, changed variables included; spawn and forkserver start from a fresh import.

Prints:

    fork: changed
    forkserver: as imported
    spawn: as imported
"""

import multiprocessing
from multiprocessing.connection import Connection

state = "as imported"


def report(answer: "Connection[str, str]") -> None:
    answer.send(state)


if __name__ == "__main__":
    state = "changed"
    for method in sorted(multiprocessing.get_all_start_methods()):
        multiprocessing.set_start_method(method, force=True)
        ours, theirs = multiprocessing.Pipe(duplex=False)
        child = multiprocessing.Process(target=report, args=(theirs,))
        child.start()
        print(f"{method}: {ours.recv()}")
        child.join()
