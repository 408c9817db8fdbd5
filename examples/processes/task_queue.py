"""The parent alone writes tasks to one queue, its children read them and write answers to another.

What goes through the queues is pickled: numbers, strings and tuples arrive as copies.

Prints:

    [(0, 0), (1, 1), (2, 8), (3, 27), (4, 64), (5, 125), (6, 216), (7, 343), (8, 512), (9, 729)]
    exit codes: [0, 0, 0]
"""

from multiprocessing import Process, Queue


def work(tasks: "Queue[int | None]", answers: "Queue[tuple[int, int]]") -> None:
    while (number := tasks.get()) is not None:
        answers.put((number, number**3))


if __name__ == "__main__":
    tasks: "Queue[int | None]" = Queue()
    answers: "Queue[tuple[int, int]]" = Queue()
    children = [Process(target=work, args=(tasks, answers)) for _ in range(3)]
    for child in children:
        child.start()
    for number in range(10):
        tasks.put(number)
    for _ in children:
        tasks.put(None)  # one for each: the end
    print(sorted(answers.get() for _ in range(10)))
    for child in children:
        child.join()  # an ended child that nobody joins stays in the process table, a zombie
    print("exit codes:", [child.exitcode for child in children])
