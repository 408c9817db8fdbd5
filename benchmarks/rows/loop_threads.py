"""A thread and a task hand each other numbers: plait's shared queue on plait's loop, the usual ways on the others."""

from functools import partial

from benchmarks import contenders
from benchmarks.row import BEST_RIVAL, Group
from benchmarks.rows import both_sides

GROUP = Group("Loop: threads and tasks")

for _way, _setup in both_sides.WAYS.items():
    GROUP.add(
        f"loop_thread_{_way}",
        f"thread to task and back on the own loop, against `{_way}`",
        {
            contenders.BASELINE: partial(_setup, contenders.BASELINE),
            contenders.CANDIDATE: partial(
                both_sides.by_shared_queue, contenders.CANDIDATE, contenders.CANDIDATE
            ),
            **{name: partial(_setup, name) for name in contenders.LOOP_RIVALS},
        },
        floor=1,
        goal=8,
        others={BEST_RIVAL: 1},
        batch=100,
    )
