"""A Condition lets a thread wait until something is true that another thread makes true.

Two threads take turns, each waiting until the turn is its own.

Prints:

    ping 0
    pong 0
    ping 1
    pong 1
    ping 2
    pong 2
"""

import threading

condition = threading.Condition()
turn = "ping"


def play(me: str, other: str) -> None:
    global turn
    for number in range(3):
        with condition:
            while turn != me:
                condition.wait()
            print(me, number)
            turn = other
            condition.notify()


threads = [threading.Thread(target=play, args=names) for names in [("ping", "pong"), ("pong", "ping")]]
for t in threads:
    t.start()
for t in threads:
    t.join()
