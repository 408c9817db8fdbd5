"""A thread and a task hand each other numbers: plait's shared queue on plait's loop, the usual ways on the others.

And the usual ways on each one's own loop: coroutines that a thread submits.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks import contenders
from benchmarks.row import BEST_RIVAL, Group, Run
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


@contextmanager
def _submit_all(name: str) -> Iterator[Run]:
    async def answer(number: int) -> int:
        return number

    with both_sides.running_loop(name) as (asyncio, loop):

        def run(n: int) -> object:
            submit = asyncio.run_coroutine_threadsafe
            return sum([future.result() for future in [submit(answer(number), loop) for number in range(n)]])

        yield run


for _key, _title, _setup in (
    ("one", "run_coroutine_threadsafe, each result at once", both_sides.by_coroutine),
    ("all", "run_coroutine_threadsafe, a thousand before the first result", _submit_all),
):
    GROUP.add(
        f"loop_submit_{_key}",
        _title,
        {
            name: partial(_setup, name)
            for name in (contenders.BASELINE, contenders.CANDIDATE, *contenders.LOOP_RIVALS)
        },
        floor=1,
        goal=8,
        others={BEST_RIVAL: 1},
        batch=1000,
    )
