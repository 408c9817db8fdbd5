"""Each call of a pool of `multiprocessing`, for pools of threads and of processes, beside the standard library's."""

import time

from blocked import PATIENCE


def half(number):
    return 1 / number


def failing():
    yield 1
    raise KeyError("x")


CALLS = {
    "apply": lambda p: p.apply(pow, (2, 5)),
    "apply_keywords": lambda p: p.apply(int, ("11",), {"base": 2}),
    "apply_raises": lambda p: p.apply(half, (0,)),
    "apply_async": lambda p: p.apply_async(pow, (2, 5)).get(PATIENCE),
    "map": lambda p: p.map(abs, range(-30, 30)),
    "map_generator": lambda p: p.map(abs, (x for x in range(-3, 3)), chunksize=2),
    "map_empty": lambda p: (p.map(abs, []), p.map_async(abs, []).ready()),
    "map_raises": lambda p: p.map(half, [2, 1, 0, 4]),
    "map_async": lambda p: p.map_async(abs, range(-30, 30), 7).get(PATIENCE),
    "starmap": lambda p: p.starmap(pow, [(2, 3), (3, 2)]),
    "starmap_async": lambda p: p.starmap_async(pow, [(2, 3), (3, 2)]).get(PATIENCE),
    "imap": lambda p: list(p.imap(abs, range(-9, 9))),
    "imap_chunks": lambda p: list(p.imap(abs, range(-9, 9), 4)),
    "imap_raises": lambda p: list(p.imap(half, [1, 0])),
    "imap_failing": lambda p: list(p.imap(abs, failing())),
    "imap_unordered": lambda p: sorted(p.imap_unordered(abs, range(-9, 9))),
    "imap_unordered_chunks": lambda p: sorted(p.imap_unordered(abs, range(-9, 9), 4)),
    "imap_chunk_zero": lambda p: p.imap(abs, [1], 0),
    "imap_next": lambda p: p.imap(abs, [-1]).next(PATIENCE),
    "imap_empty": lambda p: next(p.imap(abs, [])),
    "not_ready": lambda p: p.apply_async(time.sleep, (0.2,)).get(0.01),
    "not_iterable": lambda p: p.map(abs, 3),
    "still_running": lambda p: p.join(),
    "closed": lambda p: (p.close(), p.apply(abs, (1,))),
    "terminated": lambda p: (p.terminate(), p.map(abs, [1])),
    "pickled": lambda p: p.__reduce__(),
    "successful": lambda p: [(r.wait(), r.ready(), r.successful()) for r in [p.apply_async(abs, (1,))]],
    "unsuccessful": lambda p: [(r.wait(), r.ready(), r.successful()) for r in [p.apply_async(half, (0,))]],
    "repr": lambda p: repr(p).replace("plait.", ""),
}
