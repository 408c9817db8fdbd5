"""A Barrier makes a group meet: no thread starts the second half before all have done the first.

Prints:

    first half: ABCD
    second half: ABCD
"""

import threading

barrier = threading.Barrier(4)
done: list[str] = []  # append is atomic


def work(name: str) -> None:
    done.append(name)
    barrier.wait()
    done.append(name)


threads = [threading.Thread(target=work, args=(name,)) for name in "ABCD"]
for t in threads:
    t.start()
for t in threads:
    t.join()

print("first half:", "".join(sorted(done[:4])))
print("second half:", "".join(sorted(done[4:])))
