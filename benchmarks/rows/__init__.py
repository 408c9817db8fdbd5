"""Every row, in the order of the report: one module for each heading."""

from benchmarks.row import FREE_THREADED
from benchmarks.rows import (
    both_sides,
    free_threaded,
    loop_echo,
    loop_mixed,
    loop_primitives,
    loop_tasks,
    loop_threads,
    one_thread,
    pool,
    process_data,
    process_queues,
    processes,
    two_threads,
)

GROUPS = (
    one_thread.GROUP,
    pool.GROUP,
    two_threads.GROUP,
    both_sides.GROUP,
    free_threaded.GROUP,
    loop_tasks.GROUP,
    loop_primitives.GROUP,
    loop_mixed.GROUP,
    loop_threads.GROUP,
    loop_echo.GROUP,
    processes.GROUP,
    process_data.GROUP,
    process_queues.GROUP,
)
ROWS = {
    row.name: row for group in GROUPS for row in group.rows if FREE_THREADED or not row.free_threaded_only
}
